"""The migrations that make Crossfade's own tables, held against the statements by which a process would make them."""

import re
from typing import cast

from proxy.migrate.schema.migration_files import read_folder
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.system_tables.absence_locks import AbsenceLocks
from proxy.stores.dsql.system_tables.authority_record import AuthorityTable
from proxy.stores.dsql.system_tables.checkpoints import Checkpoints
from proxy.stores.dsql.system_tables.idempotency_tokens import IdempotencyTokens
from proxy.stores.dsql.system_tables.peer_messages import PeerMessages
from proxy.stores.dsql.system_tables.sweep_records import SweepRecords
from proxy.stores.dsql.system_tables.table_descriptions import TableDescriptions
from proxy.stores.dsql.system_tables.table_properties import TableProperties
from tests.deploy.templates import ROOT
from tests.integration.sql_rules import violations

FOLDER = ROOT / "deploy" / "migrations"
# Only the statements' text is asked for, and nothing is sent.
NO_POOL = cast("Pool", None)


def plain(statement: str) -> str:
    """Without the schema, quotation marks and the blanks that mean nothing."""
    return " ".join(re.sub(r'"public"\.|"', "", statement).split())


def test_they_make_what_the_code_makes() -> None:
    made = {
        *PeerMessages(NO_POOL, "public").definitions,
        *TableDescriptions(NO_POOL, "public").definitions,
        *TableProperties(NO_POOL, "public").definitions,
        SweepRecords(NO_POOL, "public", seconds=1)._create,
        Checkpoints(NO_POOL, "public", seconds=1)._create,
        *AuthorityTable(NO_POOL, "public", seconds=1).definitions,
        AbsenceLocks("public").create,
        IdempotencyTokens("public").create,
    }
    written = [statement for migration in read_folder(FOLDER) for statement in migration.statements]
    assert {plain(each) for each in written} == {plain(each) for each in made}


def test_each_table_of_the_codes_is_among_them() -> None:
    """A table that is added to the code and not here would be refused to a role that may make none."""
    named = set()
    for path in (ROOT / "proxy").rglob("*.py"):
        named |= set(re.findall(r'^\w+_TABLE: Final = "(crossfade_\w+)"', path.read_text("utf-8"), re.MULTILINE))
    text = "".join(path.read_text("utf-8") for path in FOLDER.glob("*.sql"))
    made = set(re.findall(r"CREATE TABLE IF NOT EXISTS (\w+)", text))
    assert {each for each in named if not each.startswith("crossfade_migration")} == made


def test_dsql_takes_them() -> None:
    for migration in read_folder(FOLDER):
        assert len(migration.statements) == 1
        assert not violations(migration.statements[0])


def test_their_names_are_not_those_of_the_applications_migrations() -> None:
    """The record of what is applied goes by the file's name."""
    theirs = {path.name for folder in (ROOT / "config").glob("migrations*") for path in folder.glob("*.sql")}
    assert not theirs & {path.name for path in FOLDER.glob("*.sql")}
