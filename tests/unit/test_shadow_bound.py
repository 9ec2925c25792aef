"""The bound of a rate, against the binomial distribution added up term by term."""

from fractions import Fraction
from math import comb

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.cutover.gate.binomial_bound import DOUBT, upper_bound

COUNTS = st.integers(1, 120).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n)))


def at_most(hits: int, trials: int, rate: Fraction) -> Fraction:
    """P(X <= hits), exactly."""
    return sum(
        (comb(trials, k) * rate**k * (1 - rate) ** (trials - k) for k in range(hits + 1)),
        start=Fraction(0),
    )


@given(COUNTS)
@example((0, 1))
@example((119, 120))
@example((5, 1000))
@example((50, 1000))
@settings(deadline=None, max_examples=60)
def test_at_the_bound_so_few_hits_are_seen_once_in_twenty_times(counts: tuple[int, int]) -> None:
    hits, trials = counts
    bound = upper_bound(hits, trials)
    assert float(at_most(hits, trials, Fraction(bound))) == pytest.approx(DOUBT, rel=1e-6)


@pytest.mark.parametrize("trials", [1, 10, 100, 2995, 1_000_000])
def test_no_hits_are_the_rule_of_three(trials: int) -> None:
    bound = upper_bound(0, trials)
    assert bound == pytest.approx(1 - DOUBT ** (1 / trials), rel=1e-9)
    assert bound < 3 / trials


@given(st.integers(0, 10_000_000), st.integers(0, 10_000_000))
@settings(max_examples=200)
def test_it_grows_with_the_hits_and_falls_with_the_trials(hits: int, more: int) -> None:
    trials = hits + more
    bound = upper_bound(hits, trials)
    assert 0 < bound <= 1
    assert bound >= (hits / trials if trials else 0)
    assert upper_bound(hits + 1, trials) >= bound
    assert upper_bound(hits, trials + 1) <= bound


def test_nothing_tried_leaves_everything_open() -> None:
    assert upper_bound(0, 0) == 1.0
    assert upper_bound(3, 3) == 1.0
