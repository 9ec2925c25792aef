"""Every statement of the register, prepared and explained on a table of the doctor's own; and the rights of its role.

A plan is judged by its text: a scan of the whole table where the statement has a condition is what must not be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import asyncpg

from proxy.cli.doctor.dsql_sessions import DSQLSessions, attempt, refusal
from proxy.cli.doctor.findings import Finding, Status
from proxy.dynamodb.schema import TableSchema
from proxy.mapping.document_mapping import DocumentMapping
from proxy.migrate.schema import ddl
from proxy.migrate.schema.index_jobs import execute_ddl
from proxy.migrate.schema.migration_files import MigrationError
from proxy.stores.dsql.sql.statement_register import Extent, StatementForm, table_forms
from proxy.stores.dsql.sql.statements import qualified

STATEMENT_CHECKS: Final = ("dsql: tables", "dsql: index job", "dsql: statistics", "dsql: statements", "dsql: plans")
_WHOLE_SCAN: Final = re.compile(r"\b(Full Scan|Seq Scan)\b.*", re.IGNORECASE)
_DPU: Final = re.compile(r"\bTotal\b\D*([\d.]+) DPU", re.IGNORECASE)
_ROWS: Final = 500
_SHOWN: Final = 5


def examined_mapping() -> DocumentMapping:
    """A table with every type of key, and an index with and without a range attribute."""
    kinds = {"hash": "B", "range": "N", "owner": "S", "level": "N"}
    indexes = {"by-owner": ("owner", "level"), "by-level": ("level",)}
    return DocumentMapping(
        TableSchema.from_description(
            {
                "TableName": "examined",
                "KeySchema": _key_schema(("hash", "range")),
                "AttributeDefinitions": [{"AttributeName": n, "AttributeType": kind} for n, kind in kinds.items()],
                "GlobalSecondaryIndexes": [
                    {"IndexName": name, "KeySchema": _key_schema(names), "Projection": {"ProjectionType": "ALL"}}
                    for name, names in indexes.items()
                ],
            }
        )
    )


async def examine_statements(sessions: DSQLSessions, connection: asyncpg.Connection, schema: str) -> list[Finding]:
    """Make the table as a document mapping's is made, and ask every statement about it."""
    mapping = examined_mapping()
    tables, index_job, statistics, *_ = STATEMENT_CHECKS
    error = await attempt(connection, ddl.create_table(mapping, schema))
    if error is not None:
        return [Finding(tables, Status.REFUSED, refusal(error), "no table can be made", works=False)]
    findings = [Finding(tables, Status.OK, "a table with keys of types B, N and S is made")]
    try:
        for statement in ddl.create_indexes(mapping, schema).values():
            await execute_ddl(connection, statement)
        findings.append(Finding(index_job, Status.OK, "two indexes were built, and are valid"))
    except (MigrationError, asyncpg.PostgresError) as raised:
        found = str(raised) if isinstance(raised, MigrationError) else refusal(raised)
        findings.append(Finding(index_job, Status.REFUSED, found, "indexes are not served", "see sys.jobs", False))
    table = qualified(schema, mapping.sql_table)
    filled = (
        f"INSERT INTO {table} SELECT 'h' || n % 50, n, 'o' || n % 20, n % 30, '{{}}' "  # noqa: S608
        f"FROM generate_series(1, {_ROWS}) AS n"
    )
    error = await attempt(connection, filled) or await attempt(connection, f"ANALYZE {table}")
    if error is None:
        findings.append(Finding(statistics, Status.OK, "ANALYZE is taken"))
    else:
        meaning = "after a backfill indexes may be left unused for a while"
        findings.append(Finding(statistics, Status.REFUSED, refusal(error), meaning, "run ANALYZE as the owner"))
    return [*findings, *await _ask_all(sessions, connection, mapping, schema)]


async def _ask_all(
    sessions: DSQLSessions, connection: asyncpg.Connection, mapping: DocumentMapping, schema: str
) -> list[Finding]:
    # Of a small table a planner may read all: priced out where the setting is taken.
    await attempt(connection, "SET enable_seqscan = off")
    refused: list[str] = []
    whole: list[str] = []
    forms = {form.sql: form for form in table_forms(schema, mapping, mapping.schema)}
    for form in forms.values():
        try:
            prepared = await connection.prepare(form.sql)
            values = [_sample(kind.name) for kind in prepared.get_parameters()]
            plan = [row[0] for row in await connection.fetch(f"EXPLAIN {form.sql}", *values)]
        except (asyncpg.PostgresError, asyncpg.InterfaceError, ValueError) as error:
            refused.append(f"{form.name}: {refusal(error)}")
            continue
        whole += _whole_scans(form, plan, mapping.sql_table)
    await attempt(connection, "RESET enable_seqscan")
    counted = f"SELECT count(*) FROM {qualified(schema, mapping.sql_table)}"  # noqa: S608
    sessions.cost.dpu = await _dpu(connection, counted)
    statements, plans = STATEMENT_CHECKS[3:]
    findings = [Finding(statements, Status.OK, f"all {len(forms)} forms are taken")]
    if refused:
        meaning = f"{len(refused)} of {len(forms)} forms of statement are refused: what needs them does not work"
        findings = [Finding(statements, Status.REFUSED, _few(refused), meaning, "report these", False)]
    if whole:
        meaning = f"{len(whole)} forms would read a whole table where an index should serve: slower as it grows"
        return [*findings, Finding(plans, Status.DIFFERS, _few(whole), meaning, "report these with the plans", False)]
    return [*findings, Finding(plans, Status.OK, "every form is served by a key or an index, or ends by its LIMIT")]


def _whole_scans(form: StatementForm, plan: list[str], table: str) -> Iterator[str]:
    if form.extent is Extent.CONDITION:
        for line in plan:
            found = _WHOLE_SCAN.search(line)
            if found is not None and table in found[0]:
                yield f"{form.name}: {found[0].strip()}"
                return


async def _dpu(connection: asyncpg.Connection, sql: str) -> float | None:
    """What DSQL says that a statement costs ("EXPLAIN ANALYZE VERBOSE", user guide); None where it says nothing."""
    try:
        lines = [row[0] for row in await connection.fetch(f"EXPLAIN (ANALYZE, VERBOSE) {sql}")]
    except asyncpg.PostgresError:
        return None
    found = [float(each[1]) for line in lines if (each := _DPU.search(line)) is not None]
    return sum(found) if found else None


def _sample(kind: str) -> Any:
    """A value of a parameter's type: `{}` is a text, an empty array's text, and JSON."""
    if kind in ("int2", "int4", "int8"):
        return 1
    if kind in ("numeric", "float8"):
        return Decimal(1) if kind == "numeric" else 1.0
    if kind == "timestamptz":
        return datetime.now(UTC)
    if kind == "text[]":
        return ["1"]
    return "{}"


def _few(texts: list[str]) -> str:
    more = f"; and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more


def _key_schema(names: tuple[str, ...]) -> list[dict[str, str]]:
    return [{"AttributeName": n, "KeyType": role} for n, role in zip(names, ("HASH", "RANGE"), strict=False)]
