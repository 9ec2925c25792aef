"""What came of the items of a backfill, counted. Adds up; decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.dynamodb.schema import Key

EXAMPLES: Final = 3


@dataclass(slots=True)
class BackfillCounts:
    """What came of the items. `seen` = `inserted` + `equal` + `converged` + `unrepresentable` once a run is over."""

    seen: int = 0
    size: int = 0
    """Bytes, as the source had them."""
    inserted: int = 0
    equal: int = 0
    """Held already."""
    converged: int = 0
    """Held otherwise, or changed meanwhile."""
    unrepresentable: int = 0
    lossy: int = 0
    """Inserted with a loss that the mapping allows."""
    malformed: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)
    """Up to three keys that could not be represented, and why."""
    troubles: list[str] = field(default_factory=list)
    """Up to three places of a file that hold no item."""

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
