"""All the SQL that Crossfade can send, and all that it did send in a story by chance, held against DSQL's rules.

Thrice: by the rules in `sql_rules`, by AWS's own `dsql-lint`, and by the gate that stands for DSQL, which parses every
statement and refuses what DSQL refuses.
"""

import json
import random
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.operations import decode, parse_body
from proxy.dynamodb.schema import TableSchema
from proxy.mapping.document_mapping import DocumentMapping
from proxy.mapping.interface import TableMapping
from proxy.mapping.load import load
from proxy.migrate.schema import ddl
from proxy.migrate.schema.document_tables import DocumentTables
from proxy.migrate.schema.index_jobs import execute_ddl
from proxy.migrate.schema.runner import migrate, read_folder
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sql.bulk_statements import BulkStatements
from proxy.stores.dsql.sql.many_keys import select_many
from proxy.stores.dsql.sql.statement_register import listing_forms, table_forms
from proxy.stores.dsql.sql.statements import Statements
from proxy.stores.dsql.store import DSQLStore
from proxy.stores.dsql.system_tables.absence_locks import AbsenceLocks
from proxy.stores.dsql.system_tables.authority_guarantees import AuthorityGuarantees
from proxy.stores.dsql.system_tables.own_statements import own_definitions, own_forms
from proxy.stores.dsql.table_statistics import ESTIMATE
from proxy.stores.errors import StoreError
from tests.integration.sql_rules import RULES, bare, is_ddl, mixed, violations
from tests.items.listings import listings
from tests.property.requests_to_dynamodb import Requests, definition
from tests.standins.billio import table_definition

CONFIG = Path(__file__).parents[2] / "config"
FOLDERS = {"billio": CONFIG / "migrations", "billio-plan": CONFIG / "migrations-plan"}
BILLIO = TableSchema.from_description(table_definition())


def schema_of(name: str, made: dict[str, Any]) -> TableSchema:
    return TableSchema.from_description({"TableName": name, **made})


def odd(name: str, hash_name: str, range_name: str, kinds: str) -> TableSchema:
    """Tables whose names are not SQL's: quotes, dots, keywords, too long, our own column's."""
    keys = [{"AttributeName": hash_name, "KeyType": "HASH"}, {"AttributeName": range_name, "KeyType": "RANGE"}]
    return schema_of(
        name,
        {
            "KeySchema": keys,
            "AttributeDefinitions": [
                {"AttributeName": each, "AttributeType": kind}
                for each, kind in zip((hash_name, range_name, 'in"dex'), kinds, strict=True)
            ],
            "GlobalSecondaryIndexes": [
                {
                    "IndexName": "an-index.with_a-long-name-" * 4,
                    "KeySchema": [
                        {"AttributeName": 'in"dex', "KeyType": "HASH"},
                        {"AttributeName": hash_name, "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                },
                {
                    "IndexName": "select",
                    "KeySchema": [{"AttributeName": 'in"dex', "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                },
            ],
        },
    )


ODD = (
    odd("Order", "user", "select", "SNB"),
    odd("a.b-c_d", "item", "Item", "NSN"),
    odd("long-name." * 20, "é" * 60, "a; DROP TABLE b --", "BSS"),
    odd("quotes", "it's", '"', "SBN"),
)
DOCUMENTS = tuple(
    DocumentMapping(schema)
    for schema in (*ODD, *(schema_of(f"made-{n}", definition(random.Random(n))) for n in range(25)))
)


def queries(mapping: TableMapping, schema: TableSchema) -> Iterator[str]:
    """Every statement of the register about a table and its indexes, but those of backfill and verify."""
    bulk = BulkStatements("public", mapping)
    for form in table_forms("public", mapping, schema):
        if "unnest(" not in form.sql and "ANY($" not in form.sql and not form.name.endswith("slice"):
            yield form.sql
    yield bulk.end_of_slice(after=True)


def listed(mapping: TableMapping) -> Iterator[str]:
    """Every statement by which the items API lists a mapped table."""
    yield from (form.sql for form in listing_forms("public", mapping, listings()))


def definitions(mapping: DocumentMapping) -> list[str]:
    """All DDL of a document mapping."""
    return [
        ddl.create_table(mapping, "public"),
        *ddl.add_columns(mapping, "public", frozenset(mapping.key_columns)),
        *ddl.create_indexes(mapping, "public").values(),
        *(ddl.drop_index(name, "public") for name in ddl.create_indexes(mapping, "public")),
        ddl.drop_table(mapping.table, "public"),
    ]


def lint(statements: list[str]) -> list[str]:
    """What `dsql-lint` says of the statements, one line each."""
    program = Path(sys.executable).with_name("dsql-lint")
    asked = subprocess.run(
        [str(program), "--format", "json", "-"],
        input=";\n".join(statements) + ";\n",
        capture_output=True,
        text=True,
        timeout=180,
    )
    report = json.loads(asked.stdout)
    found = [f"{each['rule']}: {each['statement_preview']}" for file in report["files"] for each in file["diagnostics"]]
    found += [file["error"] for file in report["files"] if file["error"]]
    assert (asked.returncode == 0) is (not found)
    return found


# --- the rules themselves ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_can_be_broken(rule: Any) -> None:
    for statement in rule.bad:
        assert rule.name in violations(statement), statement


@pytest.mark.parametrize(
    "statement",
    [
        "BEGIN READ ONLY",
        "COMMIT",
        "SELECT a FROM b WHERE c = 'TRUNCATE; LISTEN; x[]' ORDER BY a DESC",
        'SELECT "desc", "numeric", "a; b" FROM "savepoint" WHERE "array" = $1 FOR UPDATE',
        "CREATE INDEX ASYNC i ON a (b NULLS FIRST, c) WHERE b IS NOT NULL",
        "CREATE TABLE a (b numeric(294, 168) NOT NULL, PRIMARY KEY (b))",
        "SET application_name = 'x'",
        "CALL sys.wait_for_job('abc')",
        "ALTER TABLE a ADD COLUMN b text",
    ],
)
def test_what_dsql_takes_breaks_no_rule(statement: str) -> None:
    assert violations(statement) == []


def test_ddl_goes_alone() -> None:
    assert mixed(["CREATE TABLE a (b text)"]) == []
    assert mixed(["INSERT INTO a VALUES ($1)", "UPDATE a SET b = $1"]) == []
    assert mixed(["CREATE TABLE a (b text)", "INSERT INTO a VALUES ($1)"])
    assert mixed(["CREATE TABLE a (b text)", "CREATE TABLE c (d text)"])


def test_the_linter_is_listened_to() -> None:
    assert [found.split(":")[0] for found in lint(["CREATE INDEX i ON a (b)"])] == ["index_async"]


# --- all that can be sent ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FOLDERS)
def test_all_statements_on_billios_tables_keep_the_rules(name: str) -> None:
    mapping = load(CONFIG / f"{name}.toml").mapping
    migrations = [statement for each in read_folder(FOLDERS[name]) for statement in each.statements]
    lists = dict.fromkeys(listed(mapping))
    assert len(lists) > 100
    for statement in (*queries(mapping, BILLIO), *lists, *migrations):
        assert violations(statement) == [], statement


def test_migrations_are_one_statement_a_file_and_lint_clean() -> None:
    """One DDL statement a transaction: a file that fails half-way would be half applied."""
    for folder in FOLDERS.values():
        for each in read_folder(folder):
            assert len(each.statements) == 1, each.name
        texts = [path.read_text("utf-8").strip().rstrip(";") for path in sorted(folder.glob("*.sql"))]
        assert lint(texts) == []


@pytest.mark.parametrize("mapping", DOCUMENTS, ids=lambda mapping: mapping.table[:20])
def test_all_statements_on_documents_keep_the_rules(mapping: DocumentMapping) -> None:
    for statement in (*queries(mapping, mapping.schema), *definitions(mapping)):
        assert violations(statement) == [], statement


def test_all_ddl_of_documents_lints_clean() -> None:
    assert lint([statement for mapping in DOCUMENTS for statement in definitions(mapping)]) == []


@pytest.mark.parametrize("mapping", [*DOCUMENTS, *(load(CONFIG / f"{n}.toml").mapping for n in FOLDERS)])
def test_a_row_is_locked_by_its_whole_key(mapping: TableMapping) -> None:
    """ "Concurrency control in Aurora DSQL": FOR UPDATE needs equality on the whole primary key."""
    locked = select_many(Statements("public", mapping), 2, lock=True)
    on = locked.partition(" ON ")[2].removesuffix(" FOR UPDATE OF held").split(" AND ")
    quoted = ['"' + name.replace('"', '""') + '"' for name in mapping.key_columns]
    assert on == [f'held.{name} = "crossfade key {n}"' for n, name in enumerate(quoted)]


def side_statements() -> tuple[list[str], list[str]]:
    """DDL, and all else that is sent to Crossfade's own tables."""
    pool = Pool(_unconnected, 1)
    insert = Statements("public", DOCUMENTS[0]).insert
    locking = AbsenceLocks("public").with_insert(insert, len(DOCUMENTS[0].columns))
    return [*own_definitions(pool, "public")], [locking, ESTIMATE, *(form.sql for form in own_forms(pool, "public"))]


async def _unconnected() -> asyncpg.Connection:
    raise AssertionError("nothing is sent here")


async def test_all_statements_on_crossfades_own_tables_keep_the_rules(dsql_database: str) -> None:
    ddl, statements = side_statements()
    for statement in (*ddl, *statements):
        # While a statement runs DSQL knows arrays; in a table it does not.
        assert set(violations(statement)) <= {"arrays"}, statement
    assert lint(ddl) == []
    connection = await asyncpg.connect(dsql_database, ssl=False)
    for statement in (*ddl, definitions(DOCUMENTS[0])[0]):
        await connection.execute(statement)
    for statement in statements:
        prepared = await connection.prepare(statement)
        # Of any other array asyncpg would ask the server first, with a setting that DSQL does not have.
        assert {kind.name for kind in prepared.get_parameters() if kind.kind == "array"} <= {"text[]"}, statement
    await connection.close()


async def test_dsqls_gate_takes_every_statement(dsql_database: str) -> None:
    """Parsed for real, with the parameters' types: none is an array, which asyncpg would look up with `set_config`."""
    connection = await asyncpg.connect(dsql_database, ssl=False)
    checked = 0
    mappings: list[tuple[TableMapping, TableSchema]] = [(load(CONFIG / "billio.toml").mapping, BILLIO)]
    await migrate(connection, read_folder(FOLDERS["billio"]))
    for mapping in DOCUMENTS:
        create, *rest = definitions(mapping)
        await connection.execute(create)
        for statement in rest:
            if statement.startswith("CREATE INDEX"):
                await execute_ddl(connection, statement)
        mappings.append((mapping, mapping.schema))
    for each, schema in mappings:
        lists = listed(each) if schema is BILLIO else ()
        for statement in dict.fromkeys((*queries(each, schema), *lists)):
            prepared = await connection.prepare(statement)
            assert not any(kind.kind == "array" for kind in prepared.get_parameters()), statement
            checked += 1
    for mapping in DOCUMENTS:
        await connection.execute(definitions(mapping)[-1])
    await connection.close()
    assert checked > 1000


async def test_dsqls_gate_takes_the_plans_statements(dsql_database: str) -> None:
    connection = await asyncpg.connect(dsql_database, ssl=False)
    await migrate(connection, read_folder(FOLDERS["billio-plan"]))
    plan = load(CONFIG / "billio-plan.toml").mapping
    for statement in dict.fromkeys((*queries(plan, BILLIO), *listed(plan))):
        await connection.prepare(statement)
    await connection.close()


# --- all that is sent -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("authority", [False, True], ids=["as mirror", "as authority"])
async def test_what_a_story_really_sends_keeps_the_rules(dsql_database: str, authority: bool) -> None:
    """Tables made, filled, widened, asked in every way and dropped; the log is asyncpg's own, for each connection."""
    sent: dict[int, list[str]] = defaultdict(list)
    made = 0

    async def connect() -> asyncpg.Connection:
        nonlocal made
        connection = await asyncpg.connect(dsql_database, ssl=False)
        number = made = made + 1
        connection.add_query_logger(lambda record: sent[number].append(record.query))
        return connection

    pool = Pool(connect, 3)
    documents = DocumentTables(pool, "public")
    chance = random.Random(7)
    mappings: dict[str, TableMapping] = {"billio": load(CONFIG / "billio.toml").mapping}
    async with pool.connection() as connection:
        await migrate(connection, read_folder(FOLDERS["billio"]))
    store = DSQLStore(pool, mappings.__getitem__, guarantees=AuthorityGuarantees(pool) if authority else None)
    schemas = {"billio": BILLIO}
    asked: list[tuple[TableMapping, TableSchema]] = []
    for number in range(6):
        whole = schema_of(f"table-{number}", definition(random.Random(number)))
        narrow = TableSchema(whole.name, whole.hash, whole.range, whole.types, {})
        for schema in (narrow, whole):
            schemas[whole.name] = schema
            mappings[whole.name] = DocumentMapping(schema)
            asked.append((mappings[whole.name], schema))
            await documents.create(DocumentMapping(schema))
            requests = Requests(schema)
            for asking in requests.sequence(chance, 60, mistakes=0):
                await _ask(store, schemas, asking.action, asking.request)
            for index in (None, *schema.indexes):
                for segment in ({}, {"Segment": 0, "TotalSegments": 2}):
                    scan = {"TableName": schema.name, "Limit": 1} | segment | ({"IndexName": index} if index else {})
                    answer = await _ask(store, schemas, "Scan", scan)
                    if answer is not None and "LastEvaluatedKey" in answer:
                        await _ask(store, schemas, "Scan", scan | {"ExclusiveStartKey": answer["LastEvaluatedKey"]})
        await documents.drop(whole.name)
    await pool.close()
    statements = {statement for each in sent.values() for statement in _as_for_dsql(each)}
    for statement in statements:
        assert violations(statement) == [], statement
    for each in sent.values():
        for batch in _transactions(each):
            assert mixed(batch) == [], batch
    # The register has each of them, but for what opens and closes, and what looks at the catalog.
    known = {form.sql for form in own_forms(pool, "public")}
    for mapping, schema in (*asked, (mappings["billio"], BILLIO)):
        known |= {form.sql for form in table_forms("public", mapping, schema)}
        known.add(AbsenceLocks("public").with_insert(Statements("public", mapping).insert, len(mapping.columns)))
    rows = {each for each in statements if re.match(r"(WITH|SELECT|INSERT|UPDATE|DELETE)\b", each)}
    strange = {each for each in rows - known if not re.search(_CATALOG, each)}
    assert not strange, "\n".join(strange)
    # It was a story: of everything there is to send, something has been sent.
    verbs = {" ".join(bare(statement).split()[:2]) for statement in statements}
    assert {"CREATE TABLE", "CREATE INDEX", "ALTER TABLE", "DROP TABLE", "INSERT INTO", "DELETE FROM"} <= verbs
    assert {"BEGIN", "BEGIN READ", "COMMIT", "ROLLBACK"} <= verbs
    assert any("FOR UPDATE" in statement for statement in statements)
    assert any("get_byte" in statement for statement in statements)
    assert len(statements) > 100
    assert any("crossfade_locks" in statement for statement in statements) is authority


async def _ask(
    store: DSQLStore, schemas: dict[str, TableSchema], action: str, request: dict[str, Any]
) -> dict[str, Any] | None:
    body = json.dumps(request).encode()
    try:
        executed = await store.execute(decode(action, body, parse_body(body), schemas))
    except (DynamoDBError, StoreError):  # what cannot be asked, or held: nothing is said here of answers
        return None
    return executed.outcome.document


# What the migrations' ledger, and whoever makes tables and indexes, look up and note: small tables and the catalog.
_CATALOG = r"pg_catalog|information_schema|sys\.jobs|crossfade_migration|UPDATE .* SET .*::text = \$"


def _as_for_dsql(sent: list[str]) -> Iterator[str]:
    """Without what a PostgreSQL is sent instead of CREATE INDEX ASYNC after it has refused that.

    The gate knows ASYNC, but not before a name with a hyphen in it.
    """
    refused = ""
    for statement in sent:
        if statement != refused:
            yield statement
        refused = statement.replace("INDEX ASYNC", "INDEX", 1) if "INDEX ASYNC" in statement else ""


def _transactions(sent: list[str]) -> Iterator[list[str]]:
    """The statements of one connection, by the transactions they were sent in."""
    inside: list[str] | None = None
    for statement in sent:
        text = bare(statement)
        if text.startswith("BEGIN"):
            inside = []
        elif text in ("COMMIT", "ROLLBACK"):
            yield inside or []
            inside = None
        elif inside is not None:
            inside.append(statement)
        elif is_ddl(text):
            yield [statement]
