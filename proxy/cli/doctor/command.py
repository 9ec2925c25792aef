"""`crossfade doctor`: what an operator runs first. It asks both stores whether Crossfade would work with them.

In DSQL it makes a schema of its own, and removes it; in DynamoDB it changes nothing. Exit status 0: Crossfade would
work; 1: it would not; 2: wrong settings or arguments.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # importing these takes most of a second, which other commands need not wait for
    import asyncpg

    from proxy.cli.doctor.dsql_sessions import DSQLSessions
    from proxy.cli.doctor.findings import DoctorReport, Finding
    from proxy.mapping.load import LoadedMapping
    from proxy.settings import Settings

FAILED: Final = 1
_PREFIX: Final = "crossfade_doctor_"


def add(commands: Any) -> None:
    """Add the command to argparse's subcommands."""
    parser = commands.add_parser("doctor", help="ask both stores whether Crossfade would work with them")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (TOML); without it, the defaults")
    parser.add_argument("--table", action="append", metavar="NAME", help="a DynamoDB table beside those with a mapping")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.set_defaults(run=run)


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run the command. Raises SettingsError."""
    from proxy.mapping.load import load_mappings

    mapped = load_mappings(settings)
    report = asyncio.run(examine(settings, mapped, arguments.table or []))
    sys.stdout.write((report.json() if arguments.json else report.text()) + "\n")
    return 0 if report.works else FAILED


async def examine(settings: Settings, mapped: dict[str, LoadedMapping], tables: list[str]) -> DoctorReport:
    """Ask both stores."""
    from proxy.cli.doctor.dsql_sessions import DSQLSessions
    from proxy.cli.doctor.findings import DoctorReport, not_asked

    report = DoctorReport()
    if settings.dsql.given:
        sessions = DSQLSessions(settings.dsql, report.cost)
        try:
            report.findings += await _examine_dsql(settings, mapped, sessions)
        finally:
            await sessions.close()
    else:
        report.findings += not_asked(["dsql"], "neither endpoint nor dsn is set in [dsql]")
    report.findings += await _examine_dynamodb(settings, mapped, tables, report)
    return report


async def _examine_dsql(settings: Settings, mapped: dict[str, LoadedMapping], sessions: DSQLSessions) -> list[Finding]:
    from proxy.cli.doctor.dsql_rights import examine_own_tables, examine_rights
    from proxy.cli.doctor.dsql_rules import RULE_CHECKS, examine_rules
    from proxy.cli.doctor.dsql_sessions import attempt, examine_connection, refusal
    from proxy.cli.doctor.dsql_statements import STATEMENT_CHECKS, examine_statements
    from proxy.cli.doctor.findings import not_asked
    from proxy.stores.dsql.connect import open_pool

    findings, connection = await examine_connection(sessions)
    if connection is None:
        return [*findings, *not_asked([*STATEMENT_CHECKS, *RULE_CHECKS], "there is no connection")]
    schema = f"{_PREFIX}{secrets.token_hex(6)}"
    error = await attempt(connection, f"CREATE SCHEMA {schema}")
    if error is not None:
        why = f"the role may make no schema ({refusal(error)}): run it once as the migrator, too"
        findings += not_asked([*STATEMENT_CHECKS, *RULE_CHECKS], why)
    else:
        try:
            findings += await examine_statements(sessions, connection, schema)
            findings += await examine_rules(sessions, connection, schema, settings.dsql.max_key_bytes)
        finally:
            findings += await _remove(sessions, schema)
    sql_tables = [each.mapping.sql_table for each in mapped.values()]
    fresh = await sessions.connect()
    schema = settings.dsql.schema
    findings += await examine_rights(fresh, schema, sql_tables, follow_tables=settings.follow_tables)
    return [*findings, *await examine_own_tables(fresh, open_pool(settings.dsql), schema)]


async def _remove(sessions: DSQLSessions, schema: str) -> list[Finding]:
    """Drop what was made, table by table, on a new session: DSQL takes one DDL statement a transaction."""
    from proxy.cli.doctor.dsql_sessions import attempt, refusal
    from proxy.cli.doctor.findings import Finding, Status

    connection: asyncpg.Connection = await sessions.connect()
    rows = await connection.fetch("SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = $1", schema)
    drops = [f'DROP TABLE {schema}."{row["tablename"]}"' for row in rows]
    for drop in (*drops, f"DROP SCHEMA {schema}"):
        error = await attempt(connection, drop)
        if error is not None:
            remedy = f"drop the schema {schema} with its tables"
            return [Finding("dsql: removal", Status.REFUSED, refusal(error), "the doctor's schema is left", remedy)]
    return []


async def _examine_dynamodb(
    settings: Settings, mapped: dict[str, LoadedMapping], tables: list[str], report: DoctorReport
) -> list[Finding]:
    from proxy.cli.doctor.dynamodb_checks import DynamoDBRequests, examine_stage_table, examine_table
    from proxy.cli.doctor.findings import Finding, Status, not_asked
    from proxy.settings.validation import SettingsError
    from proxy.stores.dynamodb.open_client import open_upstream
    from proxy.stores.errors import CredentialsError

    names = list(dict.fromkeys((*mapped, *tables)))
    if not names and settings.stages.table is None:
        return not_asked(["dynamodb"], "no table has a mapping: give --table")
    findings = []
    try:
        async with open_upstream(settings, os.environ) as client:
            requests = DynamoDBRequests(client, report.cost)
            for name in names:
                findings += await examine_table(requests, name, mapped.get(name))
            if settings.stages.table is not None:
                findings += await examine_stage_table(requests, settings.stages.table)
    except (CredentialsError, SettingsError) as error:
        # What was found about DSQL is reported all the same.
        findings.append(Finding("dynamodb: connect", Status.REFUSED, str(error), "DynamoDB is not asked", works=False))
    return findings
