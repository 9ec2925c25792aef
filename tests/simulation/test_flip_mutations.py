"""Takes out, one at a time, each step that the flip depends on, and has the simulation find it.

What is taken out is put back by monkeypatch. `tests/simulation/flip_model.py` does the same to the protocol itself, and
to what takes a rarer accident to be missed: a lease that was lost and taken again while a write was under way, and
one who comes while writes are held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

import pytest

from proxy.cutover.flip import coordinator
from proxy.cutover.flip import protocol as flip
from proxy.cutover.flip.active_move import ActiveMove
from proxy.cutover.flip.fencing import DrainStatus
from proxy.cutover.flip.lease import Lease
from proxy.cutover.flip.participant import Participant
from proxy.cutover.flip.protocol import Flip, ObservedLease, Phase, VoteStatus
from proxy.cutover.gate import forgotten_writes as unswept
from proxy.cutover.gate.basis import Basis
from proxy.cutover.stage_table import StageRow, StageTable
from tests.simulation.flip_story import Kind, tell_near
from tests.simulation.flip_world import simulate
from tests.simulation.process import Silence

Patch = pytest.MonkeyPatch
_MOST: Final = 150


def no_lease_is_asked_for(patch: Patch) -> None:
    """A process serves and acknowledges whether it has a lease or not."""
    patch.setattr(Lease, "valid", property(lambda self: True))
    patch.setattr(Lease, "holds", lambda self, term: True)


def a_lease_that_is_over_is_enough(patch: Patch) -> None:
    """THE RULE: one that owes and is gone is passed over all the same."""
    standing = flip.vote_status

    def careless(of: Flip, seen: ObservedLease) -> VoteStatus:
        found = standing(of, seen)
        return VoteStatus.PASSED_OVER if found is VoteStatus.BLOCKS else found

    _stand(patch, careless)


def nobody_waits_for_switched(patch: Patch) -> None:
    """Writes go on as soon as the map is new, while others still read the old authority."""
    standing = flip.vote_status

    def careless(of: Flip, seen: ObservedLease) -> VoteStatus:
        return VoteStatus.VOTED if of.phase is Phase.SWITCHED else standing(of, seen)

    _stand(patch, careless)


def nobody_drains(patch: Patch) -> None:
    """Keys that have not converged are no reason to wait."""
    patch.setattr(DrainStatus, "done", property(lambda self: not self.writers))


def nobody_says_that_he_owes(patch: Patch) -> None:
    """A process writes without having said that its journal may hold keys."""
    patch.setattr(Lease, "owing", property(lambda self: True, lambda self, owing: None), raising=False)
    patch.setattr(Participant, "_owes", lambda self, now: False)


def the_lease_counts_before_the_state_is_read(patch: Patch) -> None:
    """A lease is taken by one who does not know what has changed while he had none. (Its item is left in the table
    meanwhile: one who finds it gone looks at the state before he takes another.)"""

    async def leave_them(self: ActiveMove) -> None:
        return None

    patch.setattr(ActiveMove, "delete_expired_leases", leave_them)
    renew = Participant._renew

    async def careless(self: Participant) -> None:
        await renew(self)
        self.lease.extend(self._valid_until)

    patch.setattr(Participant, "_renew", careless)


def the_state_is_written_whatever_it_is(patch: Patch) -> None:
    """A state that was decided on another is written all the same."""
    write = StageTable.write_state

    async def careless(self: StageTable, new: StageRow, *, entry: Mapping[str, Any] | None = None) -> bool:
        put = {"TableName": self.name, "Item": self._state_item(new)}
        if new.flip is not None or entry is None:
            return await self._put(put)
        return await write(self, new, entry=entry)

    patch.setattr(StageTable, "write_state", careless)


def a_forgotten_process_needs_no_sweep(patch: Patch) -> None:
    """What a lost process owed is forgotten with it."""
    patch.setattr(unswept, "missing_sweep_reason", lambda *_: None)


def a_sweep_of_another_era_counts(patch: Patch) -> None:
    """What was written while the table stood in `off` is nobody's business."""
    patch.setattr(Basis, "in_era", lambda *_: True)


def no_era_ends_in_off(patch: Patch) -> None:
    """A move through `off` is a move as any other."""
    patch.setattr(coordinator, "ended_by_move", lambda *_: ())


def _stand(patch: Patch, careless: Callable[[Flip, ObservedLease], VoteStatus]) -> None:
    patch.setattr(flip, "vote_status", careless)


@pytest.mark.parametrize(
    ("take_out", "kind"),
    [
        (no_lease_is_asked_for, "sleeper"),
        (the_lease_counts_before_the_state_is_read, "sleeper"),
        (a_lease_that_is_over_is_enough, "dead"),
        (nobody_says_that_he_owes, "dead"),
        (nobody_drains, "busy"),
        (nobody_waits_for_switched, "slow"),
        (the_state_is_written_whatever_it_is, "late"),
        (a_forgotten_process_needs_no_sweep, "lost"),
        (a_forgotten_process_needs_no_sweep, "off"),
        (a_sweep_of_another_era_counts, "off"),
        (a_sweep_of_another_era_counts, "lost"),
        (no_era_ends_in_off, "off"),
    ],
)
def test_finds(
    take_out: Callable[[Patch], None], kind: Kind, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    take_out(monkeypatch)
    with Silence() as silence:
        for seed in range(_MOST):
            report = simulate(tell_near(seed, kind), silence)
            if report.violated is not None:
                with capsys.disabled():
                    print(f"\n{take_out.__name__}: seed {seed} finds {report.violated.splitlines()[0][:120]}", end="")
                return
    pytest.fail(f"{take_out.__name__}: none of {_MOST} seeds found anything")


@pytest.mark.parametrize("kind", get_args(Kind))
def test_finds_nothing_where_nothing_is_taken_out(kind: Kind) -> None:
    with Silence() as silence:
        for seed in range(4):
            report = simulate(tell_near(seed, kind), silence)
            assert report.violated is None, str(report)
