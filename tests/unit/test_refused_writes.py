"""A write that the authority refused for certain has had no effect: its keys leave the journal at once, unread."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.dynamodb.operations import Operation, decode
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key, TableSchema
from proxy.mapping.document_mapping import DocumentMapping
from proxy.metrics.registry import Metrics
from proxy.shadow.call import Call, wrote_nothing
from proxy.shadow.comparison.peers import NoPeers
from proxy.shadow.comparison.write_rehearsal import WriteRehearsal
from proxy.shadow.convergence.converger import Converger, Direction
from proxy.shadow.journal.journal import Journal
from proxy.shadow.verdict_record import VerdictRecord
from proxy.stores.circuit_breaker import CircuitBreaker
from proxy.stores.errors import Unreachable
from proxy.stores.interface import ExecutionResult
from proxy.stores.table_registry import Table
from proxy.verdicts import Verdict
from tests.unit.shadow_stores import MemoryStore

SCHEMA = TableSchema("t", "id", None, {"id": "S"}, {})
TABLE = Table(SCHEMA, DocumentMapping(SCHEMA))
A, B = Key("t", '{"id":{"S":"a"}}'), Key("t", '{"id":{"S":"b"}}')


def refused(code: str, status: int = 400) -> Outcome:
    return Outcome.of({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": "no"}, status)


FAILED = refused("ConditionalCheckFailedException")


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = Journal(tmp_path / "journal.sqlite")
    opened.open({"dynamodb": 0.0, "dsql": 60.0})
    yield opened
    opened.close()


# --- the journal ------------------------------------------------------------------------------------------------------


async def test_the_keys_of_a_withdrawn_entry_leave(journal: Journal) -> None:
    entry = await journal.enter([A, B])
    journal.withdraw(entry)
    assert journal.empty
    assert not journal.busy
    assert not journal.has_later_write(entry)


async def test_a_key_that_another_write_put_there_stays(journal: Journal) -> None:
    await journal.enqueue([A])
    journal.withdraw(await journal.enter([A]))
    assert (await journal.next()).key == A


@pytest.mark.parametrize("accepted_first", [True, False])
async def test_a_key_that_an_overlapping_write_wrote_stays(journal: Journal, accepted_first: bool) -> None:
    accepted, withdrawn = await journal.enter([A]), await journal.enter([A])
    for end in (journal.release, journal.withdraw) if accepted_first else (journal.withdraw, journal.release):
        end(accepted if end == journal.release else withdrawn)
    journal.mark_converged(await journal.next())
    assert journal.empty


async def test_of_overlapping_writes_that_were_all_refused_nothing_stays(journal: Journal) -> None:
    entries = [await journal.enter([A]) for _ in range(3)]
    for entry in entries:
        journal.withdraw(entry)
    assert journal.empty
    assert not journal.busy


async def test_a_key_whose_outcome_was_unknown_stays(journal: Journal) -> None:
    unknown = await journal.enter([A])
    journal.mark_unsettled([A], 60.0, "dynamodb")
    journal.release(unknown)
    journal.withdraw(await journal.enter([A]))
    assert journal.holds(A)


async def test_a_parked_key_converges_again(journal: Journal) -> None:
    await journal.enqueue([A])
    journal.park(await journal.next(), "it does not fit")
    journal.withdraw(await journal.enter([A]))
    assert (await journal.next()).key == A


# --- which refusals are certain ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "action", "authority", "certain"),
    [
        (FAILED, "PutItem", "dynamodb", True),
        (FAILED, "PutItem", "dsql", True),
        (refused("ValidationException"), "BatchWriteItem", "dynamodb", True),
        (refused("ValidationException"), "BatchWriteItem", "dsql", False),
        (refused("TransactionCanceledException"), "TransactWriteItems", "dsql", True),
        (refused("ThrottlingException"), "UpdateItem", "dynamodb", True),
        (refused("TransactionInProgressException"), "TransactWriteItems", "dynamodb", False),
        (refused("ItemCollectionSizeLimitExceededException"), "BatchWriteItem", "dynamodb", False),
        (refused("SomethingNewException"), "PutItem", "dynamodb", False),
        (refused("ValidationException", 500), "PutItem", "dynamodb", False),
        (Outcome(400, (), b"<html>a proxy in between</html>"), "PutItem", "dynamodb", False),
        (Outcome.of({}), "PutItem", "dynamodb", False),
    ],
)
def test_only_a_certain_refusal_counts(outcome: Outcome, action: str, authority: str, certain: bool) -> None:
    call = Call(Operation(action, b"", {}, (A,), {"t": SCHEMA}), {"t": TABLE}, "", "r")
    assert wrote_nothing(call, authority, outcome) is certain


# --- a rehearsal ------------------------------------------------------------------------------------------------------


@dataclass
class Mirror(MemoryStore):
    """A mirror that answers what it is given to answer."""

    answer: Outcome = field(default_factory=lambda: FAILED)

    async def execute(self, operation: Operation) -> ExecutionResult:
        await self._called("execute")
        return ExecutionResult(self.answer, {})


class Place:
    """A rehearsal over two stores in memory."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.authority, self.mirror = MemoryStore("dynamodb"), Mirror("dsql")
        self.verdicts: list[VerdictRecord] = []
        self._direction = Direction(self.authority, self.mirror, CircuitBreaker(10, 5.0))

        async def find(_: str) -> Table | None:
            return TABLE

        converger = Converger(journal, self, Metrics(), {"dynamodb": 0.0, "dsql": 0.0}, find)
        self.rehearsal = WriteRehearsal(journal, self.authority, self.mirror, converger, self, NoPeers(alone=True))

    def direction_of(self, _: Key) -> Direction:
        return self._direction

    def breakers(self) -> tuple[CircuitBreaker, ...]:
        return (self._direction.breaker,)

    def record(self, record: VerdictRecord, /) -> None:
        self.verdicts.append(record)

    async def put(self, outcome: Outcome) -> list[Verdict]:
        """Rehearse a PutItem to which the authority gave `outcome`."""
        request: dict[str, Any] = {"TableName": "t", "Item": {"id": {"S": "a"}}}
        operation = decode("PutItem", orjson.dumps(request), request, {"t": SCHEMA})
        await self.rehearsal.rehearse(Call(operation, {"t": TABLE}, "", "r"), await self.journal.enter([A]), outcome)
        return [each.verdict for each in self.verdicts]


@pytest.mark.parametrize("code", ["ConditionalCheckFailedException", "ValidationException"])
async def test_what_both_stores_refuse_alike_is_not_read(journal: Journal, code: str) -> None:
    place = Place(journal)
    place.mirror.answer = refused(code)
    assert await place.put(refused(code)) == [Verdict.AGREED]
    assert place.authority.calls == []
    assert place.mirror.calls == ["execute"]
    assert journal.empty


async def test_what_is_no_decision_is_neither_rehearsed_nor_read(journal: Journal) -> None:
    place = Place(journal)
    assert await place.put(refused("ThrottlingException")) == []
    assert (place.authority.calls, place.mirror.calls) == ([], [])
    assert journal.empty


@pytest.mark.parametrize("answer", [Outcome.of({}), refused("ValidationException")])
async def test_what_the_mirror_decided_otherwise_is_compared_and_converges(journal: Journal, answer: Outcome) -> None:
    place = Place(journal)
    place.mirror.answer = answer
    place.mirror.items[A] = {"id": {"S": "a"}}  # as an accepted write leaves it
    assert await place.put(FAILED) == [Verdict.MISMATCH]
    assert "get" in place.authority.calls
    assert place.mirror.items == {}


async def test_what_the_mirror_may_have_written_converges(journal: Journal) -> None:
    """The mirror fails, or the process is stopped, while it executes what the authority has refused."""
    place = Place(journal)

    async def before(what: str) -> None:
        if what == "execute":
            place.mirror.items[A] = {"id": {"S": "a"}}
            raise Unreachable("timeout", "no answer")

    place.mirror.before = before
    assert await place.put(FAILED) == [Verdict.MIRROR_ERROR]
    assert place.mirror.items == {}


async def test_a_rehearsal_that_is_cancelled_leaves_its_key_in_the_journal(journal: Journal) -> None:
    place = Place(journal)
    begun = asyncio.Event()

    async def before(_: str) -> None:
        begun.set()
        await asyncio.Event().wait()

    place.mirror.before = before
    rehearsing = asyncio.create_task(place.put(FAILED))
    await begun.wait()
    rehearsing.cancel()
    await asyncio.wait({rehearsing})
    assert journal.holds(A)
