"""While writes are held for a move of stages, nothing but the convergence of their keys takes time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.dynamodb.operations import decode
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key, TableSchema
from proxy.mapping.document_mapping import DocumentMapping
from proxy.metrics.registry import Metrics
from proxy.shadow.call import Call
from proxy.shadow.comparison.write_rehearsal import WriteRehearsal
from proxy.shadow.convergence.converger import Converger, Direction
from proxy.shadow.journal.haste import RETRY_SECONDS
from proxy.shadow.journal.journal import Journal
from proxy.shadow.verdict_record import VerdictRecord
from proxy.stores.circuit_breaker import CircuitBreaker
from proxy.stores.errors import Unreachable
from proxy.stores.table_registry import Table
from proxy.verdicts import Verdict
from tests.unit.shadow_stores import MemoryStore

SCHEMA = TableSchema("t", "id", None, {"id": "S"}, {})
TABLE = Table(SCHEMA, DocumentMapping(SCHEMA))
KEY = Key("t", '{"id":{"S":"a"}}')
OTHER = Key("other", '{"id":{"S":"a"}}')
ITEM = {"id": {"S": "a"}, "n": {"N": "1"}}
LONG = 60.0


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    opened = Journal(tmp_path / "journal.sqlite")
    opened.open({"dynamodb": 0.0, "dsql": 0.0})
    yield opened
    opened.close()


async def failed(journal: Journal, key: Key) -> None:
    """A key whose convergence has failed, to be tried again in an hour."""
    await journal.enqueue([key])
    journal.retry_later(await journal.next(), 3600.0)


async def test_what_waits_for_another_try_is_tried_at_once(journal: Journal) -> None:
    await failed(journal, KEY)
    await failed(journal, OTHER)
    journal.hasten("t")
    async with asyncio.timeout(LONG):
        claim = await journal.next()
        assert claim.key == KEY
        journal.retry_later(claim, 3600.0)  # and fails again
        claim = await journal.next()
    assert claim.key == KEY
    journal.relax("t")
    journal.retry_later(claim, 3600.0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(RETRY_SECONDS * 4):
            await journal.next()


async def test_a_parked_key_is_not_tried(journal: Journal) -> None:
    await journal.enqueue([KEY])
    journal.park(await journal.next(), "it does not fit")
    journal.hasten("t")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(RETRY_SECONDS * 4):
            await journal.next()


async def test_a_pause_ends_when_clients_begin_to_wait(journal: Journal) -> None:
    haste = journal.haste
    assert not await haste.pause("t", 0.01)
    pausing = asyncio.create_task(haste.pause("t", LONG * 10))
    await asyncio.sleep(0)
    haste.begin("other")
    await asyncio.sleep(0)
    assert not pausing.done()
    haste.begin("t")
    async with asyncio.timeout(LONG):
        assert await pausing


# --- a rehearsal ------------------------------------------------------------------------------------------------------


@dataclass
class Asked:
    """Other processes, who answer when the test says so: that they wrote nothing."""

    can_ask: bool = True
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    async def recently_written(self, keys: Sequence[Key], seconds: float, /) -> frozenset[Key] | None:
        self.asked.set()
        if not self.can_ask:
            return None
        await self.answers.wait()
        return frozenset()


class Place:
    """A rehearsal over two stores in memory, whose mirror answers and leaves nothing where the authority wrote."""

    def __init__(self, journal: Journal, peers: Asked) -> None:
        self.journal = journal
        self.authority, self.mirror = MemoryStore("dynamodb"), MemoryStore("dsql")
        self.authority.items[KEY] = ITEM
        self.verdicts: list[VerdictRecord] = []
        self._direction = Direction(self.authority, self.mirror, CircuitBreaker(10, 5.0))

        async def find(_: str) -> Table | None:
            return TABLE

        converger = Converger(journal, self, Metrics(), {"dynamodb": 0.0, "dsql": 0.0}, find)
        self.rehearsal = WriteRehearsal(journal, self.authority, self.mirror, converger, self, peers)

    def direction_of(self, _: Key) -> Direction:
        return self._direction

    def breakers(self) -> tuple[CircuitBreaker, ...]:
        return (self._direction.breaker,)

    def record(self, record: VerdictRecord, /) -> None:
        self.verdicts.append(record)

    async def put(self) -> None:
        """A PutItem that the authority has answered."""
        request: dict[str, Any] = {"TableName": "t", "Item": ITEM}
        operation = decode("PutItem", orjson.dumps(request), request, {"t": SCHEMA})
        entry = await self.journal.enter([KEY])
        await self.rehearsal.rehearse(Call(operation, {"t": TABLE}, "", "r"), entry, Outcome.of({}))


async def test_a_key_converges_before_another_process_is_asked_about_it(journal: Journal) -> None:
    """It answers within a second, and a flip would hold every client's writes for as long."""
    peers = Asked()
    place = Place(journal, peers)
    rehearsing = asyncio.create_task(place.put())
    async with asyncio.timeout(LONG):
        await peers.asked.wait()
        assert place.mirror.items == place.authority.items
        assert not journal.holds(KEY)
        peers.answers.set()
        await rehearsing
    assert [each.verdict for each in place.verdicts] == [Verdict.MISMATCH]


async def test_what_another_write_explains_is_no_mismatch(journal: Journal) -> None:
    """One that enters after the mirror was asked, and before both stores have been looked at."""
    peers = Asked()
    peers.answers.set()
    place = Place(journal, peers)

    async def before(_: str) -> None:
        place.authority.before = None
        await journal.enqueue([KEY])

    place.authority.before = before
    await place.put()
    assert [each.verdict for each in place.verdicts] == [Verdict.RACING]


async def test_where_nobody_can_be_asked_nothing_is_watched_while_clients_wait(journal: Journal) -> None:
    peers = Asked(can_ask=False)
    place = Place(journal, peers)
    rehearsing = asyncio.create_task(place.put())
    async with asyncio.timeout(LONG):
        await peers.asked.wait()
        journal.hasten("t")
        await rehearsing
    assert [each.verdict for each in place.verdicts] == [Verdict.RACING]
    assert place.mirror.items == place.authority.items


async def test_nothing_is_rehearsed_while_clients_wait(journal: Journal) -> None:
    peers = Asked()
    peers.answers.set()
    place = Place(journal, peers)
    journal.hasten("t")
    await place.put()
    assert "execute" not in place.mirror.calls
    assert [each.verdict for each in place.verdicts] == [Verdict.RACING]
    assert place.mirror.items == place.authority.items


async def test_a_mirror_that_fails_is_asked_again_soon_while_clients_wait(journal: Journal) -> None:
    place = Place(journal, Asked())
    fails = 3

    async def before(_: str) -> None:
        nonlocal fails
        if fails:
            fails -= 1
            raise Unreachable("occ")

    place.mirror.before = before
    journal.hasten("t")
    await place.put()
    converger = place.rehearsal._converger
    async with asyncio.timeout(LONG):
        while journal.holds(KEY):
            await converger.converge_next()
    assert place.mirror.items == place.authority.items
