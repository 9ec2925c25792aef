"""A read: the authority answers, and where the stage compares, the mirror reads at the same time and the two are
compared behind the answer. On the ramp it is the mirror that serves.
"""

from __future__ import annotations

import asyncio
from typing import Final

from proxy.background_tasks import BackgroundTasks
from proxy.cutover.stages import DSQL, Stages
from proxy.dynamodb.errors import validation
from proxy.dynamodb.outcome import Outcome
from proxy.metrics.registry import Metrics
from proxy.shadow.call import Call
from proxy.shadow.journal.journal import Journal
from proxy.shadow.request import cursor_origin as cursors
from proxy.shadow.request import ramp
from proxy.shadow.request.admission import AdmissionControl
from proxy.shadow.request.authority import ask_authority
from proxy.shadow.request.fan_out import fan_out
from proxy.shadow.request.placement import Placement, placement_of
from proxy.shadow.request.routing import Route, Routes
from proxy.stores.errors import StoreError

_FOREIGN_CURSOR: Final = "The provided starting key is invalid: it is of a store that this table has left; begin again"


class Reads:
    """Carries out reads. Comparisons run in `behind`, where `room` has it."""

    def __init__(
        self,
        stages: Stages,
        routes: Routes,
        journal: Journal,
        background: BackgroundTasks,
        admission: AdmissionControl,
        metrics: Metrics,
    ) -> None:
        self._stages = stages
        self._routes = routes
        self._journal = journal
        self._background = background
        self._admission = admission
        self._metrics = metrics

    async def read(self, call: Call) -> Outcome:
        placement = placement_of(self._stages, call)
        authority = placement.authority
        if authority is None:
            return await fan_out(placement, call, self.read)
        if not cursors.ordered_by_store(call.operation):
            return (await self._read_from(authority, call, placement))[1]
        begun = cursors.issuer_of(call.operation)
        if begun is not None:
            if begun != authority and not all(stage.mirrored for stage in placement.stages):
                # The store that began it is not kept true any more: better told than shown half of the items.
                return Outcome.failed(validation(_FOREIGN_CURSOR))
            authority, call = begun, cursors.without_origin(call)
        served, outcome = await self._read_from(authority, call, placement, begun=begun is not None)
        return cursors.with_origin(outcome) if served == DSQL else outcome

    async def _read_from(
        self, authority: str, call: Call, placement: Placement, *, begun: bool = False
    ) -> tuple[str, Outcome]:
        """The outcome, and the name of the store that gave it."""
        route = self._routes.with_authority(authority)
        percent = 0.0 if begun else placement.ramp_percent
        if ramp.is_ramped(call.operation, percent) and not any(map(self._journal.holds, placement.keys)):
            return await self._ramped(route, call)
        if not placement.compared or not self._admission.admit(route.direction.breaker):
            return authority, await ask_authority(route, call)
        answered: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()
        self._background.start(route.comparison.compare(call, answered))
        try:
            outcome = await ask_authority(route, call)
        except BaseException:
            if not answered.done():
                answered.set_result(None)
            raise
        if not answered.done():
            answered.set_result(outcome)
        return authority, outcome

    async def _ramped(self, route: Route, call: Call) -> tuple[str, Outcome]:
        """DSQL serves, and DynamoDB where it does not: it failed, it was too slow, or (what was to be strongly
        consistent) it did not agree."""
        begun = route.comparison.start()
        answered: Outcome | None = None
        try:
            if ramp.is_strongly_consistent(call.operation):
                answered, executed = await asyncio.gather(
                    ask_authority(route, call), route.mirror.execute(call.operation)
                )
            else:
                executed = await route.mirror.execute(call.operation)
        except StoreError as error:
            self._metrics.comparison.ramped(error.reason)
            return route.direction.authority.name, await ask_authority(route, call)
        served = executed.outcome
        if self._admission.admit(route.direction.breaker):
            self._background.start(route.comparison.compare_served(call, served, answered, begun))
        if answered is not None and (answered.status, answered.document) != (served.status, served.document):
            self._metrics.comparison.ramped("differs")
            return route.direction.authority.name, answered
        self._metrics.comparison.ramped("served")
        return route.mirror.name, served
