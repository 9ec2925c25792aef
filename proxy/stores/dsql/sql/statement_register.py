"""The register: every form of statement that is sent about a mapped table, so that none is missed by those who ask.

The test of DSQL's rules, the test of plans and `crossfade doctor` read it. Text only: it sends nothing, and holds the
statements that the other modules here make; a test finds each statement that a story sends in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from proxy.dynamodb.listing import Listing
from proxy.dynamodb.schema import TableSchema
from proxy.mapping.interface import IndexRange, TableMapping
from proxy.stores.dsql.sql.bulk_statements import BulkStatements
from proxy.stores.dsql.sql.listing_statements import count_statement, page_statement
from proxy.stores.dsql.sql.many_keys import select_many
from proxy.stores.dsql.sql.statements import Comparison, Statements
from proxy.stores.errors import Refused

MANY_KEYS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
"""For how many keys a statement is made: powers of two, up to what a transaction or a batch has."""
_COMPARISONS: Final[tuple[tuple[Comparison, ...], ...]] = (
    (),
    ("=",),
    ("<",),
    ("<=",),
    (">",),
    (">=",),
    (">=", "<="),
    (">=", "<"),
)


class Extent(StrEnum):
    """What bounds the rows that a statement reads."""

    CONDITION = "condition"
    """A condition that an index is looked up by, on its first column."""
    LIMIT = "limit"
    """Its LIMIT: a page in the order of a key, with no condition."""
    SLICE = "slice"
    """Nothing but the size of a table that is one slice, or what is left of one."""
    SMALL = "small"
    """Nothing but the size of a table of Crossfade's own, which has a row for each process, scope or DynamoDB table."""


@dataclass(frozen=True, slots=True)
class StatementForm:
    """A form of statement, by a name that says what it is for."""

    name: str
    sql: str
    extent: Extent = Extent.CONDITION
    writes: bool = False


def table_forms(schema_name: str, mapping: TableMapping, schema: TableSchema) -> Iterator[StatementForm]:
    """Every form for a table and its indexes: by key, by many keys, by range, and of backfill and verify."""
    made = Statements(schema_name, mapping)
    yield StatementForm("read a row", made.select)
    yield StatementForm("insert a row", made.insert, writes=True)
    yield StatementForm("update a row", made.update, writes=True)
    yield StatementForm("delete a row", made.delete, writes=True)
    for rows, lock in itertools.product(MANY_KEYS, (False, True)):
        name = f"{'lock' if lock else 'read'} {rows} rows"
        yield StatementForm(name, select_many(made, rows, lock=lock), writes=lock)
    for segmented, cursor in itertools.product((False, True), repeat=2):
        name = f"scan{' a segment of' if segmented else ''} the table{' from a cursor' if cursor else ''}"
        extent = Extent.CONDITION if cursor else Extent.LIMIT
        yield StatementForm(name, made.scan(segmented=segmented, cursor=cursor), extent)
    for index in (None, *schema.indexes.values()):
        try:
            span = mapping.span(index)
        except KeyError:  # an index that the mapping does not serve
            continue
        yield from _ranges(made, span, "the table" if index is None else f"index {index.name}")
        if index is not None:
            yield from _index_scans(made, span, index.name)
    yield from _bulk_forms(BulkStatements(schema_name, mapping))


def listing_forms(schema_name: str, mapping: TableMapping, listings: Iterable[Listing]) -> Iterator[StatementForm]:
    """The forms of these listings, of those that the mapping can answer."""
    made = Statements(schema_name, mapping)
    for listing in listings:
        try:
            asked = count_statement(made, listing) if listing.limit is None else page_statement(made, listing, 21)
        except Refused:
            continue
        if asked is not None:
            yield StatementForm(f"{'count' if listing.limit is None else 'list'} by {listing.index.name}", asked.sql)


def _ranges(made: Statements, span: IndexRange, what: str) -> Iterator[StatementForm]:
    sorts = [sort.name for sort in span.sorts]
    wanted = {(): ()} | {
        bounds: bounds
        for last in range(len(sorts))
        for comparisons in _COMPARISONS[1:]
        if (bounds := (*((name, "=") for name in sorts[:last]), *((sorts[last], each) for each in comparisons)))
    }
    for bounds, cursor, descending in itertools.product(wanted, (False, True), (False, True)):
        how = " ".join(comparison for _, comparison in bounds)
        name = f"query {what} {how}{' from a cursor' if cursor else ''}{' backwards' if descending else ''}"
        for alternatives in (1, 2):
            sql = made.range(span, alternatives, bounds, cursor=cursor, descending=descending)
            yield StatementForm(name if alternatives == 1 else f"{name}, of two values", sql)


def _index_scans(made: Statements, span: IndexRange, index: str) -> Iterator[StatementForm]:
    for segmented, cursor in itertools.product((False, True), repeat=2):
        sql = made.range(span.whole(), 1, (), cursor=cursor, descending=False, segmented=segmented)
        name = f"scan{' a segment of' if segmented else ''} index {index}{' from a cursor' if cursor else ''}"
        yield StatementForm(name, sql, Extent.CONDITION if cursor else Extent.LIMIT)


def _bulk_forms(made: BulkStatements) -> Iterator[StatementForm]:
    yield StatementForm("insert many rows", made.insert, writes=True)
    yield StatementForm("digests of many rows", made.digests)
    yield StatementForm("one digest of many rows", made.digest_of_all)
    for after in (False, True):
        extent = Extent.CONDITION if after else Extent.LIMIT
        yield StatementForm("end of a slice", made.end_of_slice(after=after), extent)
    first = made.mapping.key_columns[0]
    for after, upto in itertools.product((False, True), repeat=2):
        extent = Extent.CONDITION if after or upto else Extent.SLICE
        yield StatementForm("sums of a slice", made.sums(after=after, upto=upto), extent)
        yield StatementForm("rows of buckets in a slice", made.in_buckets(after=after, upto=upto), extent)
        for column in (None, first):
            yield StatementForm("count a slice", made.counts(column, after=after, upto=upto), extent)
            if made.looks_up({first}, first):
                sql = made.dangling(made.mapping.columns[0].name, first, None, after=after, upto=upto)
                yield StatementForm("references of a slice", sql, extent)
