"""What a sweep has seen and found, and what it comes to. Adds up; asks nobody."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.cutover.gate.basis import Basis
from proxy.dynamodb.schema import Key
from proxy.migrate.verify.recheck import KeyResult
from proxy.stores.dsql.system_tables.sweep_records import DIFFERENT, EQUAL, REPAIRED, UNSETTLED

UNREADABLE: Final = "unreadable"
"""A row that reads as no item of the table, and has no key to be named by."""


@dataclass(slots=True)
class SweepCounts:
    """What was seen and found. `items` are DynamoDB's, `rows` DSQL's when the sweep ended, both by type."""

    items: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)
    """Results other than `agreed`, by kind."""
    repaired: int = 0
    unrepaired: int = 0
    pages: int = 0
    pages_unequal: int = 0
    """Pages whose digest was not DSQL's."""
    size: int = 0

    @property
    def seen(self) -> int:
        return self.items.total()

    def document(self) -> dict[str, Any]:
        return {
            name: dict(value) if isinstance(value := getattr(self, name), Counter) else value for name in self.__slots__
        }

    def add(self, other: dict[str, Any]) -> None:
        for name, value in other.items():
            held = getattr(self, name)
            if isinstance(held, Counter):
                held.update(value)
            else:
                setattr(self, name, held + value)


@dataclass(frozen=True, slots=True)
class ReferenceCheck:
    """A reference's check: how many rows refer, and how many of those to what is not there."""

    attribute: str
    refer: int
    dangling: int


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What came of a sweep. `whole` is False for a share of the table while others are at work on theirs."""

    table: str
    authority: str
    began: float
    ended: float
    whole: bool
    resumed: bool
    counts: SweepCounts
    findings: list[dict[str, Any]]
    references: list[ReferenceCheck]
    spots: list[Key]
    basis: Basis = Basis()  # noqa: RUF009  (frozen)
    """The mapping and the eras that every part of it is of."""

    @property
    def mended(self) -> bool:
        """Whether nothing that differed was left so, but for what the mapping cannot hold."""
        return not self.counts.unrepaired and self._differing <= self.counts.repaired

    @property
    def result(self) -> str:
        """As `sweep_records` has it. What cannot be represented is not equal, and no repair makes it so. A key that was
        written at each look, or could not be read, is undecided: that is not equal either."""
        if not self.mended or self.counts.results[KeyResult.UNREPRESENTABLE] or self.counts.results[UNREADABLE]:
            return DIFFERENT
        if self.counts.results[KeyResult.RACING]:
            return UNSETTLED
        return REPAIRED if self._differing else EQUAL

    @property
    def _differing(self) -> int:
        return sum(self.counts.results[kind] for kind in (KeyResult.MISSING, KeyResult.EXTRA, KeyResult.DIFFERENT))
