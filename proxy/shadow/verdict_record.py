"""The verdict on one call, as comparisons and rehearsals report it."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.shadow.call import Call
from proxy.verdicts import JudgedDifference, Verdict


@dataclass(frozen=True, slots=True)
class VerdictRecord:
    """A call's verdict, with its differences."""

    call: Call
    """The operation that was compared, its tables, its item type and the id of the client's request."""
    verdict: Verdict
    judged: tuple[JudgedDifference, ...] = ()
    """The differences, each with a verdict of its own."""
    reason: str | None = None
    """Why a mirror error, a race or an undecided comparison was one, or that what agreed shows little
    (`proxy.verdicts.REQUEST_REFUSED`)."""
    mirror: str = ""
    """The name of the store that was the mirror: a mirror error is its failure."""
