"""Writes: the keys enter the journal, the authority executes the write, and the client is answered if this process may
still acknowledge it. Behind the answer the write is rehearsed, and its keys converge.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from proxy.cutover.flip.fencing import ServingLease
from proxy.cutover.stages import DYNAMODB, Stages
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key
from proxy.metrics.histogram import clock
from proxy.metrics.registry import Metrics
from proxy.shadow.call import Call, wrote_nothing
from proxy.shadow.convergence.converger import Converger
from proxy.shadow.journal.journal import Journal
from proxy.shadow.request.admission import AdmissionControl
from proxy.shadow.request.authority import ask_authority, failure_outcome
from proxy.shadow.request.fan_out import fan_out
from proxy.shadow.request.placement import placement_of
from proxy.shadow.request.routing import Route
from proxy.shadow.write_fence import WriteFence
from proxy.stores.errors import StoreError, UnknownOutcome, Unreachable

LEASE_EXPIRED: Final = "this proxy does not know which store is the authority: it has lost contact with the stage table"


class Writes:
    """The path of writes. Rehearsals run behind the answer if `admission` admits them."""

    def __init__(
        self,
        stages: Stages,
        routes: Mapping[str, Route],
        journal: Journal,
        fence: WriteFence,
        lease: ServingLease,
        converger: Converger,
        admission: AdmissionControl,
        metrics: Metrics,
    ) -> None:
        self._stages = stages
        self._routes = routes
        self._journal = journal
        self._fence = fence
        self._lease = lease
        self._converger = converger
        self._admission = admission
        self._metrics = metrics

    async def write(self, call: Call) -> Outcome:
        """Execute a write and return the authority's outcome.

        Raises StoreError: Unreachable if nothing was written, UnknownOutcome if nobody knows or this process may no
        longer acknowledge it, and what DynamoDB raises where it is the authority.
        """
        lease = self._lease
        while True:
            if not lease.valid:
                raise Unreachable("lease", LEASE_EXPIRED)
            # No await between here and `begin` at the fence: at any await the stages may be moved.
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
            route = self._routes[authority]
            if keys:
                outcome = await self._write_mirrored(
                    route, call, keys, compared=placement.compared and not call.internal
                )
            else:
                outcome = await ask_authority(route, call)
            if not lease.holds(term):
                # The other store may be the authority by now, and this write may be undone: do not acknowledge it.
                raise UnknownOutcome("lease", LEASE_EXPIRED)
            return outcome
        finally:
            self._fence.end(in_flight)

    async def _write_mirrored(self, route: Route, call: Call, keys: list[Key], *, compared: bool) -> Outcome:
        operation = call.operation
        authority = route.direction.authority
        entry = await self._journal.enter(keys)
        try:
            outcome = (await authority.execute(operation)).outcome
        except UnknownOutcome as error:
            # It was sent and not answered: it may take effect until the authority's settle time is over.
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
            self._admission.start(route.rehearsal.rehearse(call, entry, outcome))
        elif wrote_nothing(call, authority.name, outcome):
            self._journal.withdraw(entry)
        else:
            self._journal.release(entry)
        return outcome
