"""Ranges of rows: what SQL fetches the next rows of a Query or Scan, from its start key or from the last row on.

Knows mappings and statements, and sends nothing: a `Ranged` is asked for a statement and told which rows came of it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.dynamodb.pages import PageRequest
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Value, binary
from proxy.mapping.interface import Fault, IndexRange
from proxy.stores.dsql.sql.statements import Comparison, Statements
from proxy.stores.errors import Refused
from proxy.stores.interface import Unrepresentable

SEGMENT_ROWS: Final = 10_000
"""So many rows one statement looks at for a segment's."""


@dataclass(frozen=True, slots=True)
class RangeQuery:
    """One range. `order` are the columns whose values of the last row are where the next rows begin."""

    order: tuple[str, ...]
    _statements: Statements
    _request: PageRequest
    _span: IndexRange | None
    _alternatives: int
    _bounds: tuple[tuple[str, Comparison], ...]
    _fixed: tuple[Any, ...]

    def next(self, after: tuple[Any, ...] | None, count: int) -> tuple[str, tuple[Any, ...]]:
        """The statement for so many rows after these values of `order` (None: from the beginning), and parameters."""
        segments = _segments(self._request)
        if self._span is None:
            sql = self._statements.scan(segmented=bool(segments), cursor=after is not None)
        else:
            sql = self._statements.range(
                self._span,
                self._alternatives,
                self._bounds,
                cursor=after is not None,
                descending=not self._request.forward,
                segmented=bool(segments),
            )
        looked_at = (max(count, SEGMENT_ROWS),) if segments else ()
        return sql, (*self._fixed, *(after or ()), *segments, *looked_at, count)

    @property
    def segmented(self) -> bool:
        """Whether rows have SEGMENT_MINE and SEGMENT_END beside them."""
        return bool(_segments(self._request))

    def start_with(self, told: dict[str, Any]) -> tuple[Any, ...] | None:
        """The request's start key as values of `order`, None where it has none; `told` are columns that its row told.

        Raises KeyError with a column that only the row tells, and Unrepresentable for a key that no row can have.
        """
        request, span = self._request, self._span
        if request.start is None:
            return None
        key = request.schema.key_of(request.start)
        mapping = self._statements.mapping
        key_values = mapping.key_values(key)
        if key_values is None:
            raise Unrepresentable(key, (Fault(request.schema.hash, "no row can have the start key"),))
        by_column = {**told, **dict(zip(mapping.key_columns, key_values, strict=True))}
        if span is not None and any(name not in by_column for name in span.scanned):
            by_column = _scanned_from(span, request, key) | by_column
        for number, sort in enumerate(span.sorts if span is not None else ()):
            if sort.name in by_column:
                continue
            if span is not None and span.sort_from_row:
                raise KeyError(sort.name)
            range_name = request.schema.index_keys(request.index)[1][number]
            value = sort.operand(request.start[range_name])
            if value is None:
                raise Unrepresentable(key, (Fault(range_name, "the start key's sort value fits no row"),))
            by_column[sort.name] = value
        return tuple(by_column[name] for name in self.order)


def _scanned_from(span: IndexRange, request: PageRequest, key: Key) -> dict[str, Any]:
    """The columns of the hash attributes, from the start key. Raises KeyError with one that only the row tells."""
    hashes = request.schema.index_keys(request.index)[0]
    alternatives = span.hash_values([(request.start or {})[name] for name in hashes])
    if alternatives is None:
        raise Unrepresentable(key, (Fault(hashes[0], "the start key's hash value fits no row"),))
    if len(alternatives) > 1:
        raise KeyError(span.scanned[0])
    return dict(zip(span.scanned, alternatives[0], strict=True))


def range_query(statements: Statements, request: PageRequest) -> RangeQuery | None:
    """The range of a request; None where no row can be in it. Raises Refused for an index that nothing serves."""
    mapping = statements.mapping
    if request.condition is None and request.index is None:
        return RangeQuery(mapping.key_columns, statements, request, None, 1, (), ())
    try:
        span = mapping.span(request.index)
    except KeyError:
        name = request.index.name if request.index is not None else ""
        raise Refused("unserved_index", f"the mapping serves no index {name!r}") from None
    alternatives: Sequence[tuple[Any, ...]] | None = ((),)
    if request.condition is None:
        span = span.whole()
    else:
        alternatives = span.hash_values(request.condition.hash_values)
    if alternatives is None:
        return None
    bounds = _bounds(request, span)
    return RangeQuery(
        statements.order_columns(span),
        statements,
        request,
        span,
        len(alternatives),
        tuple((column, comparison) for column, comparison, _ in bounds),
        (*(value for values in alternatives for value in values), *(value for _, _, value in bounds)),
    )


def _segments(request: PageRequest) -> tuple[int, ...]:
    """How many segments, and which; empty for a whole Scan and for every Query."""
    if request.segments is None or request.segment is None:
        return ()
    return request.segments, request.segment


def _bounds(request: PageRequest, span: IndexRange) -> list[tuple[str, Comparison, Any]]:
    """The range conditions as bounds on the sort columns. Leaving one out is safe: the page checks each item."""
    condition = request.condition
    if condition is None or condition.operator is None or span.sort_from_row or not span.sorts:
        return []
    *fixed, last = span.sorts[: len(condition.fixed) + 1]
    found: list[tuple[str, Comparison, Any]] = [
        (sort.name, "=", sort.operand(value)) for sort, value in zip(fixed, condition.fixed, strict=True)
    ]
    operands = [last.operand(operand) for operand in condition.operands]
    wanted: list[tuple[Comparison, Any]]
    if condition.operator == "BETWEEN":
        wanted = [(">=", operands[0]), ("<=", operands[1])]
    elif condition.operator == "begins_with":
        following = _after_prefix(condition.operands[0])
        wanted = [(">=", operands[0]), ("<", None if following is None else last.operand(following))]
    else:
        comparison: Comparison = condition.operator  # type: ignore[assignment]
        wanted = [(comparison, operands[0])]
    found.extend((last.name, comparison, value) for comparison, value in wanted)
    return [bound for bound in found if bound[2] is not None]


def _after_prefix(prefix: Value) -> Value | None:
    """The least value after all that begin with the prefix, or None where there is none or it is hard to name."""
    if "B" in prefix:
        stem = binary(prefix["B"]).rstrip(b"\xff")
        return {"B": b64encode(stem[:-1] + bytes([stem[-1] + 1])).decode()} if stem else None
    text = prefix.get("S", "")
    if not text:
        return None
    following = ord(text[-1]) + 1
    return None if following > 0x10FFFF or 0xD800 <= following <= 0xDFFF else {"S": text[:-1] + chr(following)}
