"""The recordings in tests/data/dsql-recorded, and how they are played: steps sent, answers compared."""

import asyncio
import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.standins.dsql.connections.probe import Answer, Probe

FOLDER: Final = Path(__file__).parents[1] / "data" / "dsql-recorded"
ELSEWHERE: Final = "elsewhere"
_SEPARATOR: Final = " ;; "
_ANY: Final = re.compile(r"<.*>", re.DOTALL)
_JOB: Final = re.compile(r"[a-z2-7]{26}")
_CUT: Final = "…"
_LOST: Final = {"exactly one COMMIT fails, either": {1}, "at least one COMMIT fails": {1, 2}, "no COMMIT fails": {0}}
_UNTOLD: Final = "(text not given)"
_STATE_ONLY: Final = "?????"


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table."""

    name: str
    group: str
    setup: str
    sessions: str
    steps: tuple[str, ...]
    outcomes: tuple[str, ...]
    results: tuple[Any, ...]
    race: str

    @property
    def simple(self) -> bool:
        """Whether it was sent as one simple query."""
        return "simple query" in self.sessions


def cases() -> list[Case]:
    """All rows, in their order."""
    with (FOLDER / "dsql-recorded.tsv").open(newline="", encoding="utf-8") as table:
        return [_case(row) for row in csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE)]


def setup_statements() -> list[str]:
    """What was there before the first case, one statement at a time."""
    lines = (FOLDER / "setup.sql").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith("--"))
    return [each.strip() for each in text.split(";\n") if each.strip()]


def _case(row: dict[str, str]) -> Case:
    outcomes = tuple(row["outcome"].split(_SEPARATOR))
    results = tuple(json.loads(row["result"])) if row["result"] else ()
    return Case(
        name=row["name"],
        group=row["group"],
        setup=row["setup"],
        sessions=row["sessions"],
        steps=tuple(row["sql"].split(_SEPARATOR)),
        outcomes=outcomes,
        results=results,
        race=row["race"],
    )


async def play(case: Case, probe: Probe) -> list[list[Answer]]:
    """The answers to the steps of a case of one session, in which a ROLLBACK follows."""
    answers = [await probe.simple(step) if case.simple else [await probe.extended(step)] for step in case.steps]
    await probe.simple("ROLLBACK")
    return answers


async def play_two(case: Case, probes: dict[str, Probe]) -> list[list[Answer]]:
    """The answers to the steps of a case of two sessions: in pairs at the same moment where `sessions` says so."""
    steps = [(step[0], step[3:]) for step in case.steps]
    width = 2 if "~" in case.sessions else 1
    answers: list[list[Answer]] = []
    for at in range(0, len(steps), width):
        sent = [probes[who].extended(sql) for who, sql in steps[at : at + width]]
        answers += [[each] for each in await asyncio.gather(*sent)]
    return answers


def outcome(answers: Sequence[Answer]) -> str:
    """The answers of one step as the table writes them."""
    if answers and answers[-1].error:
        error = answers[-1].error
        return f"error {error.sqlstate} {error.message}"
    return "ok " + " + ".join(each.tag for each in answers)


def difference(case: Case, played: Sequence[Sequence[Answer]]) -> str:
    """How the answers differ from the recorded ones; nothing if they do not. COMMITs in a race go by its rule."""
    found = []
    raced = bool(case.race) and "~" in case.sessions
    for n, (wanted, answers) in enumerate(zip(case.outcomes, played, strict=False)):
        if raced and case.steps[n].endswith("COMMIT"):
            continue
        if not agrees(wanted, outcome(answers)):
            found.append(f"step {n + 1}: {outcome(answers)}, recorded {wanted}")
        elif n < len(case.results) and (said := _result_difference(case.results[n], answers)):
            found.append(f"step {n + 1}: {said}")
    if raced:
        found += race_difference(case.race, played)
    if len(played) < len(case.outcomes):
        found.append(f"{len(played)} of {len(case.outcomes)} steps")
    return "; ".join(found)


def race_difference(rule: str, played: Sequence[Sequence[Answer]]) -> list[str]:
    """What a race's rule finds wrong with the last two steps, the COMMITs."""
    ends = [outcome(answers) for answers in played[-2:]]
    lost = [end for end in ends if end == "error 40001 change conflicts with another transaction (OC000)"]
    strange = [end for end in ends if end not in lost and end != "ok COMMIT"]
    return strange or ([] if len(lost) in _LOST[rule] else [f"{len(lost)} COMMITs failed ({rule})"])


def agrees(wanted: str, had: str) -> bool:
    """Whether an outcome is the recorded one, as far as that was stored."""
    if wanted.endswith(_UNTOLD):
        return had.startswith(wanted.removesuffix(_UNTOLD).replace(_STATE_ONLY, "").strip())
    if wanted == "ok ?" or (wanted.startswith("ok ") and " " not in wanted[3:] and had.startswith(wanted + " ")):
        return had.startswith("ok")
    if _STATE_ONLY in wanted:
        return had.startswith("error ") and had[12:] == wanted[12:]
    return had == wanted


def _result_difference(wanted: Any, answers: Sequence[Answer]) -> str:
    if wanted is None:
        return ""
    several = bool(wanted) and (wanted[0] is None or (bool(wanted[0]) and isinstance(wanted[0][0], list)))
    for each, answer in zip(wanted if several else [wanted], answers, strict=True):
        if each is None:
            continue
        had = [answer.columns, *answer.rows]
        # A row of an example says which columns there are.
        same = had[0] == each[0] if len(each[0]) > 5 else _alike(each, had)
        if not same:
            return f"{had}, recorded {each}"
    return ""


def _alike(wanted: Any, had: Any) -> bool:
    if isinstance(wanted, list):
        return isinstance(had, list) and len(wanted) == len(had) and all(map(_alike, wanted, had))
    if isinstance(wanted, str) and isinstance(had, str):
        if _ANY.fullmatch(wanted) or (_JOB.fullmatch(wanted) and _JOB.fullmatch(had)):
            return True
        return had.startswith(wanted.removesuffix(_CUT)) if wanted.endswith(_CUT) else had == wanted
    return bool(wanted == had)
