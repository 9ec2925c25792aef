"""Where writes stand in this process while a stage is moved: held, under way, or done.

A flip asks it to hold the writes of a scope, to say when those under way have ended and all keys have converged, to
adopt the new stages, and to let the held writes go on. It knows nothing of other processes.
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

# A flip drains some tens of keys; of a journal that holds more than this, it is enough to know that it is not empty.
_MAX_COUNTED: Final = 1000


@dataclass(frozen=True, slots=True, eq=False)
class InFlightWrite:
    """A write under way: the (table, type) pairs that it writes (none, where it was not decoded), and the number of the
    stages that it began under."""

    scopes: tuple[tuple[str, str], ...]
    generation: int


class WriteFence:
    """`hold_seconds` bounds how long a write is held; `can_mirror` says whether there is a second store at all."""

    def __init__(
        self,
        stages: Stages,
        journal: Journal,
        tables: Tables,
        *,
        hold_seconds: float,
        can_mirror: bool,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._stages = stages
        self._journal = journal
        self._tables = tables
        self._hold_seconds = hold_seconds
        self._can_mirror = can_mirror
        self._changed = changed
        self._held: Scope | None = None
        self._released = asyncio.Event()
        self._generation = 0
        self._entries: set[InFlightWrite] = set()

    # -- what the layer asks ------------------------------------------------------------------------------------------

    def holds(self, writes: Iterable[tuple[str, str]]) -> bool:
        """Whether a write to these (table, type) has to wait."""
        held = self._held
        return held is not None and any(self._stages.covers(held, *each) for each in writes)

    async def wait(self) -> None:
        """Until held writes may go on. Raises Unreachable when that takes too long: nothing has been done."""
        try:
            async with asyncio.timeout(self._hold_seconds):
                await self._released.wait()
        except TimeoutError:
            raise Unreachable("held", "writes are held while a stage is moved") from None

    def begin(self, writes: tuple[tuple[str, str], ...]) -> InFlightWrite:
        """A write begins, under the stages as they are; end it with `end`, whatever becomes of it."""
        entry = InFlightWrite(writes, self._generation)
        self._entries.add(entry)
        return entry

    def end(self, entry: InFlightWrite) -> None:
        self._entries.remove(entry)

    async def nominate(self, keys: Sequence[Key]) -> None:
        """Ask for the convergence of keys found to disagree; not of those whose writes are held, because what is
        drained must stay so."""
        free = [key for key in keys if not self.holds([(key.table, self._tables.type_of(key))])]
        if free:
            await self._journal.enqueue(free)

    # -- what a flip asks ---------------------------------------------------------------------------------------------

    def hold(self, scope: Scope) -> None:
        """From now on new writes in the scope wait."""
        if self._held is None:
            self._released.clear()
        self._held = scope

    def release(self) -> None:
        """Held writes go on, under the stages as they are now."""
        self._held = None
        self._released.set()

    @property
    def held(self) -> bool:
        """Whether any writes are held."""
        return self._held is not None

    def drain(self, scope: Scope) -> DrainStatus:
        """What stands between the scope and its flip."""
        writers = sum(self._covers(scope, entry) for entry in self._entries)
        keys = parked = 0
        for key, is_parked in self._journal.keys_of(scope.table, _MAX_COUNTED):
            if self._stages.covers(scope, key.table, self._tables.type_of(key, unknown=scope.item_type)):
                keys += not is_parked
                parked += is_parked
        if self._journal.degraded:
            keys += 1  # what stands in a file that cannot be read, nobody can say
        lingering = max(self._journal.lingering(scope.table, store) for store in (DYNAMODB, DSQL))
        return DrainStatus(writers, keys, lingering, parked)

    def adopt(self, new: StageMap) -> None:
        """These are the stages now. Reads go to the new authority at once."""
        if new.epoch == self._stages.map.epoch:
            return
        self._generation += 1
        self._stages.adopt(new)
        self._changed()

    def began_before(self, scope: Scope) -> int:
        """Writes in the scope that began under earlier stages than those of now, and are still under way."""
        return sum(entry.generation != self._generation and self._covers(scope, entry) for entry in self._entries)

    @property
    def clean(self) -> bool:
        """Whether this process owes nothing: no key in its journal, no write under way."""
        return not self._entries and not self._journal.busy and self._journal.empty

    def problem(self, scope: Scope, to: Stage) -> str | None:
        """Why this process cannot take part in moving a scope to a stage; None if it can."""
        if to is not Stage.OFF and not self._can_mirror:
            return "it has no DSQL: set dsn or endpoint in [dsql]"
        if not scope.item_type:
            return None
        table = self._tables.known(scope.table)
        if table is not None and scope.item_type not in table.rules:
            return f"its mapping of {scope.table} declares no type {scope.item_type!r}"
        if table is not None and not table.mapping.tells_type(table.schema.key_names):
            return f"the keys of {scope.table} do not tell the type of an item: move the whole table"
        return None

    def _covers(self, scope: Scope, entry: InFlightWrite) -> bool:
        """Whether an entry is in the scope: one that was not decoded may be in any."""
        return not entry.scopes or any(self._stages.covers(scope, *each) for each in entry.scopes)
