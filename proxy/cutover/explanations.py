"""What a move does and how it is undone: the sentences that people read before they decide.

Text only. Which moves are allowed is decided by the gate and the flip.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from proxy import formatting as words
from proxy.cutover.stages import Stage

STORES: Final = {"dynamodb": "DynamoDB", "dsql": "DSQL"}


def consequences(at: Stage, to: Stage, processes: int, hold_seconds: float) -> list[str]:
    """What a move does, the most important sentence first."""
    return [*_answers(at, to), *_writes(at, to), _waits(at, to, processes, hold_seconds)]


def way_back(at: Stage, to: Stage) -> str:
    """How the move is undone, or that it cannot be."""
    if to is Stage.COMPLETE:
        return "There is none: no move leaves complete, forced or not. DynamoDB is out of date from the first write on."
    if at.authority != to.authority:
        store = STORES[at.authority]
        return f"Move it back to {at}, the same way. {store} is kept equal, so no acknowledged write is lost."
    if at is to:
        return "Set the share again at any time. No write waits."
    if to is Stage.OFF:
        return f"Move it to {at} again, then sweep the table: DSQL will have missed the writes in between."
    return f"Move it back to {at} at any time. No write waits."


def _answers(at: Stage, to: Stage) -> Iterable[str]:
    if at.authority != to.authority:
        yield f"{STORES[to.authority]} becomes the authority: its answers are what clients get."
    else:
        yield f"{STORES[to.authority]} stays the authority."
    if to is Stage.SHADOW:
        yield "DSQL serves the share of reads that is set below; those that it fails fall back to DynamoDB."


def _writes(at: Stage, to: Stage) -> Iterable[str]:
    if to is Stage.OFF and at is not Stage.OFF:
        yield "DSQL gets no more writes and falls behind from now on."
    elif to is Stage.COMPLETE:
        yield "DynamoDB gets no more writes. Nothing in it is deleted."
    elif at is Stage.OFF:
        yield "Each write goes to DSQL too, behind the answer. Other items are not copied: backfill does that."
    if to.compared and not at.compared:
        yield "Reads and writes are compared, and differences are shown here."
    elif at.compared and not to.compared:
        yield "Nothing is compared any more: a difference would go unnoticed."


def _waits(at: Stage, to: Stage, processes: int, hold_seconds: float) -> str:
    if at.authority == to.authority:
        return "No write waits, and no read."
    who = f"all {processes} processes have" if processes > 1 else "the process has"
    return (
        f"New writes wait until {who} finished the writes in flight, for at most {words.duration(hold_seconds)}; then "
        "the move is aborted and everything stays as it was. Reads go on throughout."
    )
