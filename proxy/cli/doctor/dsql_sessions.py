"""Connections that the doctor asks DSQL by: each statement is counted, and bounded in time."""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg

from proxy.cli.doctor.findings import Cost, Finding, Status
from proxy.settings import DSQL
from proxy.stores.dsql.connect import connect_once
from proxy.stores.dsql.connect_errors import ConnectError

_PROBES: Final = 5
_MOST_SKEW_SECONDS: Final = 60.0
# By then DSQL has answered whatever it does not wait for.
STATEMENT_SECONDS: Final = 30.0


@dataclass(slots=True)
class DSQLSessions:
    """Opens sessions and counts what they are asked."""

    settings: DSQL
    cost: Cost
    _open: list[asyncpg.Connection] = field(default_factory=list)

    async def connect(self) -> asyncpg.Connection:
        """Raises ConnectError."""
        connection = await connect_once(self.settings)
        connection.add_query_logger(self._count)
        self._open.append(connection)
        return connection

    async def close(self) -> None:
        """End every session."""
        for connection in self._open:
            connection.terminate()

    def _count(self, _: Any) -> None:
        self.cost.statements += 1


async def examine_connection(sessions: DSQLSessions) -> tuple[list[Finding], asyncpg.Connection | None]:
    """DNS, TLS, token and role in one connect, then latency and the clocks. The connection is None if there is none."""
    began = time.perf_counter()
    try:
        connection = await sessions.connect()
    except ConnectError as error:
        found = f"{error.reason}: {error.said}"
        return [Finding("dsql: connect", Status.REFUSED, found, "no proxy reaches DSQL", error.remedy, False)], None
    seconds = time.perf_counter() - began
    user, version = await connection.fetchrow("SELECT current_user::text, version()")
    findings = [
        Finding("dsql: connect", Status.OK, f"as {user} in {seconds * 1000:.0f} ms: {version.split(' on ')[0]}")
    ]
    took = []
    for _ in range(_PROBES):
        began = time.perf_counter()
        await connection.execute("SELECT 1")
        took.append(time.perf_counter() - began)
    findings.append(Finding("dsql: latency", Status.OK, f"{statistics.median(took) * 1000:.1f} ms a round trip"))
    skew = ((await connection.fetchval("SELECT now()")) - datetime.now(UTC)).total_seconds()
    if abs(skew) > _MOST_SKEW_SECONDS:
        meaning = "tokens are signed by this clock, and leases are timed by it"
        findings.append(
            Finding("dsql: clock", Status.DIFFERS, f"{skew:+.0f} s", meaning, "set this machine's clock (NTP)", False)
        )
    else:
        findings.append(Finding("dsql: clock", Status.OK, f"{skew:+.1f} s from this machine's"))
    return findings, connection


def refusal(error: BaseException) -> str:
    """An error in a few words, without values."""
    if isinstance(error, asyncpg.PostgresError):
        return f"{error.sqlstate} {' '.join(str(error.args[0] if error.args else '').split())[:120]}"
    if isinstance(error, TimeoutError):
        return f"no answer in {STATEMENT_SECONDS:.0f} s"
    return type(error).__name__


async def attempt(connection: asyncpg.Connection, sql: str, *parameters: Any) -> BaseException | None:
    """Execute a statement, again where the catalog has changed (OC001); give its error, or None."""
    error: BaseException | None = None
    for _ in range(3):
        try:
            async with asyncio.timeout(STATEMENT_SECONDS):
                await connection.execute(sql, *parameters)
            return None
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, ValueError) as raised:
            error = raised
            if getattr(raised, "sqlstate", None) != "40001":
                break
    return error
