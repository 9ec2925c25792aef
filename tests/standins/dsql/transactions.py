"""One transaction as DSQL carries it out: nobody waits for anybody, and whoever commits second learns it at COMMIT.

PostgreSQL makes a writer wait for the one before it. So a transaction that stands in another's way *retreats*: it
rolls its writes back and keeps its snapshot (a savepoint at its very beginning). When its client goes on, it
*advances*: what it had written is written again in the same snapshot. There PostgreSQL itself says whether somebody
has committed one of its rows meanwhile; then the transaction is *doomed*: it goes on in copies of the tables that it
writes (`ghosts`), answering what it would see, and is refused at COMMIT. So the first to commit wins, as on a cluster.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from tests.standins.dsql.connections import wire
from tests.standins.dsql.connections.backend import (
    BEGIN,
    BEGIN_READ_ONLY,
    COMMIT,
    CONTROL,
    CONTROL_FRAMES,
    RETREAT,
    ROLLBACK,
    START,
    Backend,
    Reply,
    Take,
)
from tests.standins.dsql.databases import Database, identifier
from tests.standins.dsql.executions import ASIDE_FRAMES, Execution, Failed, aside
from tests.standins.dsql.ghosts import Ghosts
from tests.standins.dsql.settings import GateSettings
from tests.standins.dsql.sql.statements import Kind, Statement

CONFLICT: Final = wire.error("40001", "change conflicts with another transaction (OC000)")
ROW_LIMIT: Final = wire.error("54000", "transaction row limit exceeded")
_LOST: Final = "40001"
_DEADLOCK: Final = "40P01"
_DUPLICATE: Final = "23505"
_FOREIGN_KEY: Final = "23503"
_ROW_BYTES: Final = 140
_INDEX_ENTRY_BYTES: Final = 430
_PREFIX_KINDS: Final = frozenset(b"12tTn3")


@dataclass(slots=True)
class Transaction:
    """An open transaction; `explicit` if the client has said BEGIN. Whoever calls it holds the session's lock."""

    backend: Backend
    database: Database
    settings: GateSettings
    explicit: bool
    read_only: bool = False
    ddl: Statement | None = None
    dml: bool = False
    begun: bool = False
    retreated: bool = False
    doomed: bool = False
    started: float = field(default_factory=time.monotonic)
    since: int = field(init=False)
    """How many transactions had committed when it began."""
    _log: list[Execution] = field(default_factory=list)
    _rows: int = 0
    _bytes: int = 0
    _marks: set[tuple[int, str]] = field(default_factory=set)
    _removes: bool = False
    _ghosts: Ghosts | None = None

    def __post_init__(self) -> None:
        self.since = self.database.commits

    @property
    def too_old(self) -> bytes | None:
        """The error of a transaction that has been open for too long."""
        age, most = time.monotonic() - self.started + self.settings.clock_ahead, self.settings.max_age
        if age <= most:
            return None
        detail = f"Current transaction age {age:.0f}s exceeds {most:g}s"
        return wire.error("54000", f"transaction age limit of {most:g}s exceeded", detail=detail)

    async def begin(self) -> None:
        """Begin it in PostgreSQL, if it has not begun; its snapshot comes with its first statement."""
        if not self.begun:
            await self._send(wire.SYNC)

    async def read(self, execution: Execution, take: Take) -> list[bytes]:
        """Carry out what takes part in no conflict. Raises Failed."""
        await self._ready_to_run()
        if self._ghosts is not None and self._ghosts.concern(execution.statement):
            return await self._ghosts.answer(execution, [])
        reply = await self._send(execution.data, simple=execution.simple, take=take)
        if reply.error:
            raise Failed(reply.error)
        return reply.frames

    async def write(self, execution: Execution) -> list[bytes]:
        """Carry out what takes part in conflicts. Raises Failed."""
        while True:
            await self._ready_to_run()
            if self._ghosts is not None:
                frames = await self._ghosts.answer(execution, [])
                break
            marks, skip = await self._lock_statements(execution)
            reply = await self._send(execution.data, before=marks, skip=skip, simple=execution.simple)
            frames = reply.frames
            if reply.error is None:
                break
            fields = wire.error_fields(reply.error)
            if fields.sqlstate == _DEADLOCK:
                # Both would wait for each other: this one steps back, and comes again when the other has gone on.
                await self._retreat()
                continue
            frames = await self._conflict(execution, fields, reply.error, frames)
            break
        await self._account(execution, frames)
        self._log.append(execution)
        return frames

    async def commit(self) -> bytes | None:
        """Commit it; the error if it is refused. Afterwards it is over either way."""
        refusal = self.too_old or self._too_large()
        if refusal is None and self.begun:
            await self._ready_to_run(answering=False)
            if self.doomed or await self._marked_meanwhile():
                refusal = CONFLICT
        if refusal is not None:
            await self.rollback()
            return refusal
        if not self.begun:
            return None
        reply = await self.backend.exchange(CONTROL[COMMIT] + wire.SYNC, skip=CONTROL_FRAMES)
        if reply.error:
            await self.rollback()
            return reply.error
        if self._log or self.ddl:
            self.database.commits += 1
            self.database.marks.extend((self.database.commits, oid, key) for oid, key in self._marks)
        return None

    async def rollback(self) -> None:
        """Undo it."""
        if self.begun:
            await self.backend.exchange(CONTROL[ROLLBACK] + wire.SYNC, skip=CONTROL_FRAMES)
            self.begun = False

    async def step_back(self) -> None:
        """Get out of another's way: let go of every lock, keep the snapshot."""
        if self.begun and not self.retreated:
            await self._retreat()

    async def start_anew(self) -> None:
        """Undo what an error of the gate's own statements has left; there is nothing else in the transaction."""
        await self._retreat()
        self.retreated = False

    async def own(self, sql: str) -> list[bytes]:
        """Carry out a statement of the gate's in it; the rows. Raises Failed."""
        await self._ready_to_run()
        reply = await self._send(aside(sql) + wire.SYNC)
        if reply.error:
            raise Failed(reply.error)
        return [each for each in reply.frames if each[0] == 68]

    async def _ready_to_run(self, *, answering: bool = True) -> None:
        """Take back what was given up in a retreat. `answering`: a statement follows that must be answered."""
        while self.retreated:
            self.retreated = False
            if self._log and not self.doomed:
                await self._advance()
            if self.doomed and answering:
                await self._haunt()

    async def _advance(self) -> None:
        data = b"".join([await self._again(each) for each in self._log])
        reply = await self.backend.exchange(data + wire.SYNC)
        if reply.error is None:
            return
        await self._retreat()
        if wire.error_fields(reply.error).sqlstate != _DEADLOCK:
            self.retreated, self.doomed = False, True

    async def _again(self, execution: Execution) -> bytes:
        marks, _ = await self._lock_statements(execution)
        return marks + aside(execution.statement.sql, execution.oids, execution.tail)

    async def _haunt(self) -> None:
        """Go on in copies of the tables, in which what was written so far is written anew."""
        self._ghosts = Ghosts(self.backend, self.database)
        for each in self._log:
            await self._ghosts.answer(each, [])

    async def _retreat(self) -> None:
        reply = await self.backend.exchange(CONTROL[RETREAT] + wire.SYNC, skip=CONTROL_FRAMES)
        assert reply.error is None
        self.retreated, self._ghosts = True, None

    async def _conflict(
        self, execution: Execution, fields: wire.ErrorFields, error: bytes, frames: list[bytes]
    ) -> list[bytes]:
        """Answer a statement that PostgreSQL has refused: what the transaction would have seen if it is a conflict
        with one that has committed meanwhile. Raises Failed if it is not."""
        if fields.sqlstate not in (_LOST, _DUPLICATE, _FOREIGN_KEY):
            raise Failed(error)
        await self._retreat()
        self.retreated = False
        await self._haunt()
        assert self._ghosts is not None
        if fields.sqlstate == _FOREIGN_KEY and not await self._ghosts.foreign_key_held(fields):
            raise Failed(error)
        try:
            answer = await self._ghosts.answer(execution, [each for each in frames if each[0] in _PREFIX_KINDS])
        except Failed as failed:
            # A duplicate that the transaction can see itself is no conflict.
            raise Failed(error if fields.sqlstate == _DUPLICATE else failed.frame) from failed
        self.doomed = True
        return answer

    async def _account(self, execution: Execution, frames: list[bytes]) -> None:
        statement = execution.statement
        if statement.kind is not Kind.WRITE:
            return
        self.dml = True
        self._removes = self._removes or statement.removes_keys
        done = next((wire.tag_of(each) for each in reversed(frames) if each[0] == 67), "")
        found = re.search(r"\d+$", done)
        rows = int(found[0]) if found else 0
        self._rows += rows
        if self._rows > self.settings.max_rows:
            raise Failed(ROW_LIMIT)
        table = await self.database.table(statement.targets[0])
        indexes = max((table.indexes if table else 0) - 1, 0)
        self._bytes += execution.size + rows * (_ROW_BYTES + indexes * _INDEX_ENTRY_BYTES)

    def _too_large(self) -> bytes | None:
        most = self.settings.max_bytes
        if self._bytes <= most:
            return None
        detail = f"Current transaction size {self._bytes / 1024 / 1024:.2f}mb > {most // 1024 // 1024}mb"
        return wire.error("54000", f"transaction size limit {most // 1024 // 1024}mb exceeded", detail=detail)

    async def _lock_statements(self, execution: Execution) -> tuple[bytes, int]:
        """The messages that mark the rows of a locking clause, and how many frames they bring."""
        data, skip = b"", 0
        for lock in execution.statement.locks:
            table = await self.database.table(lock.table)
            if table is None:
                continue
            if not lock.for_update:
                await self._mark_keys(execution, lock.rows, table.oid, table.key)
                continue
            column = identifier(next(each for each in table.columns if each not in table.identities))
            rows = lock.rows.replace("cf_target", "ctid", 1)
            sql = f"UPDATE {table.name} AS cf_mark SET {column} = cf_mark.{column} WHERE ctid = ANY (ARRAY({rows}))"
            data += aside(sql, execution.oids, wire.text_results(execution.tail))
            skip += ASIDE_FRAMES
        return data, skip

    async def _mark_keys(self, execution: Execution, rows: str, oid: int, key: tuple[str, ...]) -> None:
        """Remember the keys that FOR KEY SHARE concerns: they clash with whoever deletes one of them."""
        expression = _key_expression(key)
        sql = re.sub(r'("(?:[^"]|"")+"|\w+)\.cf_target', lambda at: expression(f"{at[1]}."), rows, count=1)
        tail = wire.text_results(execution.tail)
        reply = await self._send(aside(sql, execution.oids, tail) + wire.SYNC)
        self._marks |= {(oid, value) for row in reply.frames if row[0] == 68 and (value := wire.row_values(row)[0])}
        if reply.error:
            raise Failed(reply.error)

    async def _marked_meanwhile(self) -> bool:
        """Whether a key that it has deleted was marked by a transaction that has committed since it began."""
        if not self._removes:
            return False
        marked: dict[int, list[str]] = {}
        for when, oid, key in self.database.marks:
            if when > self.since:
                marked.setdefault(oid, []).append(key)
        for target in {target for each in self._log for target in each.statement.targets}:
            table = await self.database.table(target)
            keys = marked.get(table.oid) if table else None
            if table is None or not keys:
                continue
            listed = ", ".join("'" + key.replace("'", "''") + "'" for key in keys)
            there = await self.own(f"SELECT 1 FROM {table.name} WHERE {_key_expression(table.key)('')} IN ({listed})")
            if len(there) < len(set(keys)):
                return True
        return False

    async def _send(
        self, execution: bytes, *, before: bytes = b"", skip: int = 0, simple: bool = False, take: Take = None
    ) -> Reply:
        prelude = b""
        if not self.begun:
            self.begun = True
            prelude = CONTROL[BEGIN_READ_ONLY if self.read_only else BEGIN] + CONTROL[START]
            skip += 2 * CONTROL_FRAMES
        first = prelude + before
        # A simple query is lost between an error and the next Sync.
        readies = 2 if simple and first else 1
        sync = wire.SYNC if simple and first else b""
        return await self.backend.exchange(first + sync + execution, readies=readies, skip=skip, take=take)


def _key_expression(key: tuple[str, ...]) -> Callable[[str], str]:
    """The text of a key, with a prefix before each column."""
    return lambda prefix: "concat_ws(chr(31), " + ", ".join(f"{prefix}{identifier(name)}::text" for name in key) + ")"
