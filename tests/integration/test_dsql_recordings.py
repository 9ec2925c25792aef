"""The stand-in for DSQL answers what real clusters were heard to answer: all recordings, played in their order.

A difference is listed below with its reason; one that no longer differs must go.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

import pytest

from tests.integration import recorded_cases
from tests.integration.recorded_cases import ELSEWHERE, Case, cases, difference
from tests.integration.recorded_connections import PLAYERS
from tests.integration.recorded_elsewhere import NOT_PLAYED, SCRIPTS, Script
from tests.standins.dsql import Dsql
from tests.standins.dsql.connections.probe import Answer, Probe
from tests.standins.dsql.settings import GateSettings
from tests.standins.postgres import Postgres
from tests.standins.processes import StandinError

_SETTINGS: Final = GateSettings()
_PLAY_SECONDS: Final = 300
_CASES: Final = cases()
_RECORDED: Final = [case for case in _CASES if case.group != ELSEWHERE]
_ELSEWHERE: Final = [case for case in _CASES if case.group == ELSEWHERE and case.name not in NOT_PLAYED]

_EMPTIED: Final = ("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
_AS_NEW: Final = (
    "GRANT USAGE ON SCHEMA public TO PUBLIC; DELETE FROM standin.jobs; DELETE FROM standin.iam; "
    "SELECT count(*) FROM pg_namespace WHERE nspname NOT IN ('public', 'sys', 'standin', 'information_schema') "
    "AND nspname !~ '^pg_'"
)

DIFFERENCES: Final = {
    "q_limit": "rows without an ORDER BY come in the order of PostgreSQL's heap, on a cluster in that of the key",
    "q_cte": "as q_limit",
}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server whose database `postgres` is nobody else's."""
    with Postgres() as started:
        yield started


@pytest.fixture(scope="module")
def gate(server: Postgres) -> Iterator[Dsql]:
    with Dsql(server) as started:
        yield started


class Rooms:
    """Empty databases, used again where a case has left nothing in one: making one takes longer than most cases."""

    def __init__(self, server: Postgres, gate: Dsql) -> None:
        self._server = server
        self._gate = gate
        self._empty: list[str] = []

    def take(self) -> str:
        """The name of an empty database."""
        return self._empty.pop() if self._empty else self._server.create_database().rsplit("/", 1)[1]

    async def give_back(self, name: str) -> None:
        """Empty it, through the gate, which has to know what is there no longer."""
        probe = await Probe.connect(self._gate.port, name)
        emptied = [await probe.simple(statement) for statement in _EMPTIED]
        await probe.close()
        if all(answer.error is None for answers in emptied for answer in answers):
            # A job that is still under way has its row: such a database is not used again.
            with contextlib.suppress(StandinError):
                if self._server.execute(_AS_NEW, name) == "0":
                    self._empty.append(name)


@pytest.fixture(scope="module")
def rooms(server: Postgres, gate: Dsql) -> Rooms:
    return Rooms(server, gate)


@pytest.fixture(scope="module")
def played(gate: Dsql) -> dict[str, str]:
    """The difference of each recorded case, played one after the other: state carries over."""
    return asyncio.run(asyncio.wait_for(_play_all(gate), _PLAY_SECONDS))


async def _play_all(gate: Dsql) -> dict[str, str]:
    probe = await Probe.connect(gate.port)
    for statement in recorded_cases.setup_statements():
        (answer,) = await probe.simple(statement)
        assert answer.error is None, (statement, answer.error)
    found = {}
    for case in _RECORDED:
        if case.steps[0].startswith("A: "):
            pair = {name: await Probe.connect(gate.port) for name in "AB"}
            found[case.name] = difference(case, await recorded_cases.play_two(case, pair))
            for each in pair.values():
                await each.close()
        else:
            found[case.name] = difference(case, await recorded_cases.play(case, probe))
    await probe.close()
    return found


def test_all_recordings_are_here() -> None:
    assert len(_RECORDED) == 242
    assert len(_ELSEWHERE) + len(NOT_PLAYED) == 190
    assert len(DIFFERENCES) <= 10


@pytest.mark.parametrize("case", _RECORDED, ids=lambda case: case.name)
def test_a_recorded_case_is_answered_as_recorded(case: Case, played: dict[str, str]) -> None:
    _judge(case, played[case.name])


@pytest.mark.parametrize("case", _ELSEWHERE, ids=lambda case: case.name)
async def test_what_was_heard_elsewhere_is_answered_so(case: Case, rooms: Rooms, server: Postgres, gate: Dsql) -> None:
    name = rooms.take()
    _judge(case, await asyncio.wait_for(_elsewhere(case, server, gate, name), _PLAY_SECONDS))
    script = SCRIPTS.get(case.name)
    if script is None or not (script.server or script.settings):
        await rooms.give_back(name)


def _judge(case: Case, found: str) -> None:
    reason = DIFFERENCES.get(case.name)
    if reason is None:
        assert not found, found
    else:
        assert found, f"{case.name} no longer differs: take it out of DIFFERENCES ({reason})"


async def _elsewhere(case: Case, server: Postgres, gate: Dsql, database: str) -> str:
    player = PLAYERS.get(case.name)
    if player is not None:
        had = await player(server, gate, database)
        pairs = zip(case.outcomes, had, strict=True)
        return "; ".join(f"{one}, recorded {wanted}" for wanted, one in pairs if not recorded_cases.agrees(wanted, one))
    script = SCRIPTS.get(case.name) or Script(case.steps, tuple(each for each in case.setup.split("; ") if each))
    maker = await Probe.connect(gate.port, database)
    for statement in script.setup:
        (answer,) = await maker.simple(statement)
        assert answer.error is None, (statement, answer.error)
    await maker.close()
    for statement in script.server:
        server.execute(statement, database)
    before = {name: getattr(_SETTINGS, name) for name in script.settings}
    gate.change(**script.settings)
    try:
        return difference(case, await _play_script(script, gate, database))
    finally:
        gate.change(**before)


async def _play_script(script: Script, gate: Dsql, database: str) -> list[list[Answer]]:
    probes = {name: await Probe.connect(gate.port, database) for name in ("A", "B", "")}
    job = ""
    answers: list[list[Answer]] = []
    for step in script.steps:
        parts = (step,) if isinstance(step, str) else step
        for n, part in enumerate(parts):
            who, sql = (part[0], part[3:]) if part[:3] in ("A: ", "B: ") else ("", part)
            had = await _send(probes[who], sql.replace("{job}", job))
            assert n == len(parts) - 1 or had[-1].error is None, (part, had[-1].error)
            if had[-1].columns == ["job_id"] and had[-1].rows and not sql.startswith("SELECT"):
                job = had[-1].rows[0][0] or ""
        answers.append(had)
    for probe in probes.values():
        await probe.close()
    return answers


async def _send(probe: Probe, sql: str) -> list[Answer]:
    """By the extended protocol, as all recordings but those of several statements at once."""
    return await probe.simple(sql) if "; " in sql and "'" not in sql else [await probe.extended(sql)]
