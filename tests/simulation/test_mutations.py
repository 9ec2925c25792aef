"""Takes out, one at a time, each step that the design depends on, and has the simulation find it.

What is taken out is put back by monkeypatch. A step that can be taken out unnoticed is either not needed or not tested.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from proxy.app import compose_routes
from proxy.dynamodb.item_writes import items_equal
from proxy.dynamodb.schema import Key
from proxy.shadow.comparison import read_comparison as reading
from proxy.shadow.comparison.peers import Peers
from proxy.shadow.journal.entries import ClaimedKey, JournalEntry
from proxy.shadow.journal.group_commit import GroupCommit
from proxy.shadow.journal.journal import Journal
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stores.interface import Store, StoredItem, Unrepresentable
from tests.simulation.process import Silence
from tests.simulation.story import tell
from tests.simulation.world import simulate

Patch = pytest.MonkeyPatch


def no_reading_after_the_write(patch: Patch) -> None:
    """The authority is read once: what is written to the mirror is not held against what the authority holds then."""

    async def converge(key: Key, authority: Store, mirror: Store) -> int:
        wanted = (await authority.get(key)).item
        held: StoredItem | None = await mirror.get(key)
        while held is not None:
            image, faults = mirror.image(key, wanted)
            if items_equal(image, held.item) and (image is not None or wanted is None):
                return 0
            if image is None and wanted is not None:
                raise Unrepresentable(key, faults)
            if await mirror.put(key, wanted, held) is not None:
                return 1
            held = await mirror.get(key)
        raise AssertionError

    patch.setattr(compose_routes, "converge", converge)


def entry_after_the_write(patch: Patch) -> None:
    """The keys come into the file some time after the authority was asked, not before."""

    def later(self: GroupCommit) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        loop.call_later(0.3, self.flush)
        done: asyncio.Future[None] = loop.create_future()
        done.set_result(None)
        return done

    patch.setattr(GroupCommit, "schedule", later)


def any_generation_clears(patch: Patch) -> None:
    """Finishing an earlier write clears a later one's entry."""
    done = Journal.mark_converged

    def careless(self: Journal, work: ClaimedKey) -> float | None:
        return done(self, ClaimedKey(work.key, self._active[work.key].generation))

    patch.setattr(Journal, "mark_converged", careless)


def verdict_at_the_first_look(patch: Patch) -> None:
    """What differs at first is a mismatch."""
    patch.setattr(reading, "RECHECK_SECONDS", ())


def eventual_reading_of_the_authority(patch: Patch) -> None:
    """Converge reads what the authority may have held a moment ago."""

    async def get(self: DynamoDBStore, key: Key) -> StoredItem:
        document = await self.ask("GetItem", {"TableName": key.table, "Key": key.attributes})
        return StoredItem(document.get("Item"))

    patch.setattr(DynamoDBStore, "get", get)


def nothing_settles(patch: Patch) -> None:
    """A key whose write may still land leaves when it has converged once."""
    opened = Journal.open

    def open_at_once(self: Journal, lingering: Mapping[str, float]) -> int:
        return opened(self, dict.fromkeys(lingering, 0.0))

    patch.setattr(Journal, "mark_unsettled", lambda self, keys, seconds, store: None)
    patch.setattr(Journal, "open", open_at_once)


def overlapping_writes_are_compared(patch: Patch) -> None:
    """Writes to one key that overlap are rehearsed and judged as if each were alone."""
    entered = Journal.enter

    async def enter(self: Journal, keys: list[Key]) -> JournalEntry:
        entry = await entered(self, keys)
        return replace(entry, overlapped=frozenset())

    patch.setattr(Journal, "enter", enter)
    patch.setattr(Journal, "has_later_write", lambda self, entry: False)


def others_are_not_asked(patch: Patch) -> None:
    """A process calls a mismatch what another process's write has left."""

    async def touched(self: Peers, *_: object) -> bool:
        return False

    patch.setattr(Peers, "recently_written", touched)


def no_guard(patch: Patch) -> None:
    """A write to the mirror takes effect whatever the row has become: see `guarded` below."""


@pytest.mark.parametrize(
    ("take_out", "most"),
    [
        (no_reading_after_the_write, 400),
        (entry_after_the_write, 400),
        (any_generation_clears, 400),
        (verdict_at_the_first_look, 400),
        (eventual_reading_of_the_authority, 400),
        (no_guard, 400),
        (nothing_settles, 400),
        (overlapping_writes_are_compared, 400),
        (others_are_not_asked, 400),
    ],
)
def test_finds(
    take_out: Callable[[Patch], None], most: int, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    take_out(monkeypatch)
    with Silence() as silence:
        for seed in range(most):
            report = simulate(tell(seed), silence, guarded=take_out is not no_guard)
            if report.violated is not None:
                with capsys.disabled():
                    print(f"\n{take_out.__name__}: seed {seed} finds {report.violated.splitlines()[0]}", end="")
                return
    pytest.fail(f"{take_out.__name__}: none of {most} seeds found anything")
