"""What a sweep counted and found, and the outcome that follows from it. Does no I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.cutover.gate.basis import Basis
from proxy.dynamodb.schema import Key
from proxy.migrate.verify.recheck import KeyResult
from proxy.stores.dsql.system_tables.sweep_records import DIFFERENT, EQUAL, REPAIRED, UNSETTLED

UNREADABLE: Final = "unreadable"
"""The result for a row that cannot be read as an item, and so has no key to report it by."""


@dataclass(slots=True)
class SweepCounts:
    """Counts of a sweep. `items` are DynamoDB's as scanned, `rows` DSQL's at the end of the sweep, both by type."""

    items: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)
    """Keys by result, except `agreed`."""
    repaired: int = 0
    unrepaired: int = 0
    pages: int = 0
    pages_unequal: int = 0
    """Pages whose digest differed from DSQL's."""
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
    """The check of a reference: how many rows refer, and how many of those to an item that does not exist."""

    attribute: str
    refer: int
    dangling: int


@dataclass(frozen=True, slots=True)
class SweepResult:
    """The result of a sweep. `whole` is False for a share of the table while other shares are not finished."""

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
    """The mapping and the eras that every part of the sweep is of."""

    @property
    def mended(self) -> bool:
        """Whether every difference was repaired, except what the mapping cannot hold."""
        return not self.counts.unrepaired and self._differing <= self.counts.repaired

    @property
    def outcome(self) -> str:
        """The outcome, in the words of `sweep_records`.

        An item that cannot be represented is not equal, and no repair makes it equal. A key that was written during
        each recheck is undecided, which is not equal either.
        """
        if not self.mended or self.counts.results[KeyResult.UNREPRESENTABLE] or self.counts.results[UNREADABLE]:
            return DIFFERENT
        if self.counts.results[KeyResult.RACING]:
            return UNSETTLED
        return REPAIRED if self._differing else EQUAL

    @property
    def _differing(self) -> int:
        return sum(self.counts.results[kind] for kind in (KeyResult.MISSING, KeyResult.EXTRA, KeyResult.DIFFERENT))
