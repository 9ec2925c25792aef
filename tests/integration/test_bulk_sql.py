"""The SQL of backfill, verify and groups of writes, held against DSQL's rules and parsed by the stand-in for DSQL."""

import itertools
from collections.abc import Iterator

import asyncpg
import pytest

from proxy.mapping.interface import TableMapping
from proxy.mapping.load import load
from proxy.migrate.schema.runner import migrate, read_folder
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sql.array_literal import array_literal
from proxy.stores.dsql.sql.bulk_statements import BulkStatements
from proxy.stores.dsql.sql.group_statements import GroupStatements
from proxy.stores.dsql.system_tables.checkpoints import CHECKPOINTS_TABLE, Checkpoints
from proxy.stores.dsql.system_tables.sweep_records import SWEEPS_TABLE, SweepRecord, SweepRecords
from tests.integration.sql_rules import violations
from tests.integration.test_sql_rules import CONFIG, DOCUMENTS, FOLDERS, definitions

# The rule keeps them out of tables and out of what the proxy sends for clients. While a statement runs DSQL knows them
# ("Supported data types in Aurora DSQL", query runtime data types), and many keys need one.
ALLOWED = {"arrays"}
BOUNDS = tuple({"after": after, "upto": upto} for after, upto in itertools.product((False, True), repeat=2))


def statements(mapping: TableMapping) -> Iterator[str]:
    made = BulkStatements("public", mapping)
    yield from (made.insert, made.digests, made.digest_of_all)
    yield from (made.end_of_slice(after=after) for after in (False, True))
    first = mapping.columns[0].name
    for bounds in BOUNDS:
        yield made.sums(**bounds)
        yield made.in_buckets(**bounds)
        yield from (made.dangling(first, first, kind, **bounds) for kind in (None, first))
        yield from (made.counts(column, **bounds) for column in (None, first))
    groups = GroupStatements("public", mapping)
    yield from (groups.insert, groups.update, groups.delete)


async def _parsed(connection: asyncpg.Connection, mapping: TableMapping) -> int:
    count = 0
    for statement in statements(mapping):
        assert set(violations(statement)) <= ALLOWED, statement
        prepared = await connection.prepare(statement)
        arrays = {kind.name for kind in prepared.get_parameters() if kind.kind == "array"}
        # Of any other array asyncpg would ask the server first, with a setting that DSQL does not have.
        assert arrays <= {"text[]"}, statement
        count += 1
    return count


@pytest.mark.parametrize("name", ["billio", "billio-plan"])
async def test_dsqls_gate_takes_every_statement_for_billio(name: str, dsql_database: str) -> None:
    connection = await asyncpg.connect(dsql_database, ssl=False)
    await migrate(connection, read_folder(FOLDERS[name]))
    assert await _parsed(connection, load(CONFIG / f"{name}.toml").mapping) > 20
    await connection.close()


async def test_dsqls_gate_takes_every_statement_for_documents(dsql_database: str) -> None:
    connection = await asyncpg.connect(dsql_database, ssl=False)
    for mapping in DOCUMENTS[:8]:
        await connection.execute(definitions(mapping)[0])
        await _parsed(connection, mapping)
    await connection.close()


async def test_checkpoints_and_sweeps_keep_the_rules(dsql_database: str) -> None:
    sent: list[str] = []

    async def connect() -> asyncpg.Connection:
        connection = await asyncpg.connect(dsql_database, ssl=False)
        connection.add_query_logger(lambda record: sent.append(record.query))
        return connection

    pool = Pool(connect, 2)
    checkpoints = Checkpoints(pool, "public", seconds=5)
    assert await checkpoints.done("job") == {}
    first = await checkpoints.claim("job", "part")
    assert first.saved is None
    assert await checkpoints.done("job") == {}
    await checkpoints.save(first, {"n": 1})
    second = await checkpoints.claim("job", "part")
    assert second.saved is not None
    assert (second.saved.state, second.saved.done) == ({"n": 1}, False)
    assert 0 <= second.saved.age < 60
    await checkpoints.save(second, {"n": 2}, done=True)
    assert await checkpoints.done("job") == {"part": True}
    assert (await checkpoints.parts("job", ["part", "other"]))["part"].state == {"n": 2}
    await checkpoints.forget("job", ["part"])
    assert await checkpoints.parts("job", ["part"]) == {}

    sweeps = SweepRecords(pool, "public", seconds=5)
    assert await sweeps.newest("t") is None
    older = SweepRecord("t", 1_700_000_000.0, 1_700_000_100.5, "dynamodb", "different", {"a": [1]})
    newer = SweepRecord("t", 1_700_000_050.25, 1_700_000_200.0, "dsql", "equal", {})
    for each in (newer, older, newer):
        await sweeps.add(each)
    assert await sweeps.newest("t") == newer
    assert await sweeps.newest("other") is None
    await pool.close()
    assert all(any(name in statement for statement in sent) for name in (CHECKPOINTS_TABLE, SWEEPS_TABLE))
    for statement in sent:
        assert set(violations(statement)) <= ALLOWED, statement


async def test_an_array_is_read_as_it_was_written(database: str) -> None:
    nasty = [
        "",
        "NULL",
        None,
        '"',
        "\\",
        '\\"',
        "{}",
        "a,b",
        " a ",
        "\n\t",
        "\x1e",
        "\x1f",
        '"\x1e"',
        "ä雪\U0001f600",
        None,
    ]
    arrays: list[list[str | None]] = [nasty, nasty[:10], [None], [], ["\x1f", None], ["plain", None, 'quo"ted\\']]
    connection = await asyncpg.connect(database)
    for texts in arrays:
        assert await connection.fetchval("SELECT $1::text::text[]", array_literal(texts)) == texts
    await connection.close()
