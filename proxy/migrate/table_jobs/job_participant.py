"""A command's part in moving stages: it writes to a mirror, and must never write to what has become the truth.

A command has a lease in the stage table as a proxy has (`shadow.participant`), under a name that it keeps when it is
started again. What it writes, it writes in *units*: keys that are written and then looked at. A unit begins only under
a valid lease, while no flip of its table is under way, and while the authority is the one that it works for; a flip
that is announced meanwhile waits for its end. Whoever dies within a unit owes, and no flip passes over it. So a command
needs no journal: what a unit leaves behind when it is cut off is known to whoever starts the command again, or to a
sweep (docs/decisions/081-commands-take-part-in-flips.md). Where stages are pinned there is nothing to take part in.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog

from proxy.cutover.flip.fencing import DrainStatus
from proxy.cutover.flip.participant import Participant
from proxy.cutover.stages import Scope, Stage, StageMap
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.interface import Fault
from proxy.migrate.table_jobs.table_authority import AuthorityMovedError, TableAuthority
from proxy.shadow.convergence.converge import converge
from proxy.stores.errors import Refused, StoreError, Unreachable
from proxy.stores.interface import ExecutionResult, Store, StoredItem, Unrepresentable
from proxy.stores.table_registry import Table

log = structlog.get_logger(__name__)

_PATIENCE_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.02
_TIDY_SECONDS: Final = 0.1
# What is left to be looked at again has a flip wait, if only for a moment.
_MOMENT: Final = 0.05

Enlist = Callable[["JobParticipant"], Participant | None]


class JobParticipant:
    """One command at work on one table, for one authority. `enlist` makes its participant, None where stages are
    pinned; `left` says that what an earlier life left behind is still to be looked at (until `settled`). `mirror` is
    written to only while that is allowed."""

    def __init__(
        self,
        table: Table,
        standing: TableAuthority,
        authority: Store,
        mirror: Store,
        enlist: Enlist,
        *,
        left: bool = False,
    ) -> None:
        self.authority = authority
        self.mirror: Store = FencedStore(mirror, lambda key: self.check(table.mapping.type_of(key.attributes)))
        self._table = table.name
        self._table_authority = standing
        self._participant = enlist(self)
        self._units = self._keys = 0
        self._unsettled: dict[str, float] = {}
        self._unrecovered = left
        self._no_flip_before = float("-inf")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[JobParticipant]:
        """Until the end of the block it has a lease. Raises StoreError where none can be had."""
        tasks = [asyncio.create_task(self._converge_unsettled())]
        try:
            if self._participant is not None:
                await self._participant.join()
                tasks.append(asyncio.create_task(self._participant.run()))
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            if self._participant is not None:
                await self._participant.leave()

    # -- what the command asks ----------------------------------------------------------------------------------------

    @property
    def inherits_unfinished_unit(self) -> bool:
        """Whether an earlier life under this name may have been cut off within a unit."""
        return self._participant is not None and self._participant.lease.owing

    def mark_recovered(self) -> None:
        """What an earlier life has left has been looked at."""
        self._unrecovered = False

    def refuse_flips_for(self, seconds: float) -> None:
        """No flip for so long: a write of an earlier life may take effect yet."""
        self._no_flip_before = time.monotonic() + seconds

    @asynccontextmanager
    async def write_unit(self, keys: int, *, last: bool = False) -> AsyncIterator[None]:
        """Keys are written to the mirror and looked at again, all within the block.

        `last`: it is the end of earlier units, and a flip that has been announced waits for it. Raises Moved where the
        authority is another one now; Unreachable where there is no lease for a minute; Refused where another process
        does the same work.
        """
        await self._wait_for_turn(last=last)
        self._units += 1
        self._keys += keys
        try:
            yield
        except AuthorityMovedError:
            # Whoever moved it while this process owed has said that it was gone, and has swept (stage forget).
            raise
        except BaseException:
            self._unrecovered = self._unrecovered or not last
            raise
        finally:
            self._units -= 1
            self._keys -= keys

    def check(self, item_type: str | None = None) -> None:
        """Before each write: raises Moved where the authority for the type (None: for any) is another one now,
        Unreachable where that cannot be told for want of a lease."""
        if self._participant is None:
            return
        if not self._participant.lease.valid:
            raise Unreachable("lease", "the lease in the stage table has run out: is DynamoDB out of reach?")
        self._table_authority.expect(self.authority.name, item_type)

    def is_responsible_for(self, item_type: str) -> bool:
        """Whether its authority is the one for this type: of a table whose types have different ones, it writes those
        that it is right for."""
        return self._participant is None or self._table_authority.authority_of(item_type) == self.authority.name

    def unsettle(self, key: str, seconds: float) -> None:
        """A write to this key may take effect yet, for so long: it converges once more after that."""
        self._unsettled[key] = time.monotonic() + seconds

    def is_unsettled(self, key: str) -> bool:
        return key in self._unsettled

    async def wait_until_settled(self, stop: Callable[[], bool]) -> None:
        """Until no key is unsettled, or it is to stop. Raises Unreachable where one has not converged a minute after it
        could."""
        while self._unsettled and not stop():
            if time.monotonic() > min(self._unsettled.values()) + _PATIENCE_SECONDS:
                raise Unreachable("unsettled", "a key whose outcome was unknown does not converge")
            await asyncio.sleep(_TIDY_SECONDS)

    # -- inside -------------------------------------------------------------------------------------------------------

    async def _wait_for_turn(self, *, last: bool) -> None:
        if self._participant is None:
            return
        lease = self._participant.lease
        until = time.monotonic() + _PATIENCE_SECONDS
        while True:
            if lease.valid:
                with contextlib.suppress(Unreachable):
                    await lease.owe()
            if self._participant.replaced:
                raise Refused("superseded", "another process has taken over this work: let only one run it")
            # From here to the return nothing awaits: what is seen is so when the unit begins.
            waits = self._must_wait_for_flip(last=last)
            if lease.valid and lease.owing and not waits:
                if self.authority.name not in self._table_authority.authorities:
                    raise AuthorityMovedError(self._table, self._table_authority.authorities)
                return
            if waits and lease.valid:
                until = time.monotonic() + _PATIENCE_SECONDS
            elif time.monotonic() > until:
                raise Unreachable("lease", self._participant.problem or "there is no lease in the stage table")
            await asyncio.sleep(_LOOK_SECONDS)

    def _must_wait_for_flip(self, *, last: bool) -> bool:
        """Whether a flip of the table is under way that a unit has to wait for."""
        flip = self._participant.flip if self._participant is not None else None
        if flip is None or not flip.moves_authority or flip.scope.table != self._table:
            return False
        return flip.holds_writes or not last

    async def _converge_unsettled(self) -> None:
        """Converge once more what may have been written to unseen, when nothing can linger any longer."""
        while True:
            due = [key for key, at in self._unsettled.items() if at <= time.monotonic()]
            for key in due:
                at = self._unsettled[key]
                try:
                    async with self.write_unit(1, last=True):
                        await converge(Key(self._table, key), self.authority, self.mirror)
                except Unrepresentable:
                    pass  # the mirror cannot hold it, and has been told of already
                except StoreError as error:
                    log.info("not_settled_yet", reason=error.reason)
                    continue
                if self._unsettled.get(key) == at:
                    del self._unsettled[key]
            await asyncio.sleep(_TIDY_SECONDS)

    # -- what a move asks (`shadow.participant.Held`) -----------------------------------------------------------------

    def hold(self, scope: Scope) -> None:
        """Nothing begins while a move is under way: see `_turn`."""

    def release(self) -> None:
        """As `hold`."""

    def drain(self, scope: Scope, authority: str | None = None) -> DrainStatus:  # noqa: ARG002
        if scope.table != self._table:
            return DrainStatus(0, 0, 0.0, 0)
        until = max(self._unsettled.values(), default=self._no_flip_before)
        least = _MOMENT if self._unsettled or self._unrecovered else 0.0
        return DrainStatus(self._units, self._keys, max(least, until - time.monotonic()), 0)

    def adopt(self, new: StageMap) -> None:
        self._table_authority.adopt(new)

    def began_before(self, scope: Scope) -> int:  # noqa: ARG002
        return 0  # what it does is the same in every stage of one authority

    def problem(self, scope: Scope, to: Stage) -> str | None:  # noqa: ARG002
        return None

    @property
    def clean(self) -> bool:
        return not (self._units or self._unsettled or self._unrecovered or time.monotonic() < self._no_flip_before)


class FencedStore:
    """A store that is written to only while that is allowed. `check` is told the key, and raises StoreError."""

    def __init__(self, store: Store, check: Callable[[Key], None]) -> None:
        self._store = store
        self._check = check
        self.name = store.name

    async def execute(self, operation: Operation) -> ExecutionResult:
        return await self._store.execute(operation)

    async def get(self, key: Key) -> StoredItem:
        return await self._store.get(key)

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None:
        self._check(key)
        return await self._store.put(key, wanted, held)

    def image(self, key: Key, item: Item | None, /) -> tuple[Item | None, tuple[Fault, ...]]:
        return self._store.image(key, item)
