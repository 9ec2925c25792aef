"""The result of comparing two outcomes: differences, what follows from them, and what must be read by key.

Holds the result only; `outcomes`, `pages` and `batches` build it.
"""

from dataclasses import dataclass, field

from comparators.canonical_forms import canonical_form
from comparators.difference import Difference, Item
from comparators.items import compare_items
from comparators.pairing import key_of
from comparators.shapes import ItemShape


@dataclass(frozen=True, slots=True)
class ItemPair:
    """One item as each of the two answers shows it."""

    key: Item | None
    """The table key; None if a projection dropped its attributes."""
    authority: Item | None
    """The item in the authority's answer; None if it is not there."""
    mirror: Item | None
    """The item in the mirror's answer; None if it is not there."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of two outcomes."""

    differences: tuple[Difference, ...] = ()
    """Where they disagree."""
    notes: tuple[Difference, ...] = ()
    """What differs and is evidence for nothing: an order or a boundary inside a group of equal sort keys (`tie`), or a
    page that ends elsewhere because of a difference already listed or a tie (`boundary`). Count these, but never hold
    them against the mirror."""
    differing: tuple[ItemPair, ...] = ()
    """The items that the differences are about."""
    undecided: tuple[ItemPair, ...] = ()
    """Items that one page shows and the other need not show, because it began or ended inside their group of equal sort
    keys, or anywhere in an answer without order. Read them by key from the store whose side is None and compare again:
    nothing else decides."""
    compared: int = 0
    """How many items were in both answers and were compared."""
    uncompared: int = 0
    """How many items could not be compared: a batch left them unprocessed, or they are undecided and show no key."""

    @property
    def agreed(self) -> bool:
        """Whether nothing differs and nothing has to be read by key."""
        return not self.differences and not self.undecided

    def keys(self) -> tuple[Item, ...]:
        """Return the table keys to read again before a verdict, each once."""
        known = (found.key for group in (self.differences, self.differing, self.undecided) for found in group)
        return tuple({canonical_form({"M": key}): key for key in known if key is not None}.values())


@dataclass(slots=True)
class ComparisonBuilder:
    """A comparison under construction, owned by the one function that builds it."""

    differences: list[Difference] = field(default_factory=list)
    notes: list[Difference] = field(default_factory=list)
    differing: list[ItemPair] = field(default_factory=list)
    undecided: list[ItemPair] = field(default_factory=list)
    compared: int = 0
    uncompared: int = 0

    def compare(
        self, authority: Item | None, mirror: Item | None, shape: ItemShape, within: str
    ) -> tuple[Difference, ...]:
        """Compare one item, None on a side whose answer lacks it. Returns the differences, and keeps them.

        `within` is the place of the item in the answer, as in `Difference`.
        """
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
        """Return the finished comparison."""
        return Comparison(
            tuple(self.differences),
            tuple(self.notes),
            tuple(self.differing),
            tuple(self.undecided),
            self.compared,
            self.uncompared,
        )
