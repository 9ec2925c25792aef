"""Whether DSQL keeps the rules that Crossfade counts on: conflicts, limits, keys, numbers. In a schema of its own.

Each rule is asked by the least that shows it, and what is made is removed with the schema.
"""

from __future__ import annotations

import asyncio
from typing import Final

import asyncpg

from proxy.cli.doctor.dsql_sessions import STATEMENT_SECONDS, DSQLSessions, attempt, refusal
from proxy.cli.doctor.findings import Finding, Status
from proxy.stores.dsql.bulk import MAX_ROWS
from proxy.stores.dsql.sql.statements import quoted

RULE_CHECKS: Final = (
    "dsql: conflicts",
    "dsql: catalog conflicts",
    "dsql: key bytes",
    "dsql: rows in a transaction",
    "dsql: numbers",
    "dsql: binary keys",
)
_MOST_KEY: Final = 4096
_WAIT_SECONDS: Final = 5.0


async def examine_rules(
    sessions: DSQLSessions, connection: asyncpg.Connection, schema: str, max_key_bytes: int
) -> list[Finding]:
    """All of them, each by itself: one that cannot be asked does not keep the others from it."""
    name = quoted(schema)
    findings = []
    for check, asked in (
        (RULE_CHECKS[0], _conflicts(sessions, connection, name)),
        (RULE_CHECKS[1], _catalog_conflicts(sessions, connection, name)),
        (RULE_CHECKS[2], _key_bytes(connection, name, max_key_bytes)),
        (RULE_CHECKS[3], _rows(connection, name)),
        (RULE_CHECKS[4], _numbers(connection, name)),
        (RULE_CHECKS[5], _binary_keys(connection, name)),
    ):
        try:
            async with asyncio.timeout(STATEMENT_SECONDS * 4):
                findings.append(await asked)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            findings.append(Finding(check, Status.REFUSED, refusal(error), "the rule could not be asked", works=False))
    return findings


async def _conflicts(sessions: DSQLSessions, first: asyncpg.Connection, schema: str) -> Finding:
    check = RULE_CHECKS[0]
    await _create(first, f"CREATE TABLE {schema}.pairs (id text PRIMARY KEY, v integer NOT NULL)")
    await first.execute(f"INSERT INTO {schema}.pairs VALUES ('a', 0)")  # noqa: S608
    second = await sessions.connect()
    update = f"UPDATE {schema}.pairs SET v = v + 1 WHERE id = 'a'"  # noqa: S608
    await first.execute("BEGIN")
    await second.execute("BEGIN")
    await first.execute(update)
    try:
        async with asyncio.timeout(_WAIT_SECONDS):
            await second.execute(update)
    except TimeoutError:
        second.terminate()
        await first.execute("ROLLBACK")
        meaning = (
            "this is no DSQL: a writer waits for another, and Crossfade's limits in time were set for one that does not"
        )
        return Finding(check, Status.DIFFERS, "the second writer waits", meaning, "see endpoint or dsn in [dsql]", True)
    except asyncpg.PostgresError as error:
        await second.execute("ROLLBACK")
        await first.execute("ROLLBACK")
        return Finding(check, Status.DIFFERS, f"at the statement: {refusal(error)}", "it is retried all the same")
    await first.execute("COMMIT")
    try:
        await second.execute("COMMIT")
    except asyncpg.PostgresError as error:
        if error.sqlstate == "40001":
            return Finding(check, Status.OK, f"at COMMIT: {refusal(error)}")
        return Finding(
            check, Status.DIFFERS, refusal(error), "a conflict has another code, and is not retried", "", False
        )
    meaning = "two writers of one row have both committed: an acknowledged write was lost"
    return Finding(check, Status.DIFFERS, "no conflict", meaning, "do not use this database", False)


async def _catalog_conflicts(sessions: DSQLSessions, first: asyncpg.Connection, schema: str) -> Finding:
    check = RULE_CHECKS[1]
    second = await sessions.connect()
    look = f"SELECT v FROM {schema}.pairs WHERE id = 'a'"  # noqa: S608
    await second.execute(look)
    await _create(first, f"CREATE TABLE {schema}.later (id text PRIMARY KEY)")
    try:
        await second.execute(look)
    except asyncpg.PostgresError as error:
        if error.sqlstate != "40001":
            meaning = "a session that conflicts with another's DDL gets an error that is not retried"
            return Finding(check, Status.DIFFERS, refusal(error), meaning, "make no tables while proxies run", False)
        again = await attempt(second, look)
        if again is not None:
            return Finding(check, Status.DIFFERS, f"again: {refusal(again)}", "retries do not help", "", False)
        return Finding(check, Status.OK, f"once: {refusal(error)}, and not again")
    return Finding(check, Status.OK, "another session's DDL goes unnoticed")


async def _key_bytes(connection: asyncpg.Connection, schema: str, wanted: int) -> Finding:
    check = RULE_CHECKS[2]
    await _create(connection, f"CREATE TABLE {schema}.keys (id text PRIMARY KEY)")
    held, refused = 0, _MOST_KEY + 1
    words = "none"
    while refused - held > 1:
        size = (held + refused) // 2
        # Not of one character: what is compressed would seem to fit.
        error = await attempt(
            connection,
            f"INSERT INTO {schema}.keys SELECT substr(string_agg(md5(n::text), ''), 1, {size}) "  # noqa: S608
            f"FROM generate_series(1, {size // 32 + 1}) AS n",
        )
        if error is None:
            held = size
        elif getattr(error, "sqlstate", None) == "54000":
            refused, words = size, refusal(error)
        else:
            return Finding(check, Status.REFUSED, refusal(error), "keys cannot be written", works=False)
    if held < wanted:
        meaning = f"keys of {held + 1} to {wanted} bytes pass the mapping, and are refused and parked by the database"
        remedy = f"set max_key_bytes = {held} in [dsql]"
        return Finding(check, Status.DIFFERS, f"at most {held} ({words})", meaning, remedy, False)
    more = f"max_key_bytes in [dsql] may be as high as {held}, less 7 for each further column" if held > wanted else ""
    return Finding(check, Status.OK, f"{held} are taken, max_key_bytes is {wanted}", remedy=more)


async def _rows(connection: asyncpg.Connection, schema: str) -> Finding:
    check = RULE_CHECKS[3]
    await _create(connection, f"CREATE TABLE {schema}.many (id bigint PRIMARY KEY)")
    for rows, fits in ((MAX_ROWS, True), (MAX_ROWS + 1, False)):
        await connection.execute("BEGIN")
        error = await attempt(connection, f"INSERT INTO {schema}.many SELECT generate_series(1, {rows})")
        await connection.execute("ROLLBACK")
        if fits and error is not None:
            meaning = "backfill inserts up to half as many rows at once, and a token's sweep deletes 500"
            return Finding(check, Status.DIFFERS, f"{rows}: {refusal(error)}", meaning, "report this figure", False)
        if not fits and error is None:
            return Finding(check, Status.DIFFERS, f"{rows} are taken", "the limit is higher than it was; nothing to do")
    return Finding(check, Status.OK, f"{MAX_ROWS} are taken, one more is refused")


async def _numbers(connection: asyncpg.Connection, schema: str) -> Finding:
    check = RULE_CHECKS[4]
    await _create(connection, f"CREATE TABLE {schema}.numbers (id integer PRIMARY KEY, n numeric(294,168) NOT NULL)")
    for place, text in enumerate(("9" * 38 + "0" * 88, "0." + "0" * 129 + "1" * 38)):
        insert = f"INSERT INTO {schema}.numbers VALUES ({place}, '{text}')"  # noqa: S608
        error = await attempt(connection, insert)
        same = f"SELECT n = '{text}'::text::numeric(294,168) FROM {schema}.numbers WHERE id = {place}"  # noqa: S608
        if error is not None or not await connection.fetchval(same):
            found = "a Number comes back changed" if error is None else refusal(error)
            meaning = "keys of type N are not held exactly in tables without a mapping"
            return Finding(check, Status.DIFFERS, found, meaning, "write a mapping with narrower columns", False)
    return Finding(check, Status.OK, "the largest and the smallest Number are held exactly")


async def _binary_keys(connection: asyncpg.Connection, schema: str) -> Finding:
    error = await attempt(connection, f"CREATE TABLE {schema}.binaries (id bytea PRIMARY KEY)")
    if error is None:
        return Finding(
            RULE_CHECKS[5], Status.DIFFERS, "bytea is taken in a key", "nothing: Crossfade writes text there"
        )
    return Finding(RULE_CHECKS[5], Status.OK, f"no bytea in a key: {refusal(error)}")


async def _create(connection: asyncpg.Connection, statement: str) -> None:
    error = await attempt(connection, statement)
    if error is not None:
        raise error
