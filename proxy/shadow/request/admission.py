"""Whether there is room for one more comparison. What is left out is counted, and nothing else is ever left out.

Comparisons are the only work that can be done without: they are shed before memory or the event loop pays for them.
"""

from __future__ import annotations

from proxy.background_tasks import BackgroundTasks
from proxy.metrics.registry import Metrics
from proxy.shadow.request.loop_lag import LoopLag
from proxy.shadow.write_fence import WriteFence
from proxy.stores.circuit_breaker import CircuitBreaker


class AdmissionControl:
    """Ask `for_one_more` before each comparison, and once only: it counts."""

    def __init__(self, background: BackgroundTasks, fence: WriteFence, lag: LoopLag, metrics: Metrics) -> None:
        self._background = background
        self._fence = fence
        self._lag = lag
        self._metrics = metrics

    def admit(self, breaker: CircuitBreaker) -> bool:
        """`breaker` stands before the mirror that would be asked."""
        reason = self._reason(breaker)
        if reason is not None:
            self._metrics.comparison.shed(reason)
        return reason is None

    def _reason(self, breaker: CircuitBreaker) -> str | None:
        if breaker.is_open:
            return "breaker"
        if not self._background.has_capacity:
            return "queue"
        if self._fence.held:
            # What a comparison finds it nominates, and what is drained for a flip must stay so.
            return "flip"
        return "lag" if self._lag.is_lagging() else None
