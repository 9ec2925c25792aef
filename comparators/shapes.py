"""What a comparison must be told about an operation: whose items it answers with, in which order, from where on.

The comparators know no schemas; whoever decoded the operation says here what matters of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from comparators.difference import Item
from comparators.rules import Picker


@dataclass(frozen=True, slots=True)
class ItemShape:
    """The items of one table, or one of them: GetItem, PutItem, UpdateItem, DeleteItem.

    `key`    the names of the table's key attributes.
    `rules`  chooses the rules for an item. It sees the item as answered, which may be a part of it.
    """

    key: tuple[str, ...]
    rules: Picker


@dataclass(frozen=True, slots=True)
class PageShape:
    """One page of a Query or a Scan.

    `items`    the table's items.
    `sort`     the attribute the page is ordered by: the sort key of the table or index that is queried. None where
               no order is promised: every Scan, and a Query on an index without a sort key.
    `ties`     whether two items in the queried range may have equal sort keys. False only for a Query on the table
               itself, whose key is unique.
    `forward`  ScanIndexForward.
    `start`    ExclusiveStartKey, None for a first page.
    `segment`  whether it is one segment of a parallel Scan: stores divide their items differently, so that no item
               need be in the same segment of both.
    `limit`    Limit, None without one: a page with a cursor that ends before it has ended at 1 MB.
    `then`     the attributes that order what `sort` leaves equal, where such an order is promised: with `ties` False.
    """

    items: ItemShape
    sort: str | None
    ties: bool = True
    forward: bool = True
    start: Item | None = None
    segment: bool = False
    limit: int | None = None
    then: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TablesShape:
    """Items of several tables, in no order: BatchGetItem, BatchWriteItem. Tables as the operation names them."""

    tables: Mapping[str, ItemShape]


@dataclass(frozen=True, slots=True)
class ListShape:
    """One item for each action, in their order: TransactGetItems, TransactWriteItems."""

    items: tuple[ItemShape, ...]


Shape: TypeAlias = ItemShape | PageShape | TablesShape | ListShape
