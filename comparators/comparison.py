"""What comparing two whole outcomes gives: differences, what follows from them, and what must be read by key.

Holds the result only; `outcomes`, `pages` and `batches` make it.
"""

from dataclasses import dataclass, field

from comparators.canonical_forms import canonical_form
from comparators.difference import Difference, Item
from comparators.items import compare_items
from comparators.pairing import key_of
from comparators.shapes import ItemShape


@dataclass(frozen=True, slots=True)
class ItemPair:
    """What each answer holds of one item. `key` is None where a projection dropped the key attributes."""

    key: Item | None
    authority: Item | None
    mirror: Item | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two outcomes, compared.

    `differences`  what disagrees.
    `notes`        what differs and says nothing by itself: an order or a boundary inside a group of equal sort keys
                   (`tie`), a page that ends elsewhere because of something already in `differences` or in a tie
                   (`boundary`). To be counted, never to be held against the mirror.
    `differing`    the items the differences are about; a side is None where that answer lacks the item.
    `undecided`    items that one page shows and the other need not show, because it ended or began inside their group
                   of equal sort keys, or elsewhere in an unordered answer. Read them by key from the side that is None
                   and compare those: only that tells.
    `compared`     how many items stood in both answers and were compared.
    `uncompared`   how many could not be: unprocessed by a batch, or undecided and without a key to read them by.
    """

    differences: tuple[Difference, ...] = ()
    notes: tuple[Difference, ...] = ()
    differing: tuple[ItemPair, ...] = ()
    undecided: tuple[ItemPair, ...] = ()
    compared: int = 0
    uncompared: int = 0

    @property
    def agreed(self) -> bool:
        """True where nothing differs and nothing waits to be read by key."""
        return not self.differences and not self.undecided

    def keys(self) -> tuple[Item, ...]:
        """The table keys to read again before a verdict, each once."""
        known = (found.key for group in (self.differences, self.differing, self.undecided) for found in group)
        return tuple({canonical_form({"M": key}): key for key in known if key is not None}.values())


@dataclass(slots=True)
class ComparisonBuilder:
    """A comparison while it is being made; belongs to the one function that makes it."""

    differences: list[Difference] = field(default_factory=list)
    notes: list[Difference] = field(default_factory=list)
    differing: list[ItemPair] = field(default_factory=list)
    undecided: list[ItemPair] = field(default_factory=list)
    compared: int = 0
    uncompared: int = 0

    def compare(
        self, authority: Item | None, mirror: Item | None, shape: ItemShape, within: str
    ) -> tuple[Difference, ...]:
        """Compare one item as both answers hold it, None where one does not; keep and return the differences."""
        self.compared += authority is not None and mirror is not None
        if authority == mirror:
            return ()
        shown = authority or mirror or {}
        key = key_of(shown, shape.key)
        found = compare_items(authority, mirror, shape.rules(shown), within=within, key=key)
        if found:
            self.differences += found
            self.differing.append(ItemPair(key, authority, mirror))
        return found

    def build(self) -> Comparison:
        return Comparison(
            tuple(self.differences),
            tuple(self.notes),
            tuple(self.differing),
            tuple(self.undecided),
            self.compared,
            self.uncompared,
        )
