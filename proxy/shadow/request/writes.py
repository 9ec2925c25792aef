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
from proxy.shadow.request.authority import ask_authority, failure_outcome
from proxy.shadow.request.fan_out import fan_out
from proxy.shadow.request.placement import placement_of
from proxy.shadow.request.routing import Route, Routes
from proxy.shadow.write_fence import WriteFence
from proxy.stores.errors import StoreError, UnknownOutcome, Unreachable

LEASE_EXPIRED: Final = "this proxy cannot tell which store is the authority: it has lost touch with the stage table"


class Writes:
    """Carries out writes. Rehearsals run in `behind`, where `room` has it."""

    def __init__(
        self,
        stages: Stages,
        routes: Routes,
        journal: Journal,
        fence: WriteFence,
        lease: ServingLease,
        converger: Converger,
        dynamodb: Passthrough,
        background: BackgroundTasks,
        admission: AdmissionControl,
        metrics: Metrics,
    ) -> None:
        self._stages = stages
        self._routes = routes
        self._journal = journal
        self._fence = fence
        self._lease = lease
        self._converger = converger
        self._dynamodb = dynamodb
        self._background = background
        self._admission = admission
        self._metrics = metrics

    async def write(self, call: Call) -> Outcome:
        lease = self._lease
        while True:
            if not lease.valid:
                raise Unreachable("lease", LEASE_EXPIRED)
            # No await between what is read here and the entry on the floor: stages may be moved at any other time.
            placement = placement_of(self._stages, call)
            keys = placement.mirrored_keys
            if keys and not lease.owing:
                await lease.owe()
            elif self._fence.holds(placement.scopes):
                self._metrics.cutover.held()
                since = clock()
                try:
                    await self._fence.wait()
                finally:
                    self._metrics.cutover.held_for(clock() - since)
            else:
                break
        authority = placement.authority
        if authority is None:
            return await fan_out(placement, call, self.write)
        in_flight, term = self._fence.begin(tuple(placement.scopes)), lease.term
        try:
            route = self._routes.with_authority(authority)
            outcome = await (
                self._mirrored(route, call, keys, compared=placement.compared) if keys else ask_authority(route, call)
            )
            if not lease.holds(term):
                # The other store may be the authority by now, and what this one took be undone: not acknowledged.
                raise UnknownOutcome("lease", LEASE_EXPIRED)
            return outcome
        finally:
            self._fence.end(in_flight)

    async def _mirrored(self, route: Route, call: Call, keys: list[Key], *, compared: bool) -> Outcome:
        operation = call.operation
        authority = route.direction.authority
        entry = await self._journal.enter(keys)
        try:
            outcome = (await authority.execute(operation)).outcome
        except UnknownOutcome as error:
            # Sent, and no answer: it may take effect until the authority's settle time is over.
            self._converger.mark_unsettled(keys, authority.name)
            self._journal.release(entry)
            if authority.name == DYNAMODB:
                raise
            return failure_outcome(route, call, error)
        except StoreError as error:
            self._journal.release(entry)
            if authority.name == DYNAMODB:
                raise
            return failure_outcome(route, call, error)
        except BaseException:
            self._converger.mark_unsettled(keys, authority.name)
            self._journal.release(entry)
            raise
        if outcome.status >= 500:
            self._converger.mark_unsettled(keys, authority.name)
        if compared and self._admission.admit(route.direction.breaker) and not route.rehearsal.is_repeat(call):
            self._background.start(route.rehearsal.rehearse(call, entry, outcome))
        else:
            self._journal.release(entry)
        return outcome

    async def bypass_mirror(self, action: str, body: bytes, tables: Iterable[str] = ()) -> Outcome:
        """DynamoDB alone: nothing in these tables is mirrored, or (without any) nothing can be decoded."""
        if action not in WRITES:
            return await self._dynamodb.call(action, body)
        # A move of one table must not wait for the writes of others, nor hold them.
        writes = tuple((table, "") for table in tables)
        if self._fence.holds(writes) or (self._fence.held and not writes):
            self._metrics.cutover.held()
            raise Unreachable("held", "writes are held while a stage is moved")
        in_flight, term = self._fence.begin(writes), self._lease.term
        try:
            outcome = await self._dynamodb.call(action, body)
            if not self._lease.holds(term):
                raise UnknownOutcome("lease", LEASE_EXPIRED)
            return outcome
        finally:
            self._fence.end(in_flight)
