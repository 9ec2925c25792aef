"""Where writes stand in this process while a stage is moved: held, under way, or done.

A flip asks it to hold the writes of a scope, to say when those under way have ended and all keys have converged, to
adopt the new stages, and to let the held writes go on. It knows nothing of other processes.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from proxy.shadow.journal import Journal
from proxy.shadow.stages import Scope, Stage, StageMap, Stages
from proxy.shadow.tables import Tables
from proxy.stores.failures import Unreachable

# A flip drains some tens of keys; of a journal that holds more than this, it is enough to know that it is not empty.
_COUNTED: Final = 1000


@dataclass(frozen=True, slots=True)
class Drain:
    """What still stands between a scope and its flip: writes under way, keys that have not converged (parked ones
    apart), and for how many seconds something may yet land on the coming authority."""

    writers: int
    keys: int
    lingering_seconds: float
    parked: int

    @property
    def done(self) -> bool:
        return not (self.writers or self.keys or self.lingering_seconds)


class Leased(Protocol):
    """Whether this process may serve at all: what it knows of the stages may be out of date."""

    @property
    def valid(self) -> bool: ...

    @property
    def owing(self) -> bool:
        """Whether it is known to the others that this process may owe keys."""

    async def owe(self) -> None:
        """Before a write that will stand in the journal: it is known to the others that this process may owe keys.
        Raises Unreachable."""


class Unleased:
    """Stages that nobody can move: there is nothing to be out of date, and nobody to tell."""

    valid = True
    owing = True

    async def owe(self) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Entry:
    """A write under way: the types that it writes, and the number of the stages that it began under."""

    writes: tuple[tuple[str, str], ...]
    under: int


class Floor:
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
        self._under = 0
        self._writers: Counter[tuple[str, str]] = Counter()
        self._began: Counter[int] = Counter()

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

    def begin(self, writes: tuple[tuple[str, str], ...]) -> Entry:
        """A write begins, under the stages as they are; end it with `end`, whatever becomes of it."""
        entry = Entry(writes, self._under)
        self._writers.update(writes)
        self._began[self._under] += 1
        return entry

    def end(self, entry: Entry) -> None:
        for each in entry.writes:
            self._writers[each] -= 1
            if not self._writers[each]:
                del self._writers[each]
        self._began[entry.under] -= 1
        if not self._began[entry.under]:
            del self._began[entry.under]

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

    def drain(self, scope: Scope, coming: str) -> Drain:
        """What stands between the scope and its flip. `coming` is the store that is to be the authority."""
        writers = sum(n for each, n in self._writers.items() if self._stages.covers(scope, *each))
        keys = parked = 0
        table = self._tables.known(scope.table)
        for key, is_parked in self._journal.keys_of(scope.table, _COUNTED):
            # Of a table that has not been met, or a type that a key does not tell, any key may be in the scope.
            of_type = table.mapping.type_of(key.attributes) if table is not None else scope.item_type
            if self._stages.covers(scope, key.table, of_type):
                keys += not is_parked
                parked += is_parked
        if self._journal.degraded:
            keys += 1  # what stands in a file that cannot be read, nobody can say
        return Drain(writers, keys, self._journal.lingering(scope.table, coming), parked)

    def adopt(self, new: StageMap) -> None:
        """These are the stages now. Reads go to the new authority at once."""
        if new.epoch == self._stages.map.epoch:
            return
        self._under += 1
        self._stages.adopt(new)
        self._changed()

    def began_before(self) -> int:
        """Writes under way that began under earlier stages than those of now."""
        return sum(n for under, n in self._began.items() if under != self._under)

    @property
    def clean(self) -> bool:
        """Whether this process owes nothing: no key in its journal, no write under way."""
        return not self._writers and not self._journal.busy and self._journal.empty

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
