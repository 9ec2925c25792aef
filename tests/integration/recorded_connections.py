"""Those rows of group `elsewhere` that are about connections and time, played by a function each.

A function gets a server, its gate and an empty database, and gives the outcomes of the row's steps as the table writes
them.
"""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Final

from tests.integration.recorded_cases import outcome
from tests.standins.dsql import Dsql
from tests.standins.dsql.connections import wire
from tests.standins.dsql.connections.probe import Answer, Closed, Probe
from tests.standins.postgres import Postgres

Player = Callable[[Postgres, Dsql, str], Awaitable[list[str]]]
_TABLE: Final = "CREATE TABLE t1 (id int PRIMARY KEY, name text)"


async def refused(gate: Dsql, **parameters: str) -> wire.ErrorFields | None:
    """The FATAL error that a connection meets."""
    try:
        probe = await Probe.connect(gate.port, **parameters)
    except Closed as closed:
        return closed.error
    await probe.close()
    return None


def _said(error: wire.ErrorFields | None) -> list[str]:
    return [outcome([Answer(error=error)])] if error else ["ok ?"]


def denied(hint: str) -> Player:
    """A connection that is denied access, whose HINT alone says why."""

    async def play(server: Postgres, gate: Dsql, database: str) -> list[str]:
        gate.change(denied={"admin": hint})
        try:
            error = await refused(gate)
        finally:
            gate.change(denied={})
        assert error is not None
        assert error.hint == hint
        return _said(error)

    return play


def setting(**settings: int) -> Player:
    """A connection under settings of the gate's."""

    async def play(server: Postgres, gate: Dsql, database: str) -> list[str]:
        gate.change(**settings)
        try:
            return _said(await refused(gate))
        finally:
            gate.change(waking=0, connections=10_000, connection_burst=1000)

    return play


def startup(**parameters: str) -> Player:
    """A connection with startup parameters."""

    async def play(server: Postgres, gate: Dsql, database: str) -> list[str]:
        return _said(await refused(gate, **parameters))

    return play


async def rate(server: Postgres, gate: Dsql, database: str) -> list[str]:
    """Faster than the rate allows, once the burst is used up."""
    gate.change(connection_burst=0, connection_rate=0)
    try:
        return _said(await refused(gate))
    finally:
        # Fill what was emptied, or the next connections would be too fast as well.
        gate.change(connection_burst=1000, connection_rate=1_000_000)
        await refused(gate)
        gate.change(connection_rate=100)


async def an_hour(server: Postgres, gate: Dsql, database: str) -> list[str]:
    """A connection past its life."""
    gate.change(connection_seconds=0.2)
    try:
        probe = await Probe.connect(gate.port, database)
    finally:
        gate.change(connection_seconds=3600)
    try:
        while True:
            await probe.simple("SELECT 1")
            await asyncio.sleep(0.02)
    except (Closed, ConnectionError):
        return ["error none connection closed by the server"]


async def cancelled(server: Postgres, gate: Dsql, database: str) -> list[str]:
    """A cancel request while a statement runs."""
    probe = await Probe.connect(gate.port, database)
    running = asyncio.ensure_future(probe.extended("SELECT pg_sleep(0.5)"))
    await asyncio.sleep(0.1)
    _, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    writer.write(struct.pack("!II", 16, wire.CANCEL_REQUEST) + probe.secret)
    await writer.drain()
    answer = await running
    writer.close()
    await probe.close()
    return [outcome([answer])]


async def long_message(server: Postgres, gate: Dsql, database: str) -> list[str]:
    """One message of more than 10 MiB."""
    probe = await Probe.connect(gate.port, database)
    try:
        await probe.simple(f"SELECT '{'x' * 10_500_000}'")
    except (Closed, ConnectionError):
        return ["error none connection closed; psql prints: SSL SYSCALL error: EOF detected"]
    return ["ok"]


def aged(first: str, *then: str) -> Player:
    """A transaction in which more time passes after its first statement than one may take."""

    async def play(server: Postgres, gate: Dsql, database: str) -> list[str]:
        probe = await Probe.connect(gate.port, database)
        await probe.simple(_TABLE)
        await probe.simple("INSERT INTO t1 VALUES (2, 'a')")
        outcomes = [outcome(await probe.simple("BEGIN"))]
        if first:
            outcomes.append(outcome(await probe.simple(first)))
        gate.change(clock_ahead=310)
        try:
            outcomes += [outcome(await probe.simple(each)) for each in then]
        finally:
            gate.change(clock_ahead=0)
            await probe.close()
        return outcomes

    return play


async def bare_numeric(server: Postgres, gate: Dsql, database: str) -> list[str]:
    """What a numeric without precision holds."""
    probe = await Probe.connect(gate.port, database)
    made = await probe.simple("CREATE TABLE t (n numeric)")
    await probe.simple("INSERT INTO t VALUES (0.1234567)")
    (held,) = await probe.simple("SELECT n FROM t")
    (over,) = await probe.simple("INSERT INTO t VALUES (1234567890123)")
    await probe.close()
    assert held.rows == [["0.123457"]]
    assert over.error is not None
    assert over.error.sqlstate == "22003"
    return [outcome(made)]


async def size_detail(server: Postgres, gate: Dsql, database: str) -> list[str]:
    """The DETAIL of a transaction that is too large."""
    probe = await Probe.connect(gate.port, database)
    await probe.simple(_TABLE)
    await probe.simple("BEGIN")
    for n in range(16):
        await probe.extended("INSERT INTO t1 VALUES ($1, $2)", (str(n), "x" * 1_400_000))
    (answer,) = await probe.simple("COMMIT")
    await probe.close()
    assert answer.error is not None
    assert answer.error.detail == "Current transaction size 21.37mb > 10mb"
    return [outcome([answer])]


async def where(server: Postgres, gate: Dsql, database: str) -> list[str]:
    """Who and where one is, in the one database that a cluster has."""
    probe = await Probe.connect(gate.port)
    answer = await probe.extended("SELECT 1, current_user, current_database(), version()")
    await probe.close()
    assert answer.rows == [["1", "admin", "postgres", "PostgreSQL 16"]]
    return [outcome([answer])]


async def granted(server: Postgres, gate: Dsql, database: str) -> list[str]:
    """A role of an application's, from its making to its first statements."""
    role = f"app_{database}"
    admin = await Probe.connect(gate.port, database)
    await admin.simple("CREATE TABLE spike_granted (id int PRIMARY KEY, v text NOT NULL)")
    await admin.simple("INSERT INTO spike_granted (id, v) VALUES (1, 'a')")
    create = f"CREATE ROLE {role} WITH LOGIN"
    steps = (
        create,
        f"AWS IAM GRANT {role} TO 'arn:aws:iam::1:user/x'",
        f"GRANT USAGE ON SCHEMA public TO {role}",
        f"GRANT SELECT ON spike_granted TO {role}",
    )
    said = [outcome(await admin.simple(each)) for each in steps]
    app = await Probe.connect(gate.port, database, role)
    said.append(outcome(await app.simple("SELECT v FROM spike_granted WHERE id = 1")))
    said.append(outcome(await app.simple("INSERT INTO spike_granted (id, v) VALUES (2, 'b')")))
    said.append(outcome(await admin.simple(create)).replace(role, "spike_app"))
    said.append(outcome(await admin.simple(f"AWS IAM REVOKE {role} FROM 'arn:aws:iam::1:user/x'")))
    await app.close()
    await admin.close()
    server.execute(f"DROP OWNED BY {role}", database)
    server.execute(f"DROP ROLE {role}")
    return said


PLAYERS: Final[dict[str, Player]] = {
    "limit_message_10mib": long_message,
    "limit_size_detail": size_detail,
    "limit_age_commit": aged("SELECT pg_sleep(0.01)", "COMMIT"),
    "limit_age_statement": aged(
        "UPDATE t1 SET name = 'b' WHERE id = 2", "UPDATE t1 SET name = 'b' WHERE id = 3", "COMMIT"
    ),
    "limit_age_idle_310": aged("", "SELECT 1"),
    "numeric_bare_is_18_6": bare_numeric,
    "connect_access_denied": denied("User: arn:aws:iam::1:user/x is not authorized to access this resource"),
    "connect_wrong_action": denied("Wrong user to action mapping. user: admin, action: DbConnect"),
    "connect_bad_token": denied("The security token included in the request is invalid."),
    "connect_not_authorized": denied("User: arn:aws:iam::1:user/x is not authorized to perform: dsql:DbConnectAdmin"),
    "connect_token_expired": denied("Signature expired: 20261130T000000Z is now earlier than 20261130T001500Z"),
    "connect_waking_up": setting(waking=1),
    "connect_too_many": setting(connections=0),
    "connect_rate": rate,
    "connect_60_minutes": an_hour,
    "connect_startup_param": startup(default_transaction_read_only="on"),
    "connect_startup_search_path": startup(options="-c search_path=t_x,public"),
    "connect_startup_client_min_messages": startup(client_min_messages="error"),
    "connect_database": where,
    "cancel_ignored": cancelled,
    "grant_run": granted,
}
