"""Pages of Query and Scan, from items that come in order: filter after limit, 1 MB, cursor. Pure.

Sources: API reference, "Query" and "Scan"; developer guide, "Paginating table query results", "Filter expressions for
the Query operation".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from typing import Literal as OneOf

import orjson

from proxy.dynamodb import errors
from proxy.dynamodb.expressions import evaluate
from proxy.dynamodb.expressions import legacy_parameters as legacy
from proxy.dynamodb.expressions.ast import Condition, Path, condition_paths, top_level
from proxy.dynamodb.expressions.key_conditions import KeyCondition, key_condition
from proxy.dynamodb.expressions.parse import parse_filter, parse_key_condition, parse_projection
from proxy.dynamodb.expressions.placeholders import Bindings, bindings
from proxy.dynamodb.schema import Index, TableSchema
from proxy.dynamodb.sizes import MAX_PAGE_SIZE, item_size
from proxy.dynamodb.values import Item, Value, binary, canonical_item, equal, order

_MEMBERS: Final = frozenset(
    {
        "AttributesToGet",
        "ConditionalOperator",
        "ConsistentRead",
        "ExclusiveStartKey",
        "ExpressionAttributeNames",
        "ExpressionAttributeValues",
        "FilterExpression",
        "IndexName",
        "Limit",
        "ProjectionExpression",
        "Select",
    }
)
# What Query and Scan have of their own. DynamoDB takes no notice of the other's, or of anything else.
_QUERY_MEMBERS: Final = _MEMBERS | {"KeyConditionExpression", "KeyConditions", "QueryFilter", "ScanIndexForward"}
_SCAN_MEMBERS: Final = _MEMBERS | {"ScanFilter", "Segment", "TotalSegments"}
_SELECTS: Final = frozenset({"ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES", "SPECIFIC_ATTRIBUTES", "COUNT"})


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

    def admits(self, item: Item) -> bool:
        """Whether the item lies in the range asked for (the hash value is the store's to match)."""
        if self.condition is None or self.condition.operator is None:
            return True
        name = self.schema.index_keys(self.index)[1]
        value = item.get(name) if name is not None else None
        return value is not None and in_range(value, self.condition)

    def show(self, item: Item | None) -> Item | None:
        """What a page that reaches the item shows of it; None if it shows nothing."""
        if item is None or not self.admits(item):
            return None
        if self.index is not None and not self.schema.in_index(self.index, item):
            return None
        if self.condition is not None:
            name = self.schema.index_keys(self.index)[0]
            if name not in item or not equal(item[name], self.condition.hash_value):
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

    __slots__ = ("_at_most", "_count", "_items", "_last", "_request", "_scanned", "_size", "_unsized", "full")

    def __init__(self, request: PageRequest) -> None:
        self._request = request
        self._items: list[Item] = []
        self._count = 0
        self._scanned = 0
        self._size = 0
        self._unsized: list[Item] = []
        self._at_most = 0
        self._last: Item | None = None
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
        hash_name, _ = request.schema.index_keys(request.index)
        if request.condition is not None and hash_name not in item:
            item = {**item, hash_name: request.condition.hash_value}
        return request.schema.cursor(request.index, item)


def read_query(schema: TableSchema, parameters: Mapping[str, Any]) -> PageRequest:
    """Raises ValidationException."""
    request = {name: value for name, value in parameters.items() if name in _QUERY_MEMBERS}
    index = _index(schema, request)
    hash_name, range_name = schema.index_keys(index)
    hash_key = (hash_name, schema.types[hash_name])
    range_key = None if range_name is None else (range_name, schema.types[range_name])
    text = request.get("KeyConditionExpression")
    given = _bindings(request, "KeyConditionExpression")
    if text is not None:
        condition = key_condition(parse_key_condition(text, given), hash_key, range_key)
    elif request.get("KeyConditions") is not None:
        condition = legacy.key_condition_from_conditions(request["KeyConditions"], hash_key, range_key)
    else:
        raise errors.validation(
            "Either the KeyConditions or KeyConditionExpression parameter must be specified in the request."
        )
    chosen = _filter(request, given, "queryFilter")
    if chosen is not None:
        named = "QueryFilter" if request.get("FilterExpression") is None else "Filter Expression"
        for name in sorted(top_level(condition_paths(chosen)) & {hash_name, range_name or hash_name}):
            raise errors.validation(
                f"{named} can only contain non-primary key attributes: Primary key attribute: {name}"
            )
    page = _page_request(schema, index, condition, chosen, request, given)
    _check_filter_projected(page)
    _check_start_in_range(page)
    return page


def read_scan(schema: TableSchema, parameters: Mapping[str, Any]) -> PageRequest:
    """Raises ValidationException."""
    request = {name: value for name, value in parameters.items() if name in _SCAN_MEMBERS}
    index = _index(schema, request)
    given = _bindings(request)
    return _page_request(schema, index, None, _filter(request, given, "scanFilter"), request, given)


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


def _bytes(value: Value, tag: str) -> bytes:
    return binary(value["B"]) if tag == "B" else str(value[tag]).encode()


def _bindings(request: Mapping[str, Any], *more: str) -> Bindings:
    """The request's names and values, once it is clear that its parameters go together."""
    accepted = (*more, "FilterExpression", "ProjectionExpression")
    legacy.refuse_mixture(request, [name for name in accepted if request.get(name) is not None])
    legacy.refuse_idle_bindings(request, accepted)
    return bindings(request.get("ExpressionAttributeNames"), request.get("ExpressionAttributeValues"))


def _index(schema: TableSchema, request: Mapping[str, Any]) -> Index | None:
    name = request.get("IndexName")
    if name is None:
        return None
    index = schema.indexes.get(name)
    if index is None:
        raise errors.validation(f"The table does not have the specified index: {name}")
    if request.get("ConsistentRead") and not index.local:
        raise errors.validation("Consistent reads are not supported on global secondary indexes")
    return index


def _filter(
    request: Mapping[str, Any], given: Bindings, parameter: OneOf["queryFilter", "scanFilter"]
) -> Condition | None:
    if request.get("FilterExpression") is not None:
        return parse_filter(request["FilterExpression"], given)
    conditions = request.get(parameter[0].upper() + parameter[1:])
    if conditions:
        return legacy.condition_from_filter(conditions, request.get("ConditionalOperator"), parameter=parameter)
    return None


def _page_request(
    schema: TableSchema,
    index: Index | None,
    condition: KeyCondition | None,
    chosen: Condition | None,
    request: Mapping[str, Any],
    given: Bindings,
) -> PageRequest:
    projection = None
    if request.get("ProjectionExpression") is not None:
        projection = parse_projection(request["ProjectionExpression"], given).paths
    elif request.get("AttributesToGet") is not None:
        projection = legacy.paths_from_attributes_to_get(request["AttributesToGet"])
    given.check_all_used()
    select = request.get("Select")
    _check_select(select, index, request, projection)
    limit = request.get("Limit")
    if limit is not None and limit < 1:
        raise errors.validation(
            f"1 validation error detected: Value '{limit}' at 'limit' failed to satisfy constraint: "
            "Member must have value greater than or equal to 1"
        )
    kept = None if index is None else schema.held_names(index)
    if kept is not None and index is not None and projection is not None and not index.local:
        missing = sorted(top_level(projection) - kept)
        if missing:
            raise errors.validation(
                "One or more parameter values were invalid: "
                f"Global secondary index {index.name} does not project [{', '.join(missing)}]"
            )
    segment, segments = _segments(request)
    start = request.get("ExclusiveStartKey")
    return PageRequest(
        schema=schema,
        index=index,
        condition=condition,
        filter=chosen,
        projection=projection,
        count_only=select == "COUNT",
        all_attributes=select == "ALL_ATTRIBUTES",
        forward=request.get("ScanIndexForward", True) is not False,
        limit=limit,
        start=None if start is None else _start(schema, index, canonical_item(start)),
        segment=segment,
        segments=segments,
        kept=kept,
    )


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
    if not equal(page.start[page.schema.index_keys(page.index)[0]], page.condition.hash_value):
        raise errors.validation("The provided starting key is outside query boundaries based on provided conditions")


def _check_select(
    select: str | None, index: Index | None, request: Mapping[str, Any], projection: tuple[Path, ...] | None
) -> None:
    if select is None:
        return
    if select not in _SELECTS:
        raise errors.validation(
            f"1 validation error detected: Value '{select}' at 'select' failed to satisfy constraint: Member must "
            "satisfy enum value set: [SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES]"
        )
    if projection is not None and select != "SPECIFIC_ATTRIBUTES":
        named = "AttributesToGet" if request.get("ProjectionExpression") is None else "ProjectionExpression"
        wanted = "only the Count" if select == "COUNT" else select
        raise errors.validation(f"Cannot specify the {named} when choosing to get {wanted}")
    if select == "ALL_PROJECTED_ATTRIBUTES" and index is None:
        raise errors.validation("ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName")
    if projection is None and select == "SPECIFIC_ATTRIBUTES":
        raise errors.validation(
            "Must specify the AttributesToGet or ProjectionExpression when choosing to get SPECIFIC_ATTRIBUTES"
        )
    if select == "ALL_ATTRIBUTES" and index is not None and index.projected is not None and not index.local:
        raise errors.validation(
            "One or more parameter values were invalid: Select type ALL_ATTRIBUTES is not supported for global "
            f"secondary index {index.name} because its projection type is not ALL"
        )


def _segments(request: Mapping[str, Any]) -> tuple[int | None, int | None]:
    segment, segments = request.get("Segment"), request.get("TotalSegments")
    if segments is not None and segment is None:
        raise errors.validation(
            "The Segment parameter is required but was not present in the request when parameter TotalSegments "
            "is present"
        )
    if segment is not None and segments is None:
        raise errors.validation(
            "The TotalSegments parameter is required but was not present in the request when Segment parameter "
            "is present"
        )
    if segment is not None and segments is not None and segment >= segments:
        raise errors.validation(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments: "
            f"Segment: {segment} is not less than TotalSegments: {segments}"
        )
    return segment, segments


def _start(schema: TableSchema, index: Index | None, start: Item) -> Item:
    wanted = set(schema.key_names)
    if index is not None:
        wanted |= {name for name in (index.hash, index.range) if name is not None}
    if set(start) != wanted or any(schema.types[name] not in start[name] for name in wanted):
        raise errors.validation(
            "The provided starting key is invalid: The provided key element does not match the schema"
        )
    return start
