"""What comparing two whole outcomes gives: differences, what follows from them, and what must be read by key.

Holds the result only; `outcomes`, `pages` and `batches` make it.
"""

from dataclasses import dataclass

from comparators.difference import Difference, Item


@dataclass(frozen=True, slots=True)
class Entry:
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
    differing: tuple[Entry, ...] = ()
    undecided: tuple[Entry, ...] = ()
    compared: int = 0
    uncompared: int = 0

    @property
    def agreed(self) -> bool:
        """True where nothing differs and nothing waits to be read by key."""
        return not self.differences and not self.undecided

    def keys(self) -> tuple[Item, ...]:
        """The table keys to read again before a verdict, each once, in the order found."""
        found: list[Item] = []
        for entry in (*self.differing, *self.undecided):
            if entry.key is not None and entry.key not in found:
                found.append(entry.key)
        return tuple(found)
