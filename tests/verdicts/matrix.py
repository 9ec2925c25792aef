"""The confusion matrix: what was so, against what was said of it.

A label is the truth of one comparison, which the scene that made it knows. `MAY` says which verdicts are right for it;
any other one is an error, and the two that matter are a `mismatch` where the stores agree and anything else where they
do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from proxy.verdicts import Verdict


class Label(StrEnum):
    SAME = "the same"
    TIE = "another order, or end of page, among equal sort keys"
    RACE = "written by others meanwhile"
    STALE = "an old answer of DynamoDB's"
    FAILED = "a store failed"
    DECLARED = "a declared difference"
    UNREPRESENTABLE = "an item that the mapping cannot hold"
    MISSING_ROW = "planted: a row is missing"
    EXTRA_ROW = "planted: a row too many"
    SCALAR = "planted: another text"
    DIGIT = "planted: a number off by 1e-30"
    NESTED = "planted: a change deep inside"
    MEMBER = "planted: another set member"
    TYPE = "planted: another type"
    ORDER_KEY = "planted: another sort key"


PLANTED: Final = tuple(label for label in Label if label.startswith("planted"))

_QUIET: Final = frozenset({Verdict.AGREED})
_UNSURE: Final = frozenset({Verdict.AGREED, Verdict.RACING, Verdict.LAGGING})
MAY: Final = {
    Label.SAME: _QUIET,
    Label.TIE: _QUIET,
    # Undecided: pages of items without keys that have none in common.
    Label.RACE: _UNSURE | {Verdict.UNDECIDED},
    Label.STALE: _UNSURE | {Verdict.UNDECIDED},
    Label.FAILED: _UNSURE | {Verdict.MIRROR_ERROR, Verdict.UNDECIDED},
    Label.DECLARED: frozenset({Verdict.EXPECTED}),
    Label.UNREPRESENTABLE: frozenset({Verdict.UNREPRESENTABLE}),
    **dict.fromkeys(PLANTED, frozenset({Verdict.MISMATCH})),
}


@dataclass(slots=True)
class Matrix:
    """Counts by label and verdict, and what was wrong, in words."""

    counts: Counter[tuple[Label, Verdict]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, label: Label, verdict: Verdict, what: str) -> None:
        self.counts[label, verdict] += 1
        if verdict not in MAY[label]:
            self.wrong.append(f"{label}: {verdict}: {what}")

    def merge(self, other: Matrix) -> None:
        self.counts.update(other.counts)
        self.wrong.extend(other.wrong)

    def of(self, labels: Iterable[Label], verdict: Verdict | None = None) -> int:
        chosen = set(labels)
        return sum(n for (label, each), n in self.counts.items() if label in chosen and verdict in (None, each))

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def false_mismatches(self) -> int:
        return self.of(set(Label) - set(PLANTED), Verdict.MISMATCH)

    @property
    def missed(self) -> int:
        return self.of(PLANTED) - self.of(PLANTED, Verdict.MISMATCH)

    def table(self) -> str:
        """In Markdown: a row a label, a column a verdict."""
        rows = [["what was so", *map(str, Verdict)], ["---", *["---:"] * len(Verdict)]]
        rows += [[label, *(self._shown(label, each) for each in Verdict)] for label in Label if self.of([label])]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def _shown(self, label: Label, verdict: Verdict) -> str:
        return f"{self.counts[label, verdict]:,}" if self.counts[label, verdict] else ""
