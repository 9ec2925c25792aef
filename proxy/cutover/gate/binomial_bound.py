"""The upper confidence bound of a rate, at 95 %. Pure arithmetic.

Clopper and Pearson's exact bound ("The use of confidence or fiducial limits illustrated in the case of the binomial",
1934), one-sided: the rate at which so few hits in so many trials would be seen only once in twenty times. For no hits
it is 1 - 0.05^(1/n), which is just below 3/n.
"""

from __future__ import annotations

import math
from typing import Final

DOUBT: Final = 0.05
_ROUNDS: Final = 200
_TINY: Final = 1e-300
_CLOSE: Final = 1e-15


def upper_bound(hits: int, trials: int, doubt: float = DOUBT) -> float:
    """The highest rate from 0 to 1 that `hits` of `trials` leaves open; 1.0 where nothing was tried.

    Never below hits / trials, grows with the hits, falls with the trials.
    """
    if hits >= trials:
        return 1.0
    if hits <= 0:
        return -math.expm1(math.log(doubt) / trials)
    low, high = hits / trials, 1.0
    for _ in range(_ROUNDS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        # P(X <= hits) at the rate `middle` is the incomplete beta function of its complement.
        if _beta(trials - hits, hits + 1, 1.0 - middle) > doubt:
            low = middle
        else:
            high = middle
    return high


def _beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function, by its continued fraction (Abramowitz and Stegun, 26.5.8)."""
    if x <= 0.0:
        return 0.0
    if x >= 1.0:
        return 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _beta(b, a, 1.0 - x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x) - math.log(a)
    )
    return front * _fraction(a, b, x)


def _fraction(a: float, b: float, x: float) -> float:
    """Lentz's method: evaluates a continued fraction from the front."""
    c, d = 1.0, 1.0 / _kept(1.0 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        d, c = 1.0 / _kept(1.0 + even * d), _kept(1.0 + even / c)
        value *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d, c = 1.0 / _kept(1.0 + odd * d), _kept(1.0 + odd / c)
        value *= d * c
        if abs(d * c - 1.0) < _CLOSE:
            break
    return value


def _kept(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
