"""No statement of the register reads more as its table grows: a plan is found by an index, or ends by its LIMIT.

DSQL's planner is not here, so PostgreSQL's is asked with what is not known of DSQL's taken from it: no bitmap scans,
which are not among DSQL's plan nodes, and no row comparison as an index condition. The latter is taken away by writing
`(a, b) > (c, d)` as `NOT ((a, b) <= (c, d))`, which selects the same rows, and which PostgreSQL's planner does not turn
into an index condition (it does so for a row comparison alone). Scans of the table are priced out, so that a plan has
one only where no index serves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from proxy.dynamodb.schema import TableSchema
from proxy.mapping.document_mapping import DocumentMapping
from proxy.mapping.interface import TableMapping
from proxy.mapping.load import load
from proxy.migrate.schema import ddl
from proxy.migrate.schema.index_jobs import execute_ddl
from proxy.migrate.schema.migration_files import shipped_folder
from proxy.migrate.schema.runner import migrate, read_folder
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.sql.statement_register import Extent, StatementForm, listing_forms, table_forms
from proxy.stores.dsql.system_tables.own_statements import own_definitions, own_forms
from tests.integration.test_schema_plans import BILLIO, ROWS
from tests.items.listings import listings
from tests.standins.postgres import Postgres

MAPPING = load(Path(__file__).parents[2] / "config" / "billio.toml").mapping
_ROW_COMPARISON = re.compile(r"(\((?:\"[^\"]+\"|[\w.]+)(?:, \"[^\"]+\")+\)) (<=|>=|<|>) (\(\$\d+(?:, \$\d+)+\))")
_OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_ALONG = frozenset({"Limit", "Subquery Scan", "WindowAgg", "Append", "Merge Append", "Result", "Incremental Sort"})

DOCUMENT = DocumentMapping(
    TableSchema.from_description(
        {
            "TableName": "events",
            "KeySchema": [
                {"AttributeName": "device", "KeyType": "HASH"},
                {"AttributeName": "at", "KeyType": "RANGE"},
            ],
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": kind}
                for name, kind in (("device", "B"), ("at", "N"), ("owner", "S"), ("level", "N"))
            ],
            "GlobalSecondaryIndexes": [
                {
                    "IndexName": "by-owner",
                    "KeySchema": [
                        {"AttributeName": "owner", "KeyType": "HASH"},
                        {"AttributeName": "level", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "ALL"},
                },
                {
                    "IndexName": "by-level",
                    "KeySchema": [{"AttributeName": "level", "KeyType": "HASH"}],
                    "Projection": {"ProjectionType": "ALL"},
                },
            ],
        }
    )
)


@pytest.fixture(scope="module")
def filled(postgres: Postgres) -> Iterator[str]:
    dsn = postgres.create_database()
    yield dsn
    postgres.drop_database(dsn)


async def prepared(dsn: str) -> asyncpg.Connection:
    connection: asyncpg.Connection = await asyncpg.connect(dsn)
    if not await connection.fetchval("SELECT to_regclass('items')"):
        await migrate(connection, read_folder(shipped_folder()))
        await connection.execute(ROWS)
        await connection.execute(ddl.create_table(DOCUMENT, "public"))
        for statement in ddl.create_indexes(DOCUMENT, "public").values():
            await execute_ddl(connection, statement)
        await connection.execute(
            "INSERT INTO events SELECT 'd' || n % 900, n, 'o' || n % 500, n % 70, '{}' FROM generate_series(1, 40000) n"
        )
        await connection.execute("VACUUM ANALYZE")
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    for setting in ("enable_bitmapscan", "enable_seqscan"):
        await connection.execute(f"SET {setting} = off")
    return connection


def without_row_comparisons(sql: str) -> str:
    return _ROW_COMPARISON.sub(lambda found: f"NOT ({found[1]} {_OPPOSITE[found[2]]} {found[3]})", sql)


async def generic_plan(connection: asyncpg.Connection, sql: str) -> dict[str, Any]:
    """The plan for any parameters."""
    await connection.execute(f"PREPARE asked AS {sql}")
    try:
        count = await connection.fetchval(
            "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'asked'"
        )
        nothing = f"({', '.join(['NULL'] * count)})" if count else ""
        plan: dict[str, Any] = json.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE asked{nothing}"))[
            0
        ]["Plan"]
        return plan
    finally:
        await connection.execute("DEALLOCATE asked")


def scans(node: dict[str, Any], above: tuple[dict[str, Any], ...] = ()) -> Iterator[tuple[dict[str, Any], Any]]:
    """Each scan of a table with the nodes above it."""
    if "Relation Name" in node and "Scan" in node["Node Type"]:
        yield node, above
    for inner in node.get("Plans", ()):
        yield from scans(inner, (*above, node))


def leading_columns(indexes: list[asyncpg.Record]) -> dict[str, str]:
    return {row["index"]: row["column"] for row in indexes}


_LEADING = """
SELECT c.relname AS index, a.attname AS column FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE c.relnamespace = 'public'::regnamespace
"""


def grows(node: dict[str, Any], above: tuple[dict[str, Any], ...], leading: dict[str, str]) -> bool:
    """Whether a scan reads more as its table grows: no condition on its index's first column, and no LIMIT ends it."""
    column = leading.get(node.get("Index Name", ""))
    condition = node.get("Index Cond", "")
    if column is not None and re.search(rf'(?<!\w)"?{re.escape(column)}"?(?!\w)', condition):
        return False
    if node["Node Type"] not in ("Index Scan", "Index Only Scan") or "Filter" in node:
        return True
    for each in reversed(above):
        if each["Node Type"] == "Limit":
            return False
        if each["Node Type"] not in _ALONG:
            return True
    return True


@pytest.mark.parametrize("name", ["billio", "documents"])
async def test_no_statement_reads_more_as_its_table_grows(filled: str, name: str) -> None:
    connection = await prepared(filled)
    forms: dict[str, StatementForm] = {}
    mapping: TableMapping = MAPPING if name == "billio" else DOCUMENT
    schema = BILLIO if name == "billio" else DOCUMENT.schema
    made = [*table_forms("public", mapping, schema)]
    made += listing_forms("public", mapping, listings()) if name == "billio" else ()
    for form in made:
        forms.setdefault(form.sql, form)
    leading = leading_columns(await connection.fetch(_LEADING))
    wrong: list[str] = []
    compared = 0
    for sql, form in forms.items():
        asked = without_row_comparisons(sql)
        compared += asked != sql
        plan = await generic_plan(connection, asked)
        found = [(node, above) for node, above in scans(plan) if node["Relation Name"] == mapping.sql_table]
        if form.extent is not Extent.SLICE:
            wrong += [f"{form.name}: {asked}\n{node}" for node, above in found if grows(node, above, leading)]
    await connection.close()
    assert not wrong, "\n".join(wrong)
    assert compared > 20  # the emulation had something to take away
    assert len(forms) > 100


async def test_what_grows_is_found(filled: str) -> None:
    """The forms that were sent before, and others like them, do not pass."""
    connection = await prepared(filled)
    leading = leading_columns(await connection.fetch(_LEADING))
    for sql in (
        'SELECT * FROM items WHERE ("type", "id") > ($1, $2) ORDER BY "type", "id" LIMIT 10 OFFSET $3',
        'SELECT * FROM items WHERE ("type", "id") IN (($1, $2), ($3, $4))',
        "SELECT count(*) FROM items",
        "SELECT * FROM items WHERE notes = $1 ORDER BY type, id LIMIT 5",
        "SELECT * FROM items WHERE moved_at IS NOT NULL ORDER BY moved_at, id LIMIT 5",
        "SELECT * FROM items WHERE type = $1 OR shelf = $2",
    ):
        asked = without_row_comparisons(sql)
        plan = await generic_plan(connection, asked)
        assert any(grows(node, above, leading) for node, above in scans(plan)), (sql, plan)
    await connection.close()


async def test_the_emulation_selects_the_same_rows(filled: str) -> None:
    connection = await prepared(filled)
    for comparison in _OPPOSITE:
        sql = f'SELECT count(*) FROM events WHERE ("device", "at") {comparison} ($1, $2)'
        both = [await connection.fetchval(each, "d5", 905) for each in (sql, without_row_comparisons(sql))]
        assert both[0] == both[1]
        assert without_row_comparisons(sql) != sql
    await connection.close()


async def test_no_statement_about_crossfades_own_tables_grows(filled: str) -> None:
    connection = await prepared(filled)
    for statement in own_definitions(Pool(_unconnected, 1), "public"):
        await connection.execute(statement)
    leading = leading_columns(await connection.fetch(_LEADING))
    wrong = []
    for form in own_forms(Pool(_unconnected, 1), "public"):
        plan = await generic_plan(connection, without_row_comparisons(form.sql))
        if form.extent is not Extent.SMALL:
            wrong += [f"{form.name}: {form.sql}\n{node}" for node, up in scans(plan) if grows(node, up, leading)]
    await connection.close()
    assert not wrong, "\n".join(wrong)


async def _unconnected() -> asyncpg.Connection:
    raise AssertionError("nothing is sent here")
