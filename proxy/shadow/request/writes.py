"""A write: its keys enter the journal, the authority executes it, and the client is answered if this process may still
say so. Behind the answer it is rehearsed, and its keys converge.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proxy.background_tasks import BackgroundTasks
from proxy.cutover.flip.fencing import ServingLease
from proxy.cutover.stages import DYNAMODB, Stages
from proxy.dynamodb.operations import WRITES
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key
from proxy.metrics.histogram import clock
from proxy.metrics.registry import Metrics
from proxy.shadow.call import Call
from proxy.shadow.convergence.converger import Converger
from proxy.shadow.instrumentation import Passthrough
from proxy.shadow.journal.journal import Journal
from proxy.shadow.request.admission import AdmissionControl
from proxy.shadow.request.authority import answer, failure
from proxy.shadow.request.fan_out import fan_out
from proxy.shadow.request.placement import placement_of
from proxy.shadow.request.routing import Route, Routes
from proxy.shadow.write_fence import WriteFence
from proxy.stores.errors import StoreError, UnknownOutcome, Unreachable

LEASE_OVER: Final = "this proxy cannot tell which store is the authority: it has lost touch with the stage table"


class Writes:
    """Carries out writes. Rehearsals run in `behind`, where `room` has it."""

    def __init__(
        self,
        stages: Stages,
        ways: Routes,
        journal: Journal,
        floor: WriteFence,
        lease: ServingLease,
        converger: Converger,
        dynamodb: Passthrough,
        behind: BackgroundTasks,
        room: AdmissionControl,
        metrics: Metrics,
    ) -> None:
        self._stages = stages
        self._ways = ways
        self._journal = journal
        self._floor = floor
        self._lease = lease
        self._converger = converger
        self._dynamodb = dynamodb
        self._behind = behind
        self._room = room
        self._metrics = metrics

    async def write(self, call: Call) -> Outcome:
        lease = self._lease
        while True:
            if not lease.valid:
                raise Unreachable("lease", LEASE_OVER)
            # No await between what is read here and the entry on the floor: stages may be moved at any other time.
            placement = placement_of(self._stages, call)
            keys = placement.mirrored_keys
            if keys and not lease.owing:
                await lease.owe()
            elif self._floor.holds(placement.scopes):
                self._metrics.cutover.held()
                since = clock()
                try:
                    await self._floor.wait()
                finally:
                    self._metrics.cutover.held_for(clock() - since)
            else:
                break
        authority = placement.authority
        if authority is None:
            return await fan_out(placement, call, self.write)
        entry, term = self._floor.begin(tuple(placement.scopes)), lease.term
        try:
            way = self._ways.with_authority(authority)
            outcome = await (
                self._mirrored(way, call, keys, compared=placement.compared) if keys else answer(way, call)
            )
            if not lease.holds(term):
                # The other store may be the authority by now, and what this one took be undone: not acknowledged.
                raise UnknownOutcome("lease", LEASE_OVER)
            return outcome
        finally:
            self._floor.end(entry)

    async def _mirrored(self, way: Route, call: Call, keys: list[Key], *, compared: bool) -> Outcome:
        operation = call.operation
        authority = way.direction.authority
        ticket = await self._journal.enter(keys)
        try:
            outcome = (await authority.execute(operation)).outcome
        except UnknownOutcome as error:
            # Sent, and no answer: it may take effect until the authority's settle time is over.
            self._converger.linger(keys, authority.name)
            self._journal.release(ticket)
            if authority.name == DYNAMODB:
                raise
            return failure(way, call, error)
        except StoreError as error:
            self._journal.release(ticket)
            if authority.name == DYNAMODB:
                raise
            return failure(way, call, error)
        except BaseException:
            self._converger.linger(keys, authority.name)
            self._journal.release(ticket)
            raise
        if outcome.status >= 500:
            self._converger.linger(keys, authority.name)
        if compared and self._room.admit(way.direction.breaker) and not way.rehearsal.repeated(call):
            self._behind.start(way.rehearsal.rehearse(call, ticket, outcome))
        else:
            self._journal.release(ticket)
        return outcome

    async def past_the_mirror(self, action: str, body: bytes, tables: Iterable[str] = ()) -> Outcome:
        """DynamoDB alone: nothing in these tables is mirrored, or (without any) nothing can be decoded."""
        if action not in WRITES:
            return await self._dynamodb.call(action, body)
        # A move of one table must not wait for the writes of others, nor hold them.
        writes = tuple((table, "") for table in tables)
        if self._floor.holds(writes) or (self._floor.held and not writes):
            self._metrics.cutover.held()
            raise Unreachable("held", "writes are held while a stage is moved")
        entry, term = self._floor.begin(writes), self._lease.term
        try:
            outcome = await self._dynamodb.call(action, body)
            if not self._lease.holds(term):
                raise UnknownOutcome("lease", LEASE_OVER)
            return outcome
        finally:
            self._floor.end(entry)
