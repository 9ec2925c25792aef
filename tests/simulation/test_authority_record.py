"""The record of the authority through moves, deaths, sleeps and lost calls; and with each step left out in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from proxy.cutover.authority import watch
from proxy.cutover.authority.keeper import RecordKeeper
from proxy.cutover.authority.watch import AuthorityWatch
from proxy.cutover.flip import protocol
from tests.simulation.authority_scene import AuthorityWorld, DesertedWorld, RecordMemory
from tests.simulation.process import Silence

Patch = pytest.MonkeyPatch
_MOST: Final = 150


def nothing_is_recorded_before_the_commit(patch: Patch) -> None:
    """Processes vote, and say that DSQL has the move on record, though it has not."""

    async def nothing(*_: Any) -> bool:
        return False

    patch.setattr(AuthorityWatch, "has_recorded", lambda self, flip: True)
    patch.setattr(RecordKeeper, "_record_flip", nothing)


def a_vote_does_not_wait_for_the_record(patch: Patch) -> None:
    """As before; and the coordinator asks nobody, either."""
    patch.setattr(AuthorityWatch, "may_vote", lambda self, flip: True)
    patch.setattr(protocol, "is_recorded", lambda flip, seen: True)


def the_commit_is_not_recorded(patch: Patch) -> None:
    patch.setattr(RecordMemory, "finish", lambda *_: None)


def a_move_that_was_given_up_is_not_withdrawn(patch: Patch) -> None:
    patch.setattr(RecordMemory, "withdraw", lambda *_: None)


def whatever_has_ended_is_taken_for_done(patch: Patch) -> None:
    """A move that was given up is recorded as one that was committed."""
    patch.setattr(RecordMemory, "withdraw", lambda self, scope, move: self.finish(scope, move))


def a_move_ends_on_record_though_it_has_only_begun(patch: Patch) -> None:
    """The stage table is not read again before a move is called stale."""

    async def careless(self: RecordKeeper, moment: Any) -> Any:
        return moment

    patch.setattr(RecordKeeper, "_if_unchanged", careless)


def what_changed_in_between_is_a_contradiction(patch: Patch) -> None:
    """The stage table is not read again before a process is refused."""
    patch.setattr(watch, "alike", lambda *_: True)


def the_pulse_goes_to_the_stage_table_first(patch: Patch) -> None:
    """The stage table knows of a pulse that DSQL has not got yet: its own database seems to be a backup."""

    async def careless(self: RecordKeeper, moment: Any, recorded: int = 0) -> None:
        pulse = max(moment.pulse, recorded) + 1
        await self._table.raise_pulse(pulse)  # type: ignore[union-attr]
        await self._records.advance(moment.known.map.pairing.installation, pulse)
        self._pulsed_at = self._clock()

    patch.setattr(RecordKeeper, "beat", careless)


@pytest.mark.parametrize(
    "leave_out",
    [
        nothing_is_recorded_before_the_commit,
        a_vote_does_not_wait_for_the_record,
        the_commit_is_not_recorded,
        a_move_that_was_given_up_is_not_withdrawn,
        whatever_has_ended_is_taken_for_done,
        a_move_ends_on_record_though_it_has_only_begun,
        what_changed_in_between_is_a_contradiction,
        the_pulse_goes_to_the_stage_table_first,
    ],
)
def test_finds(leave_out: Callable[[Patch], None], monkeypatch: Patch, capsys: pytest.CaptureFixture[str]) -> None:
    leave_out(monkeypatch)
    with Silence():
        for seed in range(_MOST):
            violated = AuthorityWorld(seed).run()
            if violated is not None:
                with capsys.disabled():
                    print(f"\n{leave_out.__name__}: seed {seed} finds {violated[:120]}", end="")
                return
    pytest.fail(f"{leave_out.__name__}: none of {_MOST} seeds found anything")


@pytest.mark.parametrize("there_and_back", [False, True])
def test_what_was_moved_while_nobody_was_there_is_recorded_by_whoever_comes(there_and_back: bool) -> None:
    with Silence():
        for seed in range(4):
            assert DesertedWorld(seed, there_and_back=there_and_back).run() is None


def test_finds_nothing_where_nothing_is_left_out() -> None:
    committed = 0
    with Silence():
        for seed in range(12):
            world = AuthorityWorld(seed)
            assert world.run() is None, f"seed {seed}: {world.violated}"
            committed += world.committed
    assert committed > 12, "moves are made, too"
