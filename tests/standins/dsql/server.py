"""The gate's process: `python -m tests.standins.dsql.server PORT SOCKETS BACKEND_PORT CONTROL SETTINGS`.

It listens on 127.0.0.1:PORT in front of the PostgreSQL whose socket is in the folder SOCKETS. On the socket file
CONTROL it takes one JSON object a line: settings to change, as SETTINGS is; it answers with what it has counted.
"""

import asyncio
import contextlib
import json
import sys
from typing import Any, Final
from urllib.parse import quote

import asyncpg
import uvloop

from tests.standins.dsql.admission import Admission, denied, reported
from tests.standins.dsql.connections import wire
from tests.standins.dsql.connections.backend import Backend, BackendLost, StartupRefused, open_backend
from tests.standins.dsql.connections.client import Client
from tests.standins.dsql.contention import Contention
from tests.standins.dsql.conversation import Conversation
from tests.standins.dsql.databases import Database
from tests.standins.dsql.jobs import Jobs
from tests.standins.dsql.sessions import Session
from tests.standins.dsql.settings import GateSettings

LOOPBACK: Final = "127.0.0.1"
_SUPERUSER: Final = "postgres"
_NO_SUCH_ROLE: Final = "28000"
_MODEL: Final = "template1"
_MAKE_ADMIN: Final = (
    "DO $$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'admin') "
    "THEN CREATE ROLE admin SUPERUSER LOGIN; END IF; END $$"
)
# Two that wait for each other find out at once.
_SHORT_DEADLOCKS: Final = "ALTER SYSTEM SET deadlock_timeout = '20ms'"
_PREPARE: Final = (_MAKE_ADMIN, _SHORT_DEADLOCKS, "SELECT pg_reload_conf()")


class Gate:
    """All of it: who is connected, the databases, their jobs."""

    def __init__(self, sockets: str, port: int, settings: GateSettings) -> None:
        self._settings = settings
        self._admission = Admission(settings)
        self._jobs = Jobs(settings)
        self._address = f"{sockets}/.s.PGSQL.{port}"
        self._base = f"postgresql:///%s?host={sockets}&port={port}&user={_SUPERUSER}"
        self._contention = Contention(self._dsn("postgres"))
        self._databases: dict[str, Database] = {}
        self._connections = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def prepare(self) -> None:
        """Make the server ready: every database that is made from now on has what DSQL has."""
        connection = await asyncpg.connect(self._dsn("postgres"))
        try:
            for statement in _PREPARE:
                await connection.execute(statement)
        finally:
            await connection.close()
        for name in (_MODEL, "postgres"):
            database = Database(name, self._dsn(name))
            await database.prepare()
            # Nobody may be connected to the model when a database is made from it.
            await database.close()

    async def serve(self, port: int, control: str) -> None:
        """Take connections until the process is signalled."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Client(self._settings.max_message, self._connected), LOOPBACK, port)
        controls = await asyncio.start_unix_server(self._control, control)
        async with server, controls:
            await server.serve_forever()

    def _connected(self, client: Client) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: Client) -> None:
        try:
            parameters = await _negotiate(client)
            if parameters is None:
                return
            refused = self._admission.refusal(parameters)
            if refused:
                client.write(refused)
                return
            self._connections += 1
            self._admission.open += 1
            try:
                await self._converse(client, parameters)
            finally:
                self._admission.open -= 1
        except (BackendLost, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            pass  # PostgreSQL has gone: all that a client sees of it is the end of its connection
        finally:
            client.close()

    async def _converse(self, client: Client, parameters: dict[str, str]) -> None:
        name = parameters.setdefault("database", "postgres")
        try:
            backend = await open_backend(self._address, parameters)
        except StartupRefused as refused:
            unknown = wire.error_fields(refused.frame).sqlstate == _NO_SUCH_ROLE
            hint = f"Wrong user to action mapping. user: {parameters.get('user')}, action: DbConnect"
            client.write(denied(hint) if unknown else refused.frame)
            return
        database = self._databases.get(name) or Database(name, self._dsn(name))
        self._databases[name] = database
        database.sessions += 1
        session = Session(backend, database, self._settings, self._jobs, self._contention.blocked)
        self._contention.add(session)
        expiry = asyncio.get_running_loop().call_later(self._settings.connection_seconds, client.expire)
        try:
            await database.prepare()
            _tie(client, backend)
            greeting = b"".join(reported(each) for each in backend.greeting)
            secret = wire.frame(b"K", backend.pid.to_bytes(4, "big") + b"\0\0\0\0")
            client.write(wire.frame(b"R", b"\0\0\0\0") + greeting + secret + wire.ready(b"I"))
            client.started()
            await Conversation(client, session).run()
        finally:
            expiry.cancel()
            self._contention.remove(session)
            backend.close()
            database.sessions -= 1
            if not database.sessions:
                await database.close()

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            while line := await reader.readline():
                answer: dict[str, Any] = {"connections": self._connections, "open": self._admission.open}
                try:
                    self._settings.change(json.loads(line))
                except ValueError as error:
                    answer = {"error": str(error)}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()

    def _dsn(self, database: str) -> str:
        return self._base % quote(database)


async def _negotiate(client: Client) -> dict[str, str] | None:
    """The startup message's parameters. A request to cancel is not heard; TLS is not offered."""
    while (packet := await client.startup()) is not None:
        code, payload = packet
        if code in (wire.SSL_REQUEST, wire.GSS_REQUEST):
            client.write(b"N")
        elif code == wire.PROTOCOL_3:
            return wire.startup_parameters(payload)
        else:
            return None
    return None


def _tie(client: Client, backend: Backend) -> None:
    """The end of one is the end of the other, and neither outruns the other."""

    def pause(paused: bool) -> None:
        if backend.transport is not None and not backend.transport.is_closing():
            (backend.transport.pause_reading if paused else backend.transport.resume_reading)()

    client.paused = pause
    backend.aside = lambda frame: client.write(reported(frame) if frame[0] == 83 else frame)
    backend.lost.add_done_callback(lambda _: client.close())


async def main() -> None:
    """Serve, as the arguments say."""
    port, sockets, backend_port, control, changes = sys.argv[1:]
    settings = GateSettings()
    settings.change(json.loads(changes))
    gate = Gate(sockets, int(backend_port), settings)
    await gate.prepare()
    await gate.serve(int(port), control)


if __name__ == "__main__":
    uvloop.run(main())
