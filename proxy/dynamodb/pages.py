"""Pages of Query and Scan, from items that come in order: filter after limit, 1 MB, cursor. Pure.

Sources: API reference, "Query" and "Scan"; developer guide, "Paginating table query results", "Filter expressions for
the Query operation".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.dynamodb import errors
from proxy.dynamodb.expressions import evaluate
from proxy.dynamodb.expressions.ast import Condition, Path, condition_paths, top_level
from proxy.dynamodb.expressions.key_conditions import KeyCondition, assemble_key_condition
from proxy.dynamodb.requests.page_parameters import PageParameters, read_page_parameters
from proxy.dynamodb.schema import Index, TableSchema
from proxy.dynamodb.sizes import MAX_PAGE_SIZE, item_size
from proxy.dynamodb.values import Item, Value, binary, equal, order


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A Query (with `condition`) or Scan (without), read from its parameters."""

    schema: TableSchema
    index: Index | None
    condition: KeyCondition | None
    filter: Condition | None
    projection: tuple[Path, ...] | None
    count_only: bool
    all_attributes: bool
    forward: bool
    limit: int | None
    start: Item | None
    segment: int | None
    segments: int | None
    kept: frozenset[str] | None
    """The attributes that the index holds of an item; None for all."""

    @property
    def fetches(self) -> bool:
        """Whether each item is fetched from the table, for attributes that its local index does not hold."""
        if self.kept is None or self.count_only:
            return False
        return self.all_attributes or not top_level(self.projection or ()) <= self.kept

    def admits(self, item: Item) -> bool:
        """Whether the item lies in the range asked for (the hash value is the store's to match)."""
        condition = self.condition
        if condition is None or condition.operator is None:
            return True
        *fixed, last = self.schema.index_keys(self.index)[1][: len(condition.fixed) + 1]
        if not _all_equal(item, fixed, condition.fixed):
            return False
        value = item.get(last)
        return value is not None and in_range(value, condition)

    def show(self, item: Item | None) -> Item | None:
        """What a page that reaches the item shows of it; None if it shows nothing."""
        if item is None or not self.admits(item):
            return None
        if self.index is not None and not self.schema.in_index(self.index, item):
            return None
        if self.condition is not None:
            names = self.schema.index_keys(self.index)[0]
            if not _all_equal(item, names, self.condition.hash_values):
                return None
        held = self.held(item)
        if self.filter is not None and not evaluate.matches(self.filter, held):
            return None
        return self.projected(item, held)

    def held(self, item: Item) -> Item:
        """What of an item is in the index (or table): what a filter sees, and what counts towards 1 MB."""
        kept = self.kept
        return item if kept is None else {name: value for name, value in item.items() if name in kept}

    def projected(self, item: Item, held: Item) -> Item:
        """The attributes asked for. Only a local index fetches from the table those that it does not hold."""
        if self.projection is not None:
            return evaluate.project(self.projection, item)
        return item if self.all_attributes else held


class Page:
    """A page in the making: `add` items in order until it says stop, then take the `document`."""

    __slots__ = (
        "_at_most",
        "_count",
        "_fetched",
        "_items",
        "_last",
        "_request",
        "_scanned",
        "_size",
        "_unsized",
        "full",
    )

    def __init__(self, request: PageRequest) -> None:
        self._request = request
        self._items: list[Item] = []
        self._count = 0
        self._scanned = 0
        self._size = 0
        self._unsized: list[Item] = []
        self._at_most = 0
        self._last: Item | None = None
        self._fetched: list[Item] | None = [] if request.fetches else None
        self.full = False

    def add(self, item: Item) -> None:
        """Take the next item, or leave it for the next page. Once `full`, nothing more may be added.

        A page is of "1 MB in size (or less)" ("Paginating table query results"); no item alone is larger.
        """
        request = self._request
        held = request.held(item)
        if not self._fits(held):
            self.full = True
            return
        self._scanned += 1
        self._last = item
        if self._fetched is not None:
            self._fetched.append(item)
        if request.filter is None or evaluate.matches(request.filter, held):
            self._count += 1
            if not request.count_only:
                self._items.append(request.projected(item, held))
        self.full = self._scanned == request.limit

    def _fits(self, held: Item) -> bool:
        """Whether the page holds no more than it may with this item.

        An item's JSON is longer than what is counted of the item, and is made ten times as fast as that is counted: so
        nothing is counted until the JSON of what has come would be too much for a page.
        """
        self._unsized.append(held)
        self._at_most += len(orjson.dumps(held))
        if self._size + self._at_most > MAX_PAGE_SIZE:
            self._size += sum(map(item_size, self._unsized))
            self._unsized.clear()
            self._at_most = 0
        return self._size <= MAX_PAGE_SIZE

    @property
    def size(self) -> int:
        """Bytes of all that was scanned, as far as a page goes: what it consumes capacity for."""
        return min(MAX_PAGE_SIZE, self._size + sum(map(item_size, self._unsized)))

    def fetched_sizes(self) -> list[int]:
        """The bytes of each item that was fetched from the table, whole as it is read there ("Local Secondary Indexes",
        Read capacity units)."""
        return [item_size(item) for item in self._fetched or ()]

    def document(self) -> dict[str, Any]:
        """The answer. A page that stopped at its limit has a cursor even if nothing follows, as DynamoDB's has."""
        document: dict[str, Any] = {"Count": self._count, "ScannedCount": self._scanned}
        if not self._request.count_only:
            document["Items"] = self._items
        if self.full and self._last is not None:
            document["LastEvaluatedKey"] = self._cursor(self._last)
        return document

    def _cursor(self, item: Item) -> dict[str, Value]:
        request = self._request
        if request.condition is not None:
            hashes, _ = request.schema.index_keys(request.index)
            item = dict(zip(hashes, request.condition.hash_values, strict=True)) | item
        return request.schema.cursor(request.index, item)


def read_query(schema: TableSchema, parameters: Mapping[str, Any]) -> PageRequest:
    """Raises ValidationException."""
    given = read_page_parameters("Query", parameters)
    index = _index(schema, given)
    hashes, ranges = schema.index_keys(index)
    assert given.key_terms is not None
    condition = assemble_key_condition(
        given.key_terms,
        [(name, schema.types[name]) for name in hashes],
        [(name, schema.types[name]) for name in ranges],
    )
    if given.filter is not None:
        for name in sorted(top_level(condition_paths(given.filter)).intersection((*hashes, *ranges))):
            raise errors.validation(
                f"{given.filter_member} can only contain non-primary key attributes: Primary key attribute: {name}"
            )
    page = _page_request(schema, index, condition, given)
    _check_filter_projected(page)
    _check_start_in_range(page)
    return page


def read_scan(schema: TableSchema, parameters: Mapping[str, Any]) -> PageRequest:
    """Raises ValidationException."""
    given = read_page_parameters("Scan", parameters)
    return _page_request(schema, _index(schema, given), None, given)


def in_range(value: Value, condition: KeyCondition) -> bool:
    """Whether a sort key's value meets the range condition."""
    operator, operands = condition.operator, condition.operands
    if operator is None:
        return True
    if operator == "begins_with":
        tag = next(iter(operands[0]))
        if tag not in value:
            return False
        return _bytes(value, tag).startswith(_bytes(operands[0], tag))
    if operator == "BETWEEN":
        low, high = order(value, operands[0]), order(value, operands[1])
        return low is not None and high is not None and low >= 0 >= high
    way = order(value, operands[0])
    if way is None:
        return False
    return {"=": way == 0, "<": way < 0, "<=": way <= 0, ">": way > 0, ">=": way >= 0}[operator]


def _all_equal(item: Item, names: Sequence[str], values: Sequence[Value]) -> bool:
    return all(name in item and equal(item[name], value) for name, value in zip(names, values, strict=True))


def _bytes(value: Value, tag: str) -> bytes:
    return binary(value["B"]) if tag == "B" else str(value[tag]).encode()


def _index(schema: TableSchema, given: PageParameters) -> Index | None:
    name = given.index_name
    if name is None:
        return None
    index = schema.indexes.get(name)
    if index is None:
        raise errors.validation(f"The table does not have the specified index: {name}")
    if given.consistent and not index.local:
        raise errors.validation("Consistent reads are not supported on global secondary indexes")
    return index


def _page_request(
    schema: TableSchema, index: Index | None, condition: KeyCondition | None, given: PageParameters
) -> PageRequest:
    _check_projected(schema, index, given)
    return PageRequest(
        schema=schema,
        index=index,
        condition=condition,
        filter=given.filter,
        projection=given.projection,
        count_only=given.select == "COUNT",
        all_attributes=given.select == "ALL_ATTRIBUTES",
        forward=given.forward,
        limit=given.limit,
        start=None if given.start is None else _start(schema, index, given.start),
        segment=given.segment,
        segments=given.segments,
        kept=None if index is None else schema.held_names(index),
    )


def _check_projected(schema: TableSchema, index: Index | None, given: PageParameters) -> None:
    """What a global index does not hold cannot be asked for."""
    if index is None or index.local or index.projected is None:
        return
    invalid = "One or more parameter values were invalid: "
    if given.select == "ALL_ATTRIBUTES":
        raise errors.validation(
            f"{invalid}Select type ALL_ATTRIBUTES is not supported for global "
            f"secondary index {index.name} because its projection type is not ALL"
        )
    missing = sorted(top_level(given.projection or ()) - (schema.held_names(index) or frozenset()))
    if missing:
        raise errors.validation(f"{invalid}Global secondary index {index.name} does not project [{', '.join(missing)}]")


def _check_filter_projected(page: PageRequest) -> None:
    """A Query refuses a filter on what its index does not hold; a Scan finds it missing."""
    if page.filter is None or page.kept is None or page.index is None:
        return
    missing = sorted(top_level(condition_paths(page.filter)) - page.kept)
    if missing:
        raise errors.validation(
            f"One or more parameter values were invalid: Secondary index {page.index.name} does not project one or "
            f"more filter attributes: [{', '.join(missing)}]"
        )


def _check_start_in_range(page: PageRequest) -> None:
    """A start key that no page of this Query can have ended with."""
    if page.start is None or page.condition is None:
        return
    if not page.admits(page.start):
        raise errors.validation("The provided starting key does not match the range key predicate")
    if not _all_equal(page.start, page.schema.index_keys(page.index)[0], page.condition.hash_values):
        raise errors.validation("The provided starting key is outside query boundaries based on provided conditions")


def _start(schema: TableSchema, index: Index | None, start: Item) -> Item:
    wanted = set(schema.key_names)
    if index is not None:
        wanted |= set(index.key_names)
    if set(start) != wanted or any(schema.types[name] not in start[name] for name in wanted):
        raise errors.validation("The provided starting key is invalid")
    return start
