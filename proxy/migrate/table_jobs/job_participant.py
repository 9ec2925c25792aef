"""A command's part in flips: the command writes to a mirror, and must never write to a store that became the authority.

Like a proxy, a command holds a lease in the stage table (`cutover.flip.participant`), under a name that it keeps when
it is started again. It writes in *units*: a unit is a set of keys that are written and then read again. A unit begins
only under a valid lease, while no flip of the table is under way, and while the authority is the one that the command
works for. A flip that is announced during a unit waits for the end of the unit. A command that dies within a unit owes
keys, and no flip passes over it. A command therefore needs no journal: whoever starts it again, or a sweep, finds what
an interrupted unit left behind (docs/decisions/081-commands-take-part-in-flips.md). Where stages are pinned, there is
no flip to take part in.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import structlog

from proxy.cutover.authority.watch import AuthorityWatch
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
_POLL_SECONDS: Final = 0.02
_UNSETTLED_POLL_SECONDS: Final = 0.1
# Keys that still have to be read again hold up a flip, if only for a moment.
_LEAST_WAIT_SECONDS: Final = 0.05

Enlist = Callable[["JobParticipant"], Participant | None]


class JobParticipant:
    """A command at work on one table, for one authority.

    `enlist` makes the command's participant; it returns None where stages are pinned. `unrecovered` says that an
    earlier run may have left keys that nobody has read again; `mark_recovered` ends that. `mirror` refuses writes while
    the command may not write.
    """

    def __init__(
        self,
        table: Table,
        table_authority: TableAuthority,
        authority: Store,
        mirror: Store,
        enlist: Enlist,
        *,
        unrecovered: bool = False,
        watch: AuthorityWatch | None = None,
    ) -> None:
        """`watch` is over DSQL's record of the authority; None where nothing is recorded."""
        self.authority = authority
        self.mirror: Store = FencedStore(mirror, lambda key: self.check(table.mapping.type_of(key.attributes)))
        self._table = table.name
        self._table_authority = table_authority
        self._participant = enlist(self)
        self._watch = watch
        self._units = self._keys = 0
        self._unsettled: dict[str, float] = {}
        self._unrecovered = unrecovered
        self._no_flip_before = float("-inf")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[JobParticipant]:
        """Hold a lease until the end of the block, and read DSQL's record of the authority first.

        Raises StoreError if no lease can be obtained, and Refused if the record contradicts the command.
        """
        tasks = [asyncio.create_task(self._converge_unsettled())]
        try:
            if self._participant is not None:
                await self._participant.join()
                tasks.append(asyncio.create_task(self._participant.run()))
            if self._watch is not None:
                await self._watch.look()
                tasks.append(asyncio.create_task(self._watched(self._watch)))
                self._refuse_contradiction()
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            if self._participant is not None:
                await self._participant.leave()

    # -- for the command ----------------------------------------------------------------------------------------------

    @property
    def inherits_unfinished_unit(self) -> bool:
        """Whether an earlier run under this name may have been interrupted within a unit."""
        return self._participant is not None and self._participant.lease.owing

    def mark_recovered(self) -> None:
        """Every key that an earlier run left behind has been read again."""
        self._unrecovered = False

    def refuse_flips_for(self, seconds: float) -> None:
        """Hold up flips for `seconds`: a write of an earlier run may still take effect."""
        self._no_flip_before = time.monotonic() + seconds

    @asynccontextmanager
    async def write_unit(self, keys: int, *, last: bool = False) -> AsyncIterator[None]:
        """A unit: within the block, `keys` keys are written to the mirror and read again.

        `last` says that the block finishes earlier units, so that an announced flip waits for it.

        Raises AuthorityMovedError if the authority is no longer the one that the command works for, Unreachable if
        there is no lease for a minute, and Refused if another process does the same work.
        """
        await self._wait_for_turn(last=last)
        self._units += 1
        self._keys += keys
        try:
            yield
        except AuthorityMovedError:
            # Only an operator who declared this process gone, and swept, could move it (stage forget).
            raise
        except BaseException:
            self._unrecovered = self._unrecovered or not last
            raise
        finally:
            self._units -= 1
            self._keys -= keys

    def check(self, item_type: str | None = None) -> None:
        """Check, before each write, that the command may write. `item_type` None means every type.

        Raises AuthorityMovedError if the authority for the type is another one now, Unreachable if the lease has run
        out, or DSQL's record could not be read for too long, so that nobody can tell, and Refused if the record
        contradicts the command.
        """
        if self._watch is not None and not self._watch.may_mirror(self._table):
            self._refuse_contradiction()
            raise Unreachable("authority", self._unread())
        if self._participant is None:
            return
        if not self._participant.lease.valid:
            raise Unreachable("lease", "the lease in the stage table has run out: is DynamoDB out of reach?")
        self._table_authority.expect(self.authority.name, item_type)

    def is_responsible_for(self, item_type: str) -> bool:
        """Whether the command's authority is the authority for this type.

        The types of a table may have different authorities; the command writes only the types that share its own.
        """
        return self._participant is None or self._table_authority.authority_of(item_type) == self.authority.name

    def unsettle(self, key: str, seconds: float) -> None:
        """Record that a write to this key may take effect for another `seconds`; the key converges again after that."""
        self._unsettled[key] = time.monotonic() + seconds

    def is_unsettled(self, key: str) -> bool:
        return key in self._unsettled

    async def wait_until_settled(self, stop: Callable[[], bool]) -> None:
        """Wait until no key is unsettled, or until `stop` says so.

        Raises Unreachable if a key has not converged within a minute of being able to.
        """
        while self._unsettled and not stop():
            if time.monotonic() > min(self._unsettled.values()) + _PATIENCE_SECONDS:
                raise Unreachable("unsettled", "a key whose outcome was unknown does not converge")
            await asyncio.sleep(_UNSETTLED_POLL_SECONDS)

    # -- inside -------------------------------------------------------------------------------------------------------

    async def _wait_for_turn(self, *, last: bool) -> None:
        await self._wait_for_record()
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
            # Nothing awaits from here to the return, so what is read here still holds when the unit begins.
            waits = self._must_wait_for_flip(last=last)
            if lease.valid and lease.owing and not waits:
                if self.authority.name not in self._table_authority.authorities:
                    raise AuthorityMovedError(self._table, self._table_authority.authorities)
                return
            if waits and lease.valid:
                until = time.monotonic() + _PATIENCE_SECONDS
            elif time.monotonic() > until:
                raise Unreachable("lease", self._participant.problem or "there is no lease in the stage table")
            await asyncio.sleep(_POLL_SECONDS)

    async def _wait_for_record(self) -> None:
        """Return when DSQL's record allows writes to the mirror; at once, as a rule."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while self._watch is not None and not self._watch.may_mirror(self._table):
            self._refuse_contradiction()
            if time.monotonic() > until:
                raise Unreachable("authority", self._unread())
            await asyncio.sleep(_POLL_SECONDS)

    def _refuse_contradiction(self) -> None:
        against = self._watch.contradiction(self._table) if self._watch is not None else None
        if against:
            raise Refused("authority", against)

    def _unread(self) -> str:
        problems = self._watch.problems() if self._watch is not None else []
        return "; ".join(problems) or "DSQL's record of the authority (crossfade_authority) cannot be read"

    @staticmethod
    async def _watched(watch: AuthorityWatch) -> None:
        while True:
            await watch.watch()

    def _must_wait_for_flip(self, *, last: bool) -> bool:
        """Whether a flip of the table is under way that a unit must wait for."""
        flip = self._participant.flip if self._participant is not None else None
        if flip is None or not flip.moves_authority or flip.scope.table != self._table:
            return False
        return flip.holds_writes or not last

    async def _converge_unsettled(self) -> None:
        """Converge each unsettled key once more when its last write can no longer take effect."""
        while True:
            due = [key for key, at in self._unsettled.items() if at <= time.monotonic()]
            for key in due:
                at = self._unsettled[key]
                try:
                    async with self.write_unit(1, last=True):
                        await converge(Key(self._table, key), self.authority, self.mirror)
                except Unrepresentable:
                    pass  # the mirror cannot hold the item; that was reported when the key was first converged
                except StoreError as error:
                    log.info("not_settled_yet", reason=error.reason)
                    continue
                if self._unsettled.get(key) == at:
                    del self._unsettled[key]
            await asyncio.sleep(_UNSETTLED_POLL_SECONDS)

    # -- for a flip (`cutover.flip.fencing.FenceControl`)
    # ---------------------------------------------------------------

    def hold(self, scope: Scope) -> None:
        """Nothing to do: `_wait_for_turn` begins no unit while a flip is under way."""

    def release(self) -> None:
        """Nothing to do, as in `hold`."""

    def drain(self, scope: Scope, authority: str | None = None) -> DrainStatus:  # noqa: ARG002
        if scope.table != self._table:
            return DrainStatus(0, 0, 0.0, 0)
        until = max(self._unsettled.values(), default=self._no_flip_before)
        least = _LEAST_WAIT_SECONDS if self._unsettled or self._unrecovered else 0.0
        return DrainStatus(self._units, self._keys, max(least, until - time.monotonic()), 0)

    def adopt(self, new: StageMap) -> None:
        self._table_authority.adopt(new)

    def began_before(self, scope: Scope) -> int:  # noqa: ARG002
        return 0  # a unit does the same work in every stage that has the same authority

    def problem(self, scope: Scope, to: Stage) -> str | None:  # noqa: ARG002
        return None

    @property
    def clean(self) -> bool:
        return not (self._units or self._unsettled or self._unrecovered or time.monotonic() < self._no_flip_before)


class FencedStore:
    """A store that refuses writes that the command may not make: `check` gets the key, and raises StoreError."""

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
