"""The shape of an operation's outcome: whose items it shows, in which order, from where on.

The comparators know no schemas: the caller, which has decoded the operation, describes it by a shape.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from comparators.difference import Item
from comparators.rules import Picker


@dataclass(frozen=True, slots=True)
class ItemShape:
    """The shape of one table's items: GetItem, PutItem, UpdateItem, DeleteItem, and part of the other shapes."""

    key: tuple[str, ...]
    """The names of the table's key attributes."""
    rules: Picker
    """Chooses the rules for an item. It gets the item as answered, which may be only a part of it."""


@dataclass(frozen=True, slots=True)
class PageShape:
    """The shape of one page of a Query or a Scan."""

    items: ItemShape
    """The shape of the table's items."""
    sort: tuple[str, ...]
    """The attributes that order the page, one after another: the sort key of the table or index that is queried. Empty
    if no order is promised: for every Scan, and for a Query on an index without a sort key."""
    ties: bool = True
    """Whether two items in the queried range may have equal sort keys. False only for a Query on the table itself,
    whose key is unique, and together with `then`."""
    forward: bool = True
    """ScanIndexForward."""
    start: Item | None = None
    """ExclusiveStartKey; None for a first page."""
    segment: bool = False
    """Whether it is one segment of a parallel Scan: the stores divide their items differently, so that an item may
    be in different segments of the two."""
    limit: int | None = None
    """Limit, if there is one. A page with a cursor that ends before its limit has ended at 1 MB."""
    then: tuple[str, ...] = ()
    """The attributes that order items with equal `sort`, if such an order is promised; `ties` is then False."""


@dataclass(frozen=True, slots=True)
class TablesShape:
    """The shape of items of several tables, in no order: BatchGetItem, BatchWriteItem."""

    tables: Mapping[str, ItemShape]
    """By table, as the operation names it."""


@dataclass(frozen=True, slots=True)
class ListShape:
    """The shape of one item for each action, in their order: TransactGetItems, TransactWriteItems."""

    items: tuple[ItemShape, ...]


Shape: TypeAlias = ItemShape | PageShape | TablesShape | ListShape
