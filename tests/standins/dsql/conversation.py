"""A client's messages and their answers, by the simple and the extended protocol.

What a statement does is `sessions`'s; here are the names of prepared statements and portals, and the order of answers.
"""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

from tests.standins.dsql import jobs
from tests.standins.dsql.connections import wire
from tests.standins.dsql.connections.backend import Take
from tests.standins.dsql.connections.client import Client
from tests.standins.dsql.executions import Execution, Failed, aside
from tests.standins.dsql.sessions import Session
from tests.standins.dsql.sql.statements import Kind, Statement, analyze, split

_OWN: Final = (Kind.BEGIN, Kind.COMMIT, Kind.ROLLBACK, Kind.SHOWN, Kind.AWS_IAM)
_NO_DATA: Final = wire.frame(b"n")
_NO_PARAMETERS: Final = wire.frame(b"t", b"\0\0")
_EMPTY: Final = wire.frame(b"I")


@dataclass(slots=True)
class Prepared:
    """A prepared statement; `types` are all its parameters' once they were asked for."""

    statement: Statement
    oids: tuple[int, ...]
    types: tuple[int, ...] | None = None

    @property
    def own(self) -> bool:
        """Whether PostgreSQL never hears of it."""
        return is_own(self.statement)


@dataclass(frozen=True, slots=True)
class Portal:
    """A statement with its parameters' values."""

    prepared: Prepared
    tail: bytes


def is_own(statement: Statement) -> bool:
    """Whether the gate answers it by itself."""
    return statement.kind in _OWN or statement.job is not None


def columns_of(statement: Statement) -> list[str]:
    """The columns of a statement that the gate answers by itself."""
    if statement.kind is Kind.SHOWN:
        return [statement.shown[0]]
    return [jobs.COLUMN] if statement.job is not None else []


class Conversation:
    """One client and its session, until either ends."""

    def __init__(self, client: Client, session: Session) -> None:
        self._client = client
        self._session = session
        self._prepared: dict[str, Prepared] = {}
        self._portals: dict[str, Portal] = {}
        self._pending: list[bytes] = []
        """Messages for PostgreSQL that carry nothing out by themselves."""
        self._binds = False
        self._skipping = False
        self._out: list[bytes] = []

    async def run(self) -> None:
        """Answer message after message. Raises BackendLost."""
        while (raw := await self._client.next()) is not None:
            kind = raw[0]
            if kind == 88:  # X
                return
            if kind == 81:  # Q
                await self._simple(raw[5:-1].decode(errors="replace"))
            elif kind == 83:  # S
                await self._sync()
            elif kind == 72:  # H
                if not self._skipping:
                    await self._guarded(self._flush())
                self._send()
            elif not self._skipping:
                await self._guarded(self._extended(kind, raw))

    # --- simple queries

    async def _simple(self, sql: str) -> None:
        texts = split(sql)
        if not texts:
            self._out.append(_EMPTY)
        try:
            for text in texts:
                await self._simple_statement(analyze(text), alone=len(texts) == 1)
            await self._end_implicit()
        except Failed as failed:
            self._out.append(failed.frame)
            await self._session.fail()
        self._ready()

    async def _simple_statement(self, statement: Statement, *, alone: bool) -> None:
        if is_own(statement):
            if refused := self._session.check(statement):
                raise Failed(refused)
            frames = await self._own(statement, alone=alone)
            if columns := columns_of(statement):
                self._out.append(wire.row_description(columns))
            self._out += frames
            return
        if statement.kind is Kind.EMPTY:
            self._out.append(_EMPTY)
            return
        execution = Execution(statement, wire.query(statement.sql))
        self._out += await self._session.carry_out(execution, alone=alone, take=self._taker(statement))

    # --- the extended protocol

    async def _extended(self, kind: int, raw: bytes) -> None:
        if kind == 80:  # P
            await self._parse(raw)
        elif kind == 66:  # B
            await self._bind(raw)
        elif kind == 68:  # D
            await self._describe(raw)
        elif kind == 69:  # E
            await self._execute(raw)
        elif kind == 67:  # C
            await self._close(raw)
        # COPY's messages come after a COPY only, which is refused.

    async def _parse(self, raw: bytes) -> None:
        name, sql, oids = wire.read_parse(raw)
        statement = analyze(sql)
        if refused := self._session.check(statement):
            await self._flush()
            raise Failed(refused)
        prepared = self._prepared[name] = Prepared(statement, oids)
        if prepared.own:
            await self._answer(wire.frame(b"1"))
        else:
            self._pending.append(raw if statement.sql == sql else wire.parse(name, statement.sql, oids))

    async def _bind(self, raw: bytes) -> None:
        portal, name, tail = wire.read_bind(raw)
        prepared = self._prepared.get(name)
        if prepared is not None:
            self._portals[portal] = Portal(prepared, tail)
        if prepared is not None and prepared.own:
            await self._answer(wire.frame(b"2"))
        else:
            self._pending.append(raw)
            self._binds = True

    async def _describe(self, raw: bytes) -> None:
        name = raw[6:-1].decode()
        portal = self._portals.get(name) if raw[5:6] == b"P" else None
        prepared = portal.prepared if portal else self._prepared.get(name)
        if prepared is None or not prepared.own:
            self._pending.append(raw)
            return
        columns = columns_of(prepared.statement)
        described = wire.row_description(columns) if columns else _NO_DATA
        await self._answer(described if portal else _NO_PARAMETERS + described)

    async def _execute(self, raw: bytes) -> None:
        portal = self._portals.get(raw[5 : raw.index(b"\0", 5)].decode())
        if portal is None:
            self._pending.append(raw)
            await self._flush()
            return
        following = await self._client.peek()
        alone = following is not None and following[0] == 83  # S
        statement = portal.prepared.statement
        if portal.prepared.own:
            await self._flush()
            if refused := self._session.check(statement):
                raise Failed(refused)
            self._out += await self._own(statement, alone=alone)
            return
        oids = portal.prepared.oids
        if statement.locks:
            oids = await self._parameter_types(portal.prepared)
        messages = b"".join(self._pending) + raw
        self._pending.clear()
        self._binds = False
        execution = Execution(statement, messages, False, oids, portal.tail)
        self._out += await self._session.carry_out(execution, alone=alone, take=self._taker(statement))

    async def _close(self, raw: bytes) -> None:
        name = raw[6:-1].decode()
        if raw[5:6] == b"P":
            portal = self._portals.pop(name, None)
            prepared = portal.prepared if portal else None
        else:
            prepared = self._prepared.pop(name, None)
        if prepared is not None and prepared.own:
            await self._answer(wire.frame(b"3"))
        else:
            self._pending.append(raw)

    async def _sync(self) -> None:
        if not self._skipping:
            await self._guarded(self._flush())
        if not self._skipping:
            await self._guarded(self._end_implicit())
        self._skipping = False
        self._pending.clear()
        self._binds = False
        self._ready()

    async def _flush(self) -> None:
        """Have PostgreSQL answer what is pending."""
        if not self._pending:
            return
        data, binds = b"".join(self._pending) + wire.SYNC, self._binds
        self._pending.clear()
        self._binds = False
        if binds:
            following = await self._client.peek()
            if following is None or following[0] != 83:  # S
                await self._session.start_transaction()
        self._out += await self._session.exchange(data)

    async def _parameter_types(self, prepared: Prepared) -> tuple[int, ...]:
        if prepared.types is None:
            named = wire.parse("cf_types", prepared.statement.sql, prepared.oids) + wire.describe_statement("cf_types")
            frames = await self._session.exchange(wire.frame(b"C", b"Scf_types\0") + named + wire.SYNC)
            prepared.types = next(wire.parameter_types(each) for each in frames if each[0] == 116)  # t
        return prepared.types

    # --- both

    async def _own(self, statement: Statement, *, alone: bool) -> list[bytes]:
        session = self._session
        if statement.kind is Kind.BEGIN:
            session.begin(statement)
            return [wire.complete(statement.tag)]
        if statement.kind is Kind.COMMIT:
            return [wire.complete(await session.commit())]
        if statement.kind is Kind.ROLLBACK:
            return [wire.complete(await session.rollback())]
        if statement.kind is Kind.SHOWN:
            return [wire.data_row([statement.shown[1]]), wire.complete("SHOW")]
        return await session.carry_out(Execution(statement, aside(statement.sql)), alone=alone, take=None)

    def _taker(self, statement: Statement) -> Take:
        return self._pass_on if statement.kind is Kind.READ else None

    def _pass_on(self, data: bytes) -> None:
        self._out.append(data)
        self._send()

    async def _answer(self, frame: bytes) -> None:
        await self._flush()
        self._out.append(frame)

    async def _end_implicit(self) -> None:
        transaction = self._session.transaction
        if transaction is not None and not transaction.explicit:
            await self._session.commit()

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """An error is answered, and what follows it until the next Sync is not heard."""
        try:
            await work
        except Failed as failed:
            self._out.append(failed.frame)
            self._skipping = True
            self._pending.clear()
            self._binds = False
            await self._session.fail()

    def _ready(self) -> None:
        self._out.append(wire.ready(self._session.status))
        self._send()

    def _send(self) -> None:
        if self._out:
            self._client.write(b"".join(self._out))
            self._out.clear()
