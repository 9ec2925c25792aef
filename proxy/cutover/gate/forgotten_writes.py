"""Whether a table may still miss what a process owed that was forgotten: then no flip may move its authority. Pure.

What it owed, nobody knows: keys that it had acknowledged and that may not have converged. So every table that is
written to both stores is in question, until all of it has been swept by a sweep that began after the process was
forgotten. What came first is told by a count in the stage table, which the forgetting raises and the sweep reads before
its first look; no two clocks are compared (docs/flip.md, "Processes that are gone").
"""

from __future__ import annotations

from proxy.cutover.clock_skew import clock_skew_margin
from proxy.cutover.gate.evidence import LastSweep
from proxy.cutover.stages import ForgottenProcesses, Stage
from proxy.stores.dsql.system_tables.sweep_records import EQUAL


def affects(forgotten: ForgottenProcesses, at: Stage, to: Stage) -> bool:
    """Whether a move would make the store the authority that may miss something."""
    return forgotten.count > 0 and at.mirrored and at.authority != to.authority


def missing_sweep_reason(
    table: str, last: LastSweep | None, forgotten: ForgottenProcesses, at: Stage, to: Stage
) -> str | None:
    """Why the authority cannot be moved yet, forced or not; None if it can."""
    if not affects(forgotten, at, to):
        return None
    if last is None or last.forgotten < forgotten.count:
        why = "and no sweep of all of it has begun and ended since (one is seen ten seconds after its end)"
    elif not last.mended:
        why = "and the sweep since has left differences"
    elif last.result != EQUAL and last.authority != at.authority:
        why = f"and the sweep since has mended it by {last.authority}, which is not the authority"
    else:
        return None
    return (
        f"{table} may miss writes that {forgotten.process} had acknowledged before it was forgotten, {why}: "
        f"run crossfade verify --table {table} --repair"
    )


def settled(seen_last: float, settle_seconds: float) -> float:
    """When (Unix seconds) nothing can take effect any more that was sent until `seen_last`. With the margin that clocks
    may disagree by, for who waits for it has another."""
    return seen_last + settle_seconds + clock_skew_margin(settle_seconds)


def wait(forgotten: ForgottenProcesses, now: float, settle_seconds: float) -> float:
    """For how many seconds a sweep must not begin yet: what it has looked at must not change behind it, unseen. Never
    longer than if it had been sent just now, whatever the clocks say."""
    return min(max(0.0, forgotten.settled - now), settled(0.0, settle_seconds)) if forgotten.count else 0.0
