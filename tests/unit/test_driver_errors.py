"""Whatever the driver raises becomes one of the seam's errors, and a connection out of step is not used again."""

import asyncio
import socket
from typing import Any, cast

import asyncpg
import pytest

from proxy.dynamodb.schema import Key
from proxy.stores.dsql.connect_errors import ConnectError, Target, explained
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.retry import run_with_retry
from proxy.stores.dsql.sqlstates import DRIVER_ERRORS, is_out_of_step
from proxy.stores.dsql.statement_runner import StatementRunner
from proxy.stores.dsql.transaction import open_transaction
from proxy.stores.errors import StoreError, UnknownOutcome, Unreachable

KEY = Key("t", '{"id":{"S":"a"}}')
LOST: list[BaseException] = [
    OSError("reset"),
    ConnectionResetError(),
    TimeoutError(),
    EOFError(),
    asyncio.IncompleteReadError(b"", 1),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.InternalClientError("unexpected attempt"),
    asyncpg.exceptions.ProtocolError("cannot switch to state 12"),
    asyncpg.exceptions.OutdatedSchemaCacheError("cached statement plan is invalid"),
]


class Connection:
    """A connection each of whose statements raises `error`, from the one numbered `first` on."""

    def __init__(self, error: BaseException, first: int = 0) -> None:
        self.error = error
        self.first = first
        self.statements: list[str] = []
        self.closed = False

    async def execute(self, statement: str, *_: Any, **__: Any) -> str:
        self.statements.append(statement)
        if len(self.statements) > self.first:
            raise self.error
        return "OK"

    def terminate(self) -> None:
        self.closed = True

    def is_closed(self) -> bool:
        return self.closed


def pool_of(*connections: Any) -> Pool:
    waiting = list(connections)

    async def connect() -> asyncpg.Connection:
        made = waiting.pop(0)
        if isinstance(made, BaseException):
            raise made
        return cast("asyncpg.Connection", made)

    return Pool(connect, 1)


def runner(pool: Pool) -> StatementRunner:
    return StatementRunner(pool, on_retry=lambda _: None, acquire_seconds=10.0)


@pytest.mark.parametrize("error", LOST, ids=repr)
async def test_a_lost_read_has_done_nothing_and_of_a_lost_write_nobody_knows(error: BaseException) -> None:
    for write, expected in ((False, Unreachable), (True, UnknownOutcome)):
        connection = Connection(error)
        pool = pool_of(connection)

        async def run(there: asyncpg.Connection) -> str:
            return str(await there.execute("SELECT 1"))

        with pytest.raises(expected):
            await (runner(pool).write(run, KEY) if write else runner(pool).read(run))
        assert connection.closed
        assert pool.state.open == 0, "it is not used again"
        pool.terminate()


@pytest.mark.parametrize("error", LOST, ids=repr)
async def test_work_that_may_be_repeated_is_unreachable(error: BaseException) -> None:
    connection = Connection(error)
    pool = pool_of(connection)
    with pytest.raises(Unreachable):
        await run_with_retry(pool, lambda there: there.execute("SELECT 1"))
    assert connection.closed
    pool.terminate()


@pytest.mark.parametrize("error", LOST, ids=repr)
@pytest.mark.parametrize("first", [0, 1])
async def test_a_transaction_is_unknown_only_at_its_commit(error: BaseException, first: int) -> None:
    connection = Connection(error, first)
    pool = pool_of(connection)
    with pytest.raises(StoreError) as caught:
        async with open_transaction(runner(pool), cast("Any", None), None, read_only=False):
            pass
    assert isinstance(caught.value, UnknownOutcome if first else Unreachable)
    pool.terminate()


@pytest.mark.parametrize("error", [*LOST, asyncio.CancelledError()], ids=repr)
async def test_a_connect_that_fails_is_heard_of_by_who_waits(error: BaseException) -> None:
    """A driver that cancels its own connect must not leave the caller waiting."""
    pool = pool_of(error)
    async with asyncio.timeout(10):
        with pytest.raises(ConnectError):
            await pool.acquire()
    pool.terminate()


async def test_a_connect_that_is_cancelled_by_the_pool_s_end_stays_cancelled() -> None:
    begun = asyncio.Event()

    async def connect() -> asyncpg.Connection:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    pool = Pool(connect, 1)
    waiting = asyncio.create_task(pool.acquire())
    await begun.wait()
    pool.terminate()
    with pytest.raises(asyncpg.InterfaceError):
        await waiting


def test_every_error_class_of_the_driver_is_on_the_list() -> None:
    found = [each for each in vars(asyncpg.exceptions).values() if isinstance(each, type)]
    errors = [each for each in found if issubclass(each, Exception) and not issubclass(each, Warning)]
    assert len(errors) > 200
    assert [each.__name__ for each in errors if not issubclass(each, DRIVER_ERRORS)] == []


def test_a_parameter_that_cannot_be_sent_leaves_the_connection_as_it_was() -> None:
    assert not is_out_of_step(asyncpg.DataError("invalid input"))
    assert not is_out_of_step(asyncpg.PostgresError())


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 5432)"), "Connection refused (127.0.0.1:5432)"),
        (ConnectionRefusedError(111, "Connect call failed ('::1', 5432, 0, 0)"), "Connection refused ([::1]:5432)"),
        (
            OSError(
                "Multiple exceptions: [Errno 111] Connect call failed ('::1', 1, 0, 0), "
                "[Errno 111] Connect call failed ('127.0.0.1', 1)"
            ),
            "Connection refused ([::1]:1, 127.0.0.1:1)",
        ),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (OSError(101, "Network is unreachable"), "Network is unreachable"),
    ],
)
def test_an_operator_reads_the_system_s_words_and_the_address(error: OSError, said: str) -> None:
    assert explained(error, Target("dsn in [dsql]")).said == said
