"""Whether a table may miss acknowledged writes in the store that would become its authority. Pure.

Writes are known to be in both stores where a sweep found them so, and where every write since then reached both: the
sweep must be of the whole table, have begun in the era that still lasts, and have left nothing that it could mend. What
nobody has written since the era began, what a forgotten process had acknowledged, rows that only the mirror has: no
comparison finds them, and a flip would make them the truth. So no setting and no force passes over this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from proxy.cutover.clock_skew import clock_skew_margin
from proxy.cutover.gate.basis import outdated_reason
from proxy.cutover.gate.evidence import LastSweep
from proxy.cutover.stages import Era, ForgottenProcesses, Stage
from proxy.stores.dsql.system_tables.sweep_records import EQUAL, UNSETTLED

_STORES = {"dynamodb": "DynamoDB", "dsql": "DSQL"}


def affects(forgotten: ForgottenProcesses, at: Stage, to: Stage) -> bool:
    """Whether a move changes the authority after a process was forgotten that owed keys."""
    return forgotten.count > 0 and at.mirrored and at.authority != to.authority


def missing_sweep_reason(
    table: str, last: LastSweep | None, eras: Mapping[str, Era], mappings: Iterable[str], at: Stage, to: Stage
) -> str | None:
    """Why the authority cannot be moved yet, forced or not; None if it can.

    `eras` are those of the item types that would be moved, `mappings` the digests that processes have of the table's.
    """
    if at.authority == to.authority or not at.mirrored:
        return None
    if last is None:
        why = "no sweep of the whole table is on record (one is seen ten seconds after its end)"
    elif (ended := outdated_reason(last.basis, eras, mappings)) is not None:
        why = f"the last sweep of the whole table says nothing any more: {ended}"
    elif not last.mended:
        why = "the last sweep of the whole table has left differences"
    elif last.result == UNSETTLED:
        why = "the last sweep of the whole table could not settle every key"
    elif last.result != EQUAL and last.authority != at.authority:
        why = f"the last sweep has mended the table by {last.authority}, which is not the authority"
    else:
        return None
    return (
        f"{_STORES[to.authority]} may miss acknowledged writes to {table}: {why}; run crossfade verify --table {table} "
        "--repair"
    )


def settled_at(seen_last: float, settle_seconds: float) -> float:
    """When (Unix seconds) nothing can take effect any more that was sent until `seen_last`. With the margin that clocks
    may disagree by, for who waits for it has another."""
    return seen_last + settle_seconds + clock_skew_margin(settle_seconds)


def wait_seconds(forgotten: ForgottenProcesses, now: float, settle_seconds: float) -> float:
    """For how many seconds a sweep must not begin yet: what it has looked at must not change behind it, unseen. Never
    longer than if it had been sent just now, whatever the clocks say."""
    return min(max(0.0, forgotten.settled_at - now), settled_at(0.0, settle_seconds)) if forgotten.count else 0.0
