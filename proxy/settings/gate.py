"""What an operator can set of the gate: `[gate]`, one threshold a criterion (`proxy.cutover.gate.requirements`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final

from proxy.settings.validation import AnyOf, InRange

CRITERIA: Final = (
    "told",
    "working",
    "journal",
    "settled",
    "parked",
    "sweep",
    "comparisons",
    "coverage",
    "agreement",
    "agreement_each",
    "representable",
    "mirror_errors",
    "occ",
    "latency",
)
"""The names of the gate's criteria. `door`, which only force opens, is not among them."""


def _criteria(names: tuple[str, ...]) -> str | None:
    known = AnyOf(CRITERIA)
    return next((fault for fault in map(known, names) if fault is not None), None)


@dataclass(frozen=True, slots=True)
class GateSettings:
    """What must hold before a stage is moved.

    Comparisons and mismatches are those of the last day; errors, conflicts and latencies of the last ten minutes.
    Criteria that `advisory` names, and no others, are shown and stop nothing. With `demote` the ramp goes to 0 by
    itself as soon as something speaks against DSQL.
    """

    min_comparisons: Annotated[int, InRange(0, 1_000_000_000)] = 30
    min_pattern_comparisons: Annotated[int, InRange(0, 1_000_000_000)] = 3
    max_mismatch_rate: Annotated[float, InRange(0.000001, 1)] = 0.001
    max_journal_seconds: Annotated[float, InRange(0, 3600)] = 5.0
    max_mirror_error_rate: Annotated[float, InRange(0, 1)] = 0.001
    max_occ_exhausted: Annotated[int, InRange(0, 1_000_000_000)] = 0
    max_latency_factor: Annotated[float, InRange(0.1, 1000)] = 3.0
    latency_floor_seconds: Annotated[float, InRange(0, 3600)] = 0.025
    max_sweep_hours: Annotated[float, InRange(0.01, 8760)] = 24.0
    max_evidence_seconds: Annotated[float, InRange(1, 3600)] = 60.0
    advisory: Annotated[tuple[str, ...], _criteria] = ("sweep",)
    demote: bool = True

    @property
    def stops(self) -> tuple[str, ...]:
        """The criteria that stop a move."""
        return tuple(each for each in CRITERIA if each not in self.advisory)
