"""What ends an era: a move through `off`, settings with other initial stages, a forgotten process.

Evidence, sweeps and checkpoints belong to one era and prove nothing about another (design: "Evidence is of something,
and it ends"). Pure.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping

from proxy.cutover.stages import ALL_TABLES, Scope, Stage, StageMap, Stages


def ended_by_move(stages: Stages, scope: Scope, to: Stage) -> tuple[Scope, ...]:
    """The scopes whose era the move ends: those that enter or leave `off`. Nobody can say later what was written in
    `off`."""
    table = scope.table
    types = (each for each in stages.types(table) if stages.covers(scope, table, each))
    return tuple(
        Scope(table, each) for each in types if (stages.stage_of(table, each) is Stage.OFF) != (to is Stage.OFF)
    )


def ended_by_settings(known: StageMap, begins: str) -> tuple[Scope, ...]:
    """The scopes whose era ends because the settings' initial stages are now `begins` (`table/Type=stage …`) and were
    others before.

    A scope that has been moved keeps its stage, whatever the settings say.
    """
    if known.initial_stages is None or known.initial_stages == begins:
        return ()
    before, after = _parse_initial_stages(known.initial_stages), _parse_initial_stages(begins)
    if before is None or after is None or _is_off(before, ALL_TABLES) != _is_off(after, ALL_TABLES):
        return (ALL_TABLES,)
    return tuple(
        scope
        for scope in sorted(before.keys() | after.keys())
        if scope not in known.placements and Scope(scope.table) not in known.placements
        if _is_off(before, scope) != _is_off(after, scope)
    )


def era_entry(known: StageMap, scopes: Iterable[Scope], because: str, by: str) -> dict[str, object]:
    """The history's entry of an era that ended without a move."""
    return {
        "id": uuid.uuid4().hex[:12],
        "at": time.time(),
        "epoch": known.epoch,
        "outcome": "era ended",
        "scopes": [str(scope) for scope in scopes],
        "by": by,
        "because": because,
    }


def _parse_initial_stages(text: str) -> Mapping[Scope, Stage] | None:
    """The stages in `begins`; None for a text that cannot be parsed, such as one with a space in a type's name."""
    found: dict[Scope, Stage] = {}
    for each in text.split(" "):
        name, _, stage = each.rpartition("=")
        try:
            found[Scope.parse(name)] = Stage(stage)
        except ValueError:
            return None
    return found if ALL_TABLES in found else None


def _is_off(begins: Mapping[Scope, Stage], scope: Scope) -> bool:
    at = begins.get(scope) or begins.get(Scope(scope.table)) or begins[ALL_TABLES]
    return at is Stage.OFF
