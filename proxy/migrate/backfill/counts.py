"""Counts what became of a backfill's items. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.dynamodb.schema import Key

EXAMPLES: Final = 3


@dataclass(slots=True)
class BackfillCounts:
    """Counts of a backfill. After a run, `seen` = `inserted` + `equal` + `converged` + `unrepresentable`."""

    seen: int = 0
    size: int = 0
    """The size of the items in the source, in bytes."""
    inserted: int = 0
    equal: int = 0
    """Items that the mirror already held."""
    converged: int = 0
    """Items that the mirror held differently, or that changed meanwhile."""
    unrepresentable: int = 0
    lossy: int = 0
    """Items inserted with a loss that the mapping allows."""
    malformed: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)
    """At most three keys of items that cannot be represented, and the reasons."""
    troubles: list[str] = field(default_factory=list)
    """At most three places of a file that hold no item."""

    def count_unrepresentable(self, key: Key, reasons: Iterable[str]) -> None:
        self.unrepresentable += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append({"key": key.attributes, "reasons": list(reasons)})

    def document(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    def add(self, other: Mapping[str, Any]) -> None:
        for name, value in other.items():
            if name in ("examples", "troubles"):
                held = getattr(self, name)
                held.extend(value[: EXAMPLES - len(held)])
            else:
                setattr(self, name, getattr(self, name) + value)
