"""What one session does with a statement: DSQL's order of refusals, its transactions, DDL, and catalog conflicts.

Knows statements and PostgreSQL's answers, not the client's messages: `conversation` has those.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from tests.standins.dsql.connections import wire
from tests.standins.dsql.connections.backend import Backend, Take
from tests.standins.dsql.databases import Database, quoted
from tests.standins.dsql.executions import Execution, Failed
from tests.standins.dsql.jobs import Jobs, start_job
from tests.standins.dsql.settings import GateSettings
from tests.standins.dsql.sql.statements import Kind, Statement
from tests.standins.dsql.transactions import CONFLICT, Transaction

T = TypeVar("T")

ABORTED: Final = wire.error("25P02", "current transaction is aborted, commands ignored until end of transaction block")
STALE: Final = wire.error("40001", "schema has been updated by another transaction (OC001)")
_MULTIPLE_DDL: Final = wire.error("0A000", "multiple ddl statements not supported in a transaction")
_MIXED: Final = wire.error("0A000", "ddl and dml are not supported in the same transaction")
_UNAVAILABLE: Final = wire.error("XX000", "server unavailable")
_KEY_SIZE: Final = wire.error("54000", "key size too large")
_DDL: Final = (Kind.DDL, Kind.AWS_IAM)
_NEEDS_CATALOG: Final = (Kind.READ, Kind.WRITE, Kind.LOCK, Kind.DDL, Kind.AWS_IAM, Kind.UNPARSED)
_ON_ITS_WAY_SECONDS: Final = 0.003


@dataclass(slots=True, eq=False)
class Session:
    """A client's session. `blocked` is called when a statement takes long enough that another may stand in its way."""

    backend: Backend
    database: Database
    settings: GateSettings
    jobs: Jobs
    blocked: Callable[["Session"], None]
    transaction: Transaction | None = None
    aborted: bool = False
    seen: int = field(init=False)
    """The version of the catalog that this session knows."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self.seen = self.database.version

    @property
    def status(self) -> bytes:
        """For ReadyForQuery."""
        if self.aborted:
            return b"E"
        return b"T" if self.transaction is not None and self.transaction.explicit else b"I"

    def check(self, statement: Statement) -> bytes | None:
        """Why a statement is refused at once, be it to be parsed or to be carried out."""
        if self.aborted and statement.kind not in (Kind.COMMIT, Kind.ROLLBACK):
            return ABORTED
        if statement.refusal:
            return wire.error(statement.refusal.sqlstate, statement.refusal.message)
        if statement.kind in _NEEDS_CATALOG and (stale := self._stale(statement)):
            return stale
        transaction = self.transaction
        if transaction is not None:
            if transaction.ddl is not None and statement.kind in _DDL:
                return _MULTIPLE_DDL
            if (transaction.ddl is not None and statement.kind is Kind.WRITE) or (
                transaction.dml and statement.kind in _DDL
            ):
                return _MIXED
        return None

    async def fail(self) -> None:
        """An error has been answered: a transaction block is aborted, an implicit transaction is over."""
        transaction, self.transaction = self.transaction, None
        if transaction is not None:
            self.aborted = self.aborted or transaction.explicit
            await self._alone(transaction.rollback)

    def begin(self, statement: Statement) -> None:
        """BEGIN. In a transaction block it changes nothing; an implicit transaction becomes the block."""
        if self.transaction is None:
            self.transaction = self._new(explicit=True)
        self.transaction.explicit = True
        self.transaction.read_only = self.transaction.read_only or bool(statement.options)

    async def commit(self) -> str:
        """COMMIT; its tag. Raises Failed; the transaction is over either way."""
        if self.aborted:
            self.aborted = False
            return "ROLLBACK"
        transaction, self.transaction = self.transaction, None
        if transaction is None:
            return "COMMIT"
        if transaction.dml and self._stale(None):
            await self._alone(transaction.rollback)
            raise Failed(STALE)
        error = await self._alone(transaction.commit)
        if error:
            raise Failed(translated(error))
        if transaction.ddl is not None:
            self.seen = self.database.changed(transaction.ddl.creates)
            self.jobs.look(self.database)
        return "COMMIT"

    async def rollback(self) -> str:
        """ROLLBACK; its tag."""
        self.aborted = False
        transaction, self.transaction = self.transaction, None
        if transaction is not None:
            await self._alone(transaction.rollback)
        return "ROLLBACK"

    async def carry_out(self, execution: Execution, *, alone: bool, take: Take) -> list[bytes]:
        """The frames that answer a statement, if `take` has not had them. `alone`: it is a transaction of its own, to
        be committed with it. Raises Failed."""
        statement = execution.statement
        if refused := self.check(statement):
            raise Failed(refused)
        if self.settings.unavailable > 0:
            self.settings.unavailable -= 1
            raise Failed(_UNAVAILABLE)
        if self.transaction is not None and (old := self.transaction.too_old):
            raise Failed(old)
        if statement.waits_for is not None:
            await self._wait_for_job(execution)
        if alone and self.transaction is None and await self._fits(execution):
            return await self._at_once(execution, take)
        transaction = self.transaction = self.transaction or self._new(explicit=False)
        commits = alone and not transaction.explicit
        async with self.database.ddl if commits and statement.kind in _DDL else contextlib.nullcontext():
            try:
                frames = await self._alone(lambda: self._in_transaction(transaction, execution, take))
            except Failed as failed:
                raise Failed(translated(failed.frame)) from failed
            if commits:
                await self.commit()
        return frames

    async def step_back(self) -> bool:
        """Get out of another session's way; False if this one is at work, and so will be out of it by itself."""
        if self.lock.locked() or self.transaction is None or self.transaction.ddl is not None:
            return False
        async with self.lock:
            if self.transaction is not None:
                await self.transaction.step_back()
        return True

    async def exchange(self, data: bytes, take: Take = None) -> list[bytes]:
        """Send messages that carry nothing out; their frames. Raises Failed."""
        transaction = self.transaction

        async def send() -> list[bytes]:
            if transaction is not None:
                await transaction.begin()
            reply = await self.backend.exchange(data, take=take)
            if reply.error:
                raise Failed(reply.error)
            return reply.frames

        return await self._alone(send)

    async def start_transaction(self) -> None:
        """Have a transaction, implicit if there is none: a portal is to outlive a Sync of the gate's."""
        self.transaction = self.transaction or self._new(explicit=False)

    def _new(self, *, explicit: bool) -> Transaction:
        return Transaction(self.backend, self.database, self.settings, explicit)

    def _stale(self, statement: Statement | None) -> bytes | None:
        """The error of a session that does not know the catalog as it is by now; it does afterwards."""
        database = self.database
        if self.seen == database.version or not self.settings.catalog_conflicts:
            return None
        before, self.seen = self.seen, database.version
        if self.transaction is not None and self.transaction.explicit and statement is not None:
            # The catalog of a transaction is that of its beginning: what was made since is not there.
            for table in statement.tables:
                if database.created.get(table.name, 0) > before:
                    return wire.error("42P01", f'relation "{table.name}" does not exist')
        return STALE

    async def _fits(self, execution: Execution) -> bool:
        """Whether PostgreSQL may commit the statement by itself: it stays within the limits whatever it finds."""
        statement = execution.statement
        if statement.kind is Kind.READ or statement.kind is Kind.UTILITY or statement.kind is Kind.UNPARSED:
            return True
        if statement.kind is not Kind.WRITE or statement.most_rows is None:
            return False
        if statement.most_rows > self.settings.max_rows or execution.size > self.settings.max_bytes // 2:
            return False
        for target, columns in statement.by_key:
            table = await self.database.table(target)
            if table is None or not table.key or not columns.issuperset(table.key):
                return False
        return True

    async def _at_once(self, execution: Execution, take: Take) -> list[bytes]:
        reply = await self._alone(lambda: self.backend.exchange(execution.data, take=take))
        if reply.error:
            raise Failed(translated(reply.error))
        if execution.statement.kind is Kind.WRITE:
            self.database.commits += 1
        return reply.frames

    async def _in_transaction(self, transaction: Transaction, execution: Execution, take: Take) -> list[bytes]:
        statement = execution.statement
        if statement.kind in (Kind.WRITE, Kind.LOCK):
            return await transaction.write(execution)
        if statement.kind not in _DDL:
            return await transaction.read(execution, take)
        return await self._ddl(transaction, execution)

    async def _ddl(self, transaction: Transaction, execution: Execution) -> list[bytes]:
        statement = execution.statement
        transaction.ddl = statement
        if statement.kind is Kind.AWS_IAM:
            return await self._iam(transaction, statement)
        refused = await self.database.ddl_refusal(statement.tree)
        if refused:
            raise Failed(wire.error(refused.sqlstate, refused.message))
        if statement.job is not None:
            return await start_job(transaction, statement, self.settings)
        if type(statement.tree).__name__ in ("AlterTableStmt", "RenameStmt"):
            for table in statement.tables:
                name = quoted(table).replace("'", "''")
                await transaction.own(
                    f"SELECT standin.forget_sizes(to_regclass('{name}')) WHERE EXISTS "
                    f"(SELECT 1 FROM pg_class WHERE oid = to_regclass('{name}') AND relkind = 'r')"
                )
        frames = await transaction.read(execution, None)
        await transaction.own("SELECT standin.refresh_sizes()")
        if type(statement.tree).__name__ == "DropStmt":
            await transaction.own("SELECT standin.add_job('DROP', 1259, 0, NULL)")
        return frames

    async def _iam(self, transaction: Transaction, statement: Statement) -> list[bytes]:
        """AWS IAM GRANT role TO 'arn' / AWS IAM REVOKE role FROM 'arn'."""
        words = statement.text.rstrip(" ;").split()
        role, arn = words[3].strip('"'), words[-1].strip("'")
        quoted_arn = "'" + arn.replace("'", "''") + "'"
        quoted_role = "'" + role.replace("'", "''") + "'"
        if words[2].upper() == "GRANT":
            await transaction.own(f"SELECT {quoted_role}::regrole")
            sql = f"INSERT INTO standin.iam VALUES ({quoted_arn}, {quoted_role}, current_user)"
        else:
            sql = f"DELETE FROM standin.iam WHERE arn = {quoted_arn} AND pg_role_name = {quoted_role}"
        await transaction.own(sql)
        return [wire.complete(words[2].upper())]

    async def _wait_for_job(self, execution: Execution) -> None:
        wanted = execution.statement.waits_for
        if isinstance(wanted, int):
            values = wire.bound_values(execution.tail)
            value = values[wanted - 1] if len(values) >= wanted else None
            wanted = value.decode() if value is not None else ""
        await self.jobs.wait(self.database, wanted or "")

    async def _alone(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do something with the backend while nobody else does; whoever stands in its way is made to step back."""
        async with self.lock:
            timer = asyncio.get_running_loop().call_later(_ON_ITS_WAY_SECONDS, self.blocked, self)
            try:
                return await work()
            finally:
                timer.cancel()


def translated(error: bytes) -> bytes:
    """PostgreSQL's errors as DSQL gives them."""
    fields = wire.error_fields(error)
    if fields.sqlstate in ("40001", "40P01") and "(OC" not in fields.message:
        return CONFLICT
    if fields.sqlstate == "54000" and fields.message.startswith("index row"):
        return _KEY_SIZE
    return error
