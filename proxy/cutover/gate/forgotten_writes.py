"""Whether a table may miss acknowledged writes in the store that would become its authority. Pure.

Writes are known to be in both stores if a sweep found them there and every write since then reached both. The sweep
must cover the whole table, have begun in the present era, and have left nothing that it could mend. No comparison finds
items that nobody has written since the era began, writes that a forgotten process had acknowledged, or rows that only
the mirror has, and a flip would make them the truth. So no setting and no force overrides this check.
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
    """Whether a move changes the authority after a process that owed keys was forgotten."""
    return forgotten.count > 0 and at.mirrored and at.authority != to.authority


def missing_sweep_reason(
    table: str, last: LastSweep | None, eras: Mapping[str, Era], mappings: Iterable[str], at: Stage, to: Stage
) -> str | None:
    """Why the authority cannot move yet, forced or not; None if it can.

    `eras` are those of the item types that would move, `mappings` the digests of the table's mapping in use.
    """
    if at.authority == to.authority or not at.mirrored:
        return None
    if last is None:
        why = "no sweep of the whole table is on record (one is seen ten seconds after its end)"
    elif (ended := outdated_reason(last.basis, eras, mappings)) is not None:
        why = f"the last sweep of the whole table says nothing any more: {ended}"
    elif not last.mended:
        why = "the last sweep of the whole table left differences"
    elif last.result == UNSETTLED:
        why = "the last sweep of the whole table could not settle every key"
    elif last.result != EQUAL and last.authority != at.authority:
        why = f"the last sweep repaired the table from {last.authority}, which is not the authority"
    else:
        return None
    return (
        f"{_STORES[to.authority]} may miss acknowledged writes to {table}: {why}; run crossfade verify --table {table} "
        "--repair"
    )


def settled_at(seen_last: float, settle_seconds: float) -> float:
    """When (Unix seconds) nothing that was sent until `seen_last` can still take effect. The margin is for the waiting
    process's clock."""
    return seen_last + settle_seconds + clock_skew_margin(settle_seconds)


def wait_seconds(forgotten: ForgottenProcesses, now: float, settle_seconds: float) -> float:
    """For how many seconds a sweep must not begin yet: what it has read must not change afterwards, unseen. Never
    longer than for a call that was sent just now, whatever the clocks say."""
    return min(max(0.0, forgotten.settled_at - now), settled_at(0.0, settle_seconds)) if forgotten.count else 0.0
