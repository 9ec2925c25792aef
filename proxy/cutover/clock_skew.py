"""The margin for clocks that run at different rates: it is added to leases, heartbeat timeouts and settle times."""

from __future__ import annotations


def clock_skew_margin(seconds: float) -> float:
    """The margin, in seconds, to add to a duration that another machine's clock measures."""
    return 0.2 * seconds + 0.5
