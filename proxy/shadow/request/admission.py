"""Admission control for comparisons: at the limit, new ones are shed, and counted. Nothing else is ever shed.

Comparisons are the only work that the proxy can do without, so they are shed before they cost memory or delay clients.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from proxy.background_tasks import BackgroundTasks
from proxy.metrics.registry import Metrics
from proxy.shadow.request.loop_lag import LoopLag
from proxy.shadow.write_fence import WriteFence
from proxy.stores.circuit_breaker import CircuitBreaker


class AdmissionControl:
    """The admission of comparisons to the work behind the answer."""

    def __init__(self, background: BackgroundTasks, fence: WriteFence, lag: LoopLag, metrics: Metrics) -> None:
        self._background = background
        self._fence = fence
        self._lag = lag
        self._metrics = metrics

    def admit(self, breaker: CircuitBreaker) -> bool:
        """Return whether a comparison may run, and count it as shed if not: call this once for each comparison.

        `breaker` is the one in front of the mirror that would be read or written.
        """
        reason = self._reason(breaker)
        if reason is not None:
            self._metrics.comparison.shed(reason)
        return reason is None

    def start(self, comparison: Coroutine[Any, Any, None]) -> None:
        """Run a comparison that was admitted, behind the answer."""
        self._background.start(comparison)

    def _reason(self, breaker: CircuitBreaker) -> str | None:
        if breaker.is_open:
            return "breaker"
        if not self._background.has_capacity:
            return "queue"
        if self._fence.held:
            # A comparison nominates the keys that disagree, but a scope that has drained for a flip must stay empty.
            return "flip"
        return "lag" if self._lag.is_lagging() else None
