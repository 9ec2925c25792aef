"""A listing: the items of an index that pass some filters, in a total order, from a place on. Pure.

DynamoDB has no such operation, and both stores can carry it out: DSQL in one statement, DynamoDB by a Query of the
index with the rest applied to what it gives. So it is an operation of Crossfade's own, in DynamoDB's manner: a request
that is a JSON object, an answer of `Items`, `Count` and `LastEvaluatedKey`.

    TableName, IndexName, Hash      the items of an index with this hash value; the index is sparse, as DynamoDB's are
    Where                           a list, all of which an item passes: {"Attribute", and "From", "To", "Equals"
                                    (values) or "Contains" (a text, looked for as a substring, both folded)}
    Sort, ScanIndexForward          the attribute that orders, and which way; items without it come last, either way;
                                    equal ones stand in the order of the table's key, the same way
    Digits                          {attribute: [precision, scale]}: a Number that does not fit counts as none
    ExclusiveStartKey, Limit        from behind this place on (key, and Sort's value if it had one), at most so many
    Select: "COUNT"                 how many there are, with no regard to a place, and none of them
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from proxy.dynamodb import errors
from proxy.dynamodb.case_folding import fold
from proxy.dynamodb.operations import LISTING as LISTING
from proxy.dynamodb.schema import Index, TableSchema
from proxy.dynamodb.values import Item, Value, equal

MOST: Final = 1000

Comparable = Decimal | str
Place = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """What one attribute is to be. `contains` is folded."""

    attribute: str
    low: Value | None = None
    high: Value | None = None
    equals: Value | None = None
    contains: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """See the module. `limit` is None where they are only counted."""

    schema: TableSchema
    index: Index
    hash_value: Value
    filters: tuple[Filter, ...]
    sort: str
    forward: bool
    start: Item | None
    limit: int | None
    digits: Mapping[str, tuple[int, int]]

    def matches(self, item: Item) -> bool:
        """Whether an item of the index passes all filters."""
        return all(self._passes(item, each) for each in self.filters)

    def sort_position(self, item: Item) -> Place:
        """Where an item (or a start) stands. Places sort as the listing does, backwards if it is not `forward`."""
        value = self._value(self.sort, item.get(self.sort))
        has = value is not None
        key = tuple(self._value(name, item.get(name)) or "" for name in self.schema.key_names)
        return (has != self.forward, value if has else "", *key)

    def beyond(self, item: Item) -> bool:
        """Whether it stands behind the start."""
        if self.start is None:
            return True
        here, start = self.sort_position(item), self.sort_position(self.start)
        return here > start if self.forward else here < start

    def show(self, item: Item | None) -> Item | None:
        """What a page that reaches the item shows of it; None if nothing."""
        if item is None or not self.schema.in_index(self.index, item):
            return None
        if not equal(item[self.index.hashes[0]], self.hash_value):
            return None
        return item if self.matches(item) and self.beyond(item) else None

    def cursor(self, item: Item) -> Item:
        """The start of what comes behind the item."""
        sorted_by = () if self._value(self.sort, item.get(self.sort)) is None else (self.sort,)
        return {name: item[name] for name in (*self.schema.key_names, *sorted_by)}

    def document(self, items: list[Item], *, more: bool) -> dict[str, Any]:
        """A page as it is answered."""
        page: dict[str, Any] = {"Items": items, "Count": len(items)}
        return page | ({"LastEvaluatedKey": self.cursor(items[-1])} if more else {})

    def compares(self, attribute: str) -> Callable[[Value], Any]:
        """By what values of an attribute compare, which must all be of one type."""
        return lambda value: self._value(attribute, value)

    def _passes(self, item: Item, wanted: Filter) -> bool:
        held = item.get(wanted.attribute)
        if held is None:
            return False
        if wanted.equals is not None:
            return equal(held, wanted.equals)
        value = self._value(wanted.attribute, held)
        if wanted.contains is not None:
            return isinstance(value, str) and "S" in held and wanted.contains in fold(value)
        for bound, sign in ((wanted.low, 1), (wanted.high, -1)):
            if bound is None:
                continue
            limit = self._value(wanted.attribute, bound)
            if value is None or limit is None or held.keys() != bound.keys():
                return False
            if (value < limit) if sign > 0 else (value > limit):  # type: ignore[operator]
                return False
        return True

    def _value(self, attribute: str, value: Value | None) -> Comparable | None:
        return comparable(value, self.digits.get(attribute))


def comparable(value: Value | None, digits: tuple[int, int] | None = None) -> Comparable | None:
    """A value as it compares: a Number (that fits the digits, if there are any), or else a text; None for all else."""
    if value is None:
        return None
    if "S" in value:
        return str(value["S"]) if digits is None else None
    if "N" not in value:
        return None
    number = Decimal(value["N"])
    return number if digits is None or _fits(number, *digits) else None


def read_listing(schema: TableSchema, request: Mapping[str, Any]) -> Listing:
    """Raises DynamoDBError, KeyError or TypeError for a request that is none."""
    index = schema.indexes.get(request["IndexName"])
    if index is None:
        raise errors.validation(f"The table does not have the specified index: {request['IndexName']}")
    if len(index.hashes) > 1:
        raise errors.validation(f"A listing is by one hash value; the index {index.name} has {len(index.hashes)}")
    count_only = request.get("Select") == "COUNT"
    limit = None if count_only else int(request["Limit"])
    if limit is not None and not 1 <= limit <= MOST:
        raise errors.validation(f"Limit must be between 1 and {MOST}")
    digits = {name: (int(precision), int(scale)) for name, (precision, scale) in (request.get("Digits") or {}).items()}
    sort, start = request["Sort"], None if count_only else request.get("ExclusiveStartKey")
    if start is not None and comparable(start.get(sort), digits.get(sort)) is None:
        start = {name: value for name, value in start.items() if name != sort}
    return Listing(
        schema,
        index,
        request["Hash"],
        tuple(_filter(each) for each in request.get("Where") or ()),
        sort,
        request.get("ScanIndexForward", True) is not False,
        start,
        limit,
        digits,
    )


def _filter(term: Mapping[str, Any]) -> Filter:
    contains = term.get("Contains")
    return Filter(
        term["Attribute"],
        term.get("From"),
        term.get("To"),
        term.get("Equals"),
        None if contains is None else fold(contains),
    )


def _fits(number: Decimal, precision: int, scale: int) -> bool:
    """Whether a SQL numeric of this precision and scale holds the number as it is."""
    if number.as_tuple().exponent < -scale and number != round(number, scale):  # type: ignore[operator]
        return False
    return not number or number.adjusted() < precision - scale
