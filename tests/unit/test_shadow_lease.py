"""A lease: by whose clock, from when, and what it is worth after it was lost."""

import asyncio

import pytest

from proxy.cutover.flip.clocks import boottime
from proxy.cutover.flip.lease import Lease
from proxy.stores.errors import Unreachable


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def leased(clock: Clock, until: float) -> Lease:
    lease = Lease(clock)
    lease.renewal_sent(until, owes=False)
    lease.renewal_stored(owes=False)
    lease.extend(until)
    return lease


def test_it_lasts_until_the_time_it_was_taken_for() -> None:
    clock = Clock()
    lease = leased(clock, 110.0)
    term = lease.term
    clock.now = 109.9
    assert lease.holds(term)
    clock.now = 110.0
    assert not lease.valid
    assert not lease.holds(term)


def test_extended_in_time_it_is_the_same_lease() -> None:
    clock = Clock()
    lease = leased(clock, 110.0)
    term = lease.term
    clock.now = 109.0
    lease.renewal_sent(119.0, owes=False)
    lease.extend(119.0)
    assert lease.holds(term)


def test_lost_and_taken_again_it_is_another() -> None:
    clock = Clock()
    lease = leased(clock, 110.0)
    term = lease.term
    clock.now = 111.0
    lease.renewal_sent(121.0, owes=False)
    lease.extend(121.0)
    assert lease.valid
    assert not lease.holds(term)
    assert lease.holds(lease.term)


def test_lost_while_the_renewal_was_on_its_way_it_is_another() -> None:
    clock = Clock()
    lease = leased(clock, 110.0)
    term = lease.term
    clock.now = 109.0
    lease.renewal_sent(119.0, owes=False)
    clock.now = 112.0
    lease.extend(119.0)
    assert lease.valid
    assert not lease.holds(term)


def test_a_shorter_renewal_counts_from_the_moment_it_is_sent() -> None:
    clock = Clock()
    lease = leased(clock, 110.0)
    lease.renewal_sent(100.5, owes=False)
    clock.now = 100.6
    # No answer came; but others may have read it, and taken this process for gone by now.
    assert not lease.valid


def test_ended_it_is_over_at_once() -> None:
    clock = Clock()
    lease = leased(clock, 110.0)
    term = lease.term
    lease.lose()
    assert not lease.valid
    lease.extend(120.0)
    assert not lease.holds(term)


async def test_from_the_moment_that_a_renewal_without_debts_is_sent_a_write_has_to_say_so_again() -> None:
    lease = Lease(Clock())
    lease.renewal_stored(owes=True)
    assert lease.owing
    lease.renewal_sent(120.0, owes=False)
    owing = asyncio.ensure_future(lease.owe())
    await asyncio.sleep(0)
    lease.renewal_stored(owes=False)
    await asyncio.sleep(0)
    assert not owing.done()
    assert lease.owe_requested
    assert lease.wake.is_set()
    lease.renewal_sent(121.0, owes=True)
    lease.renewal_stored(owes=True)
    await owing


async def test_who_cannot_say_it_does_not_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.cutover.flip.lease._OWE_SECONDS", 0.01)
    with pytest.raises(Unreachable):
        await Lease(Clock()).owe()


def test_the_machine_s_clock_goes_forward() -> None:
    before = boottime()
    assert before <= boottime()
