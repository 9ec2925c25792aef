"""Automatic demotion: sets the ramp to 0 when the evidence speaks against DSQL, if `gate.demote` allows it.

Every process checks; the first one to notice makes the move, and the others find it made. Reads then come from DynamoDB
alone, as if an operator had set the ramp to 0. It never raises a ramp, and moves no stage.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from proxy.cutover.gate.requirements import demotion
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.service import CutoverService
from proxy.cutover.stages import Stage
from proxy.problems import Problem
from proxy.settings.gate import GateSettings
from proxy.stores.errors import StoreError

log = structlog.get_logger(__name__)

LOOK_SECONDS: Final = 5.0
BY: Final = "crossfade, by itself"


class AutoDemotion:
    """Watches the ramps of all scopes. Run `watch` in a loop."""

    def __init__(self, cutover: CutoverService, settings: GateSettings, every: float = LOOK_SECONDS) -> None:
        self._cutover = cutover
        self._settings = settings
        self._every = every

    async def watch(self) -> None:
        """Check once, and wait until the next check is due."""
        try:
            await self._look()
        except (Problem, StoreError) as error:
            log.info("ramp_not_taken_back", why=str(error))
        await asyncio.sleep(self._every)

    async def _look(self) -> None:
        snapshot = await self._cutover.snapshot()
        for at in snapshot.overview.scopes:
            if not at.has_own_stage or at.ramp <= 0:
                continue
            why = demotion(snapshot.evidence, at.scope, at.placement, self._settings, snapshot.now)
            if why is None:
                continue
            log.warning("ramp_taken_back", scope=str(at.scope), ramp=at.ramp, why=why)
            request = MoveRequest(
                at.scope, Stage.SHADOW, BY, ramp=0.0, because=why[:500], epoch=snapshot.overview.epoch
            )
            async for _ in self._cutover.carry_out(await self._cutover.prepare(request)):
                pass
