"""What clocks of different machines may disagree by. Leases, silence and settle times are judged with this margin."""

from __future__ import annotations


def clock_skew_margin(seconds: float) -> float:
    """The margin, in seconds, to add to a time that is measured by another machine's clock."""
    return 0.2 * seconds + 0.5
