"""Reads: the authority answers. In a stage that compares, the mirror reads at the same time, and the answers are
compared behind the client's. On the ramp, the mirror serves the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from proxy.cutover.stages import Stages
from proxy.dynamodb.outcome import Outcome
from proxy.metrics.registry import Metrics
from proxy.shadow.call import Call
from proxy.shadow.cursors.digest import ordered_by_store
from proxy.shadow.cursors.issuers import CursorIssuers
from proxy.shadow.journal.journal import Journal
from proxy.shadow.request import ramp
from proxy.shadow.request.admission import AdmissionControl
from proxy.shadow.request.authority import ask_authority
from proxy.shadow.request.fan_out import fan_out
from proxy.shadow.request.placement import Placement, placement_of
from proxy.shadow.request.routing import Route
from proxy.stores.errors import StoreError

# With more keys than this in the journal, a table is behind: which of them a page may show is not worth finding out.
_MAX_WAITING: Final = 200


class Reads:
    """The path of reads. Comparisons run behind the answer if `admission` admits them."""

    def __init__(
        self,
        stages: Stages,
        routes: Mapping[str, Route],
        journal: Journal,
        admission: AdmissionControl,
        cursors: CursorIssuers,
        metrics: Metrics,
    ) -> None:
        self._stages = stages
        self._routes = routes
        self._journal = journal
        self._admission = admission
        self._cursors = cursors
        self._metrics = metrics

    async def read(self, call: Call) -> Outcome:
        """Execute a read and return the outcome for the client. Raises StoreError where DynamoDB, as the authority,
        does."""
        placement = placement_of(self._stages, call)
        authority = placement.authority
        if authority is None:
            return await fan_out(placement, call, self.read)
        if not ordered_by_store(call.operation):
            return (await self._read_from(authority, call, placement))[1]
        mirrored = all(stage.mirrored for stage in placement.stages)
        continued = call.operation.request.get("ExclusiveStartKey") is not None
        if continued and mirrored:
            ramped = ramp.is_ramped(call.operation, placement.ramp_percent)
            authority = await self._cursors.issuer_of(call, ramped=ramped) or authority
        served, outcome = await self._read_from(authority, call, placement, continued=continued)
        if mirrored:
            self._cursors.note_page(call, served, outcome)
        return outcome

    async def _read_from(
        self, authority: str, call: Call, placement: Placement, *, continued: bool = False
    ) -> tuple[str, Outcome]:
        """Read from an authority. Returns the name of the store that served the client, and the outcome.

        A page that is `continued` follows another one in that store's order, so the ramp does not apply.
        """
        route = self._routes[authority]
        percent = 0.0 if continued else placement.ramp_percent
        if ramp.is_ramped(call.operation, percent):
            if not self._is_unsettled(call, placement):
                return await self._ramped(route, call)
            self._metrics.comparison.ramped("unsettled")
        if not placement.compared or not self._admission.admit(route.direction.breaker):
            return authority, await ask_authority(route, call)
        answer: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self._admission.start(route.comparison.compare(call, answer))
        try:
            outcome = await ask_authority(route, call)
        except BaseException:
            if not answer.done():
                answer.set_result(None)
            raise
        if not answer.done():
            answer.set_result(outcome)
        return authority, outcome

    def _is_unsettled(self, call: Call, placement: Placement) -> bool:
        """Return whether DSQL may lack, or hold an older state of, something that the call asks for."""
        if placement.keys:
            return any(map(self._journal.holds, placement.keys))
        waiting = self._journal.keys_of(call.table.name, _MAX_WAITING)
        return len(waiting) >= _MAX_WAITING or any(ramp.may_show(call, key) for key, _ in waiting)

    async def _ramped(self, route: Route, call: Call) -> tuple[str, Outcome]:
        """Let the mirror serve the client, or the authority if the mirror fails or is too slow, or if it disagrees on a
        read that is to be strongly consistent."""
        started = route.comparison.start()
        answer: Outcome | None = None
        try:
            if ramp.is_strongly_consistent(call.operation):
                answer, executed = await asyncio.gather(
                    ask_authority(route, call), route.mirror.execute(call.operation)
                )
            else:
                executed = await route.mirror.execute(call.operation)
        except StoreError as error:
            self._metrics.comparison.ramped(error.reason)
            return route.direction.authority.name, await ask_authority(route, call)
        served = executed.outcome
        differs = answer is not None and (answer.status, answer.document) != (served.status, served.document)
        if self._admission.admit(route.direction.breaker):
            recorded = call.answered_with(answer) if answer is not None and differs else call
            self._admission.start(route.comparison.compare_served(recorded, served, answer, started))
        if answer is not None and differs:
            self._metrics.comparison.ramped("differs")
            return route.direction.authority.name, answer
        self._metrics.comparison.ramped("served")
        return route.mirror.name, served
