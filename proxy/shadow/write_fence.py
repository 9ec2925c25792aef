"""The write fence of this process: it holds the writes of a scope while the scope's stage is moved.

A flip asks it to hold new writes, to report what is still to drain (writes in flight, keys in the journal), to adopt
the new stages, and to release the held writes. It knows nothing of other processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from proxy.cutover.flip.fencing import DrainStatus
from proxy.cutover.stages import DSQL, DYNAMODB, Scope, Stage, StageMap, Stages
from proxy.dynamodb.schema import Key
from proxy.shadow.journal.journal import Journal
from proxy.stores.errors import Unreachable
from proxy.stores.table_registry import Tables

# A flip drains some tens of keys. Of a journal that holds more than this, it is enough to know that it is not empty.
_MAX_COUNTED: Final = 1000


@dataclass(frozen=True, slots=True, eq=False)
class InFlightWrite:
    """A write between its beginning and its end."""

    scopes: tuple[tuple[str, str], ...]
    """The (table, item type) pairs that it writes; empty if it was not decoded and may write any."""
    generation: int
    """The generation of the stages that it began under."""


class WriteFence:
    """The fence between the writes of this process and the moves of stages."""

    def __init__(
        self,
        stages: Stages,
        journal: Journal,
        tables: Tables,
        *,
        hold_seconds: float,
        can_mirror: bool,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """
        A write is held for at most `hold_seconds`. `can_mirror`: whether this process has a second store at all.
        `on_change` is called after new stages have been adopted.
        """
        self._stages = stages
        self._journal = journal
        self._tables = tables
        self._hold_seconds = hold_seconds
        self._can_mirror = can_mirror
        self._on_change = on_change
        self._held: Scope | None = None
        self._held_since = float("-inf")
        self._released = asyncio.Event()
        self._generation = 0
        self._in_flight: set[InFlightWrite] = set()

    # -- for the layer ------------------------------------------------------------------------------------------------

    def holds(self, scopes: Iterable[tuple[str, str]]) -> bool:
        """Return whether a write to these (table, item type) pairs has to wait."""
        held = self._held
        return held is not None and any(self._stages.covers(held, *each) for each in scopes)

    async def wait(self) -> None:
        """Wait until held writes may go on. Raises Unreachable if that takes too long: nothing has been done then."""
        try:
            async with asyncio.timeout(self._hold_seconds):
                await self._released.wait()
        except TimeoutError:
            raise Unreachable("held", "writes are held while a stage is moved") from None

    def begin(self, scopes: tuple[tuple[str, str], ...]) -> InFlightWrite:
        """Note that a write begins under the present stages. The caller must call `end`, whatever becomes of the
        write."""
        write = InFlightWrite(scopes, self._generation)
        self._in_flight.add(write)
        return write

    def end(self, write: InFlightWrite) -> None:
        """Note that a write has ended."""
        self._in_flight.remove(write)

    async def nominate(self, keys: Sequence[Key]) -> None:
        """Enqueue keys that were found to disagree, except those whose writes are held: a scope that has drained must
        stay empty."""
        free = [key for key in keys if not self.holds([(key.table, self._tables.type_of(key))])]
        if free:
            await self._journal.enqueue(free)

    # -- for a flip ---------------------------------------------------------------------------------------------------

    def hold(self, scope: Scope) -> None:
        """Hold new writes in the scope from now on."""
        if self._held is None:
            self._released.clear()
            # What failed is tried again at once. What only settles converges once more: a write of an unknown outcome
            # may have become visible meanwhile.
            self._held_since = self._journal.hasten(scope.table)
        self._held = scope

    def release(self) -> None:
        """Let held writes go on, under the present stages."""
        if self._held is not None:
            self._journal.relax(self._held.table)
        self._held = None
        self._held_since = float("-inf")
        self._released.set()

    @property
    def held(self) -> bool:
        """Whether any writes are held."""
        return self._held is not None

    def drain(self, scope: Scope, authority: str | None = None) -> DrainStatus:
        """Return what is still to drain before the scope can flip to `authority` (None: to either store).

        1. A write of an unknown outcome may land on the coming authority: it would land on the truth. Nothing but time
           helps.
        2. It may land on the store that becomes the mirror: it is repaired there like anything else, once nothing can
           land any more. That must not hold up the way back.
        3. But readers may have seen it already. So its key has to have converged since writes are held.
        """
        writers = sum(self._covers(scope, write) for write in self._in_flight)
        keys = parked = 0
        for key, is_parked in self._journal.keys_of(scope.table, _MAX_COUNTED):
            if self._stages.covers(scope, key.table, self._tables.type_of(key, unknown=scope.item_type)):
                converged = authority is not None and self._journal.converged_since(key, self._held_since)
                keys += not is_parked and not converged
                parked += is_parked
        if self._journal.degraded:
            keys += 1  # nobody can say what a file holds that cannot be read
        stores = (DYNAMODB, DSQL) if authority is None else (authority,)
        lingering = max(self._journal.lingering(scope.table, store) for store in stores)
        return DrainStatus(writers, keys, lingering, parked)

    def adopt(self, new: StageMap) -> None:
        """Adopt new stages. Reads go to the new authority at once."""
        if new.epoch == self._stages.map.epoch:
            return
        self._generation += 1
        self._stages.adopt(new)
        self._on_change()

    def began_before(self, scope: Scope) -> int:
        """Return how many writes in the scope are in flight that began under earlier stages."""
        return sum(write.generation != self._generation and self._covers(scope, write) for write in self._in_flight)

    @property
    def clean(self) -> bool:
        """Whether this process owes nothing: it has no key in its journal and no write in flight."""
        return not self._in_flight and not self._journal.busy and self._journal.empty

    def problem(self, scope: Scope, to: Stage) -> str | None:
        """Return why this process cannot take part in moving a scope to a stage; None if it can."""
        if to is not Stage.OFF and not self._can_mirror:
            return "it has no DSQL: set dsn or endpoint in [dsql]"
        if not scope.item_type:
            return None
        table = self._tables.known(scope.table)
        if table is not None and scope.item_type not in table.rules:
            return f"its mapping of {scope.table} declares no type {scope.item_type!r}"
        if table is not None and not table.mapping.tells_type(table.schema.key_names):
            return f"the keys of {scope.table} do not determine the type of an item: move the whole table"
        return None

    def _covers(self, scope: Scope, write: InFlightWrite) -> bool:
        """Return whether a write may be in the scope: one that was not decoded may be in any."""
        return not write.scopes or any(self._stages.covers(scope, *each) for each in write.scopes)
