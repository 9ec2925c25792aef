"""The JSON documents of the admin port, which `crossfade stage --admin` reads: stages, gates, history.

Plain mappings, ready for JSON; `openapi` describes them. Times are RFC 3339 in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from proxy.cutover.flip.active_move import MoveProgress
from proxy.cutover.gate.requirements import next_stage
from proxy.cutover.model import FlipView, GateView, ProcessView, StagedScope, StagesView
from proxy.cutover.stages import Scope, Stage


def timestamp(seconds: float) -> str | None:
    """Unix seconds as RFC 3339; None for 0, which means not known."""
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def staged_scope(at: StagedScope, gate: GateView | None) -> dict[str, Any]:
    """A scope, its stage, and what blocks the next stage (`gate`: None in `complete`)."""
    further = next_stage(at.stage)
    return {
        "table": at.scope.table,
        "type": at.scope.item_type or None,
        "own": at.has_own_stage,
        "stage": str(at.stage),
        "authority": at.stage.authority,
        "ramp": at.ramp,
        "since": timestamp(at.since),
        "era": {"number": at.era.number, "since": timestamp(at.era.began), "because": at.era.because or None},
        "recorded": at.recorded_authority or None,
        "mapping": at.mapping or None,
        "by": at.by or None,
        "next": str(further) if further is not None else None,
        "blocked_by": [each.document() for each in gate.unmet] if gate is not None else [],
    }


def stages(whole: StagesView, gates: Mapping[StagedScope, GateView | None]) -> dict[str, Any]:
    """All stages, and the processes that serve them."""
    return {
        "epoch": whole.epoch,
        "pinned": whole.pinned or None,
        "flip": _flip(whole.flip) if whole.flip is not None else None,
        "processes": [process(each) for each in whole.processes],
        "stages": [staged_scope(at, gates.get(at)) for at in whole.scopes],
    }


def process(each: ProcessView) -> dict[str, Any]:
    return {
        "process": each.name,
        "host": each.host or None,
        "pid": each.pid or None,
        "listen": each.listen or None,
        "seen": timestamp(each.renewed),
        "gone": each.lease_expired,
        "epoch": each.epoch,
        "phase": each.vote or None,
        "note": each.note or None,
        "owes": each.owes,
        "here": each.is_this_process,
        "database": each.database or None,
        "mappings": dict(each.mappings),
        "problem": each.problem or None,
    }


def gate(asked: GateView, at: Stage) -> dict[str, Any]:
    """The gate of a move."""
    return {
        "table": asked.scope.table,
        "type": asked.scope.item_type or None,
        "from": str(at),
        "to": str(asked.to),
        "open": asked.is_open,
        "impossible": asked.forbidden or None,
        "criteria": [each.document() for each in asked.criteria],
    }


def history_entry(kept: Mapping[str, Any]) -> dict[str, Any]:
    """One entry of the history, from the form in which the stage table keeps it."""
    scope = Scope.parse(str(kept.get("scope", "")))
    return {
        "at": timestamp(float(kept.get("at") or 0.0)),
        "table": scope.table or None,
        "type": scope.item_type or None,
        **{name: kept.get(name) for name in _ENTRY},
        "gate": kept.get("gate") or None,
        "passed_over": list(kept.get("passed_over") or ()),
    }


def move_progress(now: MoveProgress) -> dict[str, Any]:
    """How far a move is, and each process in it."""
    return {
        "phase": now.phase,
        "seconds": round(now.seconds, 3),
        "text": now.text,
        "processes": [
            {"process": each.process, "host": each.host, "phase": each.phase, "note": note(each.note)}
            for each in now.processes
        ],
    }


def note(said: Mapping[str, Any]) -> str:
    """A process's account of its part in a move, as text for people."""
    parts = [f"{said[name]} {word}" for name, word in _NOTES.items() if said.get(name)]
    if said.get("lingering"):
        parts.append(f"settled in {said['lingering']:.0f} s")
    if said.get("problem"):
        parts.append(str(said["problem"]))
    return ", ".join(parts)


_ENTRY: Final = (
    *("process", "from", "ramp_before", "to", "ramp", "by", "because", "forced"),
    *("outcome", "reason", "epoch", "held_ms"),
)
_NOTES: Final = {"writers": "writes in flight", "keys": "keys to converge", "parked": "parked keys"}


def _flip(under_way: FlipView) -> dict[str, Any]:
    return {
        "table": under_way.scope.table,
        "type": under_way.scope.item_type or None,
        "from": str(under_way.from_stage),
        "to": str(under_way.to),
        "phase": under_way.phase,
        "by": under_way.by or None,
        "started": timestamp(under_way.started),
    }
