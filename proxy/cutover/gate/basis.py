"""The basis of a finding: the mapping and the era of each item type. On another basis the finding is void. Pure.

A basis is kept with comparisons (`evidence`), with the record of a sweep, and with the checkpoints of a backfill.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from proxy.cutover.stages import SEVERAL_TYPES, Era, Stages


@dataclass(frozen=True, slots=True)
class Basis:
    """The basis of findings about one table."""

    mapping: str = ""
    """The digest of the mapping's content; "" where it is not known."""
    eras: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """The number of each item type's era; "" is for all types that have no era of their own."""

    @classmethod
    def of(cls, stages: Stages, table: str, mapping: str) -> Self:
        eras = {each: stages.era(table, each).number for each in stages.types(table)}
        return cls(mapping, MappingProxyType(eras))

    def document(self) -> dict[str, Any]:
        return {"mapping": self.mapping, "eras": dict(self.eras)}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for what is not such a document."""
        eras = {str(each): int(number) for each, number in document["eras"].items()}
        return cls(str(document["mapping"]), MappingProxyType(eras))

    def difference_reason(self, saved: Iterable[Mapping[str, Any] | None]) -> str | None:
        """Why saved work is of another mapping or era; None if all of it is of this basis."""
        for document in saved:
            try:
                basis = type(self).from_document(document or {})
            except (KeyError, TypeError, ValueError):
                return "it does not record its era and mapping"
            if basis != self:
                made = basis.mapping != self.mapping
                return "it was made with another mapping" if made else "the table has begun another era since"
        return None

    def same_mapping(self, other: str) -> bool:
        """Whether the mapping is this one, as far as is known."""
        return not self.mapping or not other or self.mapping == other

    def in_era(self, item_type: str, era: Era) -> bool:
        """Whether the era of a type is this one; for several types (`*`), the latest of their eras."""
        if item_type == SEVERAL_TYPES:
            return max(self.eras.values(), default=0) == era.number
        return self.eras.get(item_type, self.eras.get("", 0)) == era.number


def outdated_reason(basis: Basis | None, eras: Mapping[str, Era], mappings: Iterable[str]) -> str | None:
    """Why a finding on a basis is void, as the end of a sentence; None if it is valid.

    `eras` are the present eras of the types concerned; `mappings` the digests of the mappings that processes use now.
    """
    if basis is None:
        return "it does not record its era and mapping"
    for item_type, era in sorted(eras.items()):
        if not basis.in_era(item_type, era):
            name = f"{item_type} " if item_type else ""
            return f"since then {name}began another era: {era.because or 'the stage table is another one'}"
    if not all(map(basis.same_mapping, mappings)):
        return "it was made with another mapping"
    return None
