"""How a DynamoDB table becomes a SQL table and back, without loss: the words and the seam.

Two mappings exist: `ColumnMapping` (attributes as columns, the rest in a JSON column) and `DocumentMapping` (key and
index attributes as columns, the whole item as JSON). Both are pure. Neither knows SQL text, only names and parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeAlias

from proxy.dynamodb.schema import Index, Key
from proxy.dynamodb.values import Item, Value

SqlValues = tuple[Any, ...]
HashEncoder: TypeAlias = Callable[[Value], Sequence[SqlValues] | None]
"""Gives the alternatives of the columns that a hash attribute's value fixes; None where no row can match."""


@dataclass(frozen=True, slots=True)
class Column:
    """A SQL column. An `as_text` one is read and compared through `::text`: JSON has no equality of its own."""

    name: str
    sql_type: str
    as_text: bool = False


class Cause(StrEnum):
    """What kind of thing is wrong with a value, for those who count: the reason says it in words."""

    FORM = "form"  # a composite or a key that is not of the mapping's form
    TYPE = "type"  # another DynamoDB type than the column holds
    NUMBER = "number"  # a number that the column would round or refuse
    TEXT = "text"  # a text that the column would cut, respell or refuse
    NUL = "nul"  # the character NUL
    KEY_BYTES = "key_bytes"  # a key of the table or of an index longer than DSQL takes
    MISSING = "missing"  # nothing, where the column must not be NULL
    CHANGED = "changed"  # dropped, made up or given back changed, by a mapping that is lossy on purpose


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an attribute cannot be held as it is. `field` is the top-level attribute; `reason` ends in a remedy."""

    field: str
    reason: str
    cause: Cause = Cause.FORM


@dataclass(frozen=True, slots=True)
class Encoded:
    """An item as a row.

    `values` has one parameter a column, or is None where no row can be written at all. `image` is the item that
    reading the row back gives: the item itself, in canonical form, where nothing is lost; None where `values` is None.
    `faults` is empty exactly when nothing is lost.
    """

    values: SqlValues | None
    image: Item | None
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class SortColumn:
    """A column that orders an index. `operand` encodes an operand; None where the column cannot hold it: the bound is
    then left out, and the condition checked on the item."""

    name: str
    operand: Callable[[Value], Any]


@dataclass(frozen=True, slots=True)
class IndexRange:
    """How one index (or the table) is ranged over in SQL.

    `equal` are the columns that the hash attributes fix, and `hashes` encode a value of each hash attribute. `sorts`
    are the columns that order, one for each range attribute; with none the key alone does. `present` are columns that
    must not be NULL for the sparse index to hold the row. `sort_from_row` says that the sort column is not the index's
    own range attribute's, so a cursor must be looked up by key.
    """

    equal: tuple[str, ...]
    hashes: tuple[HashEncoder, ...]
    sorts: tuple[SortColumn, ...]
    present: tuple[str, ...]
    sort_from_row: bool = False
    scanned: tuple[str, ...] = ()
    """Columns by which an index is read whose hash attributes nothing fixes: its `equal` columns, in a Scan of it."""

    def whole(self) -> IndexRange:
        """The range of the whole index, in the order that its SQL index has."""
        return replace(self, equal=(), present=tuple(dict.fromkeys((*self.equal, *self.present))), scanned=self.equal)

    @property
    def own_columns(self) -> tuple[str, ...]:
        """The columns of the SQL index, before the key's."""
        return (*self.equal, *(sort.name for sort in self.sorts))

    def hash_values(self, values: Sequence[Value]) -> Sequence[SqlValues] | None:
        """The alternatives of the `equal` columns' values, from a value of each hash attribute; None where no row can
        match."""
        together: list[SqlValues] = [()]
        for encode, value in zip(self.hashes, values, strict=True):
            alternatives = encode(value)
            if alternatives is None:
                return None
            together = [(*before, *each) for before in together for each in alternatives]
        return together


class TableMapping(Protocol):
    """What the stores and the layer ask of a mapping."""

    @property
    def table(self) -> str:
        """DynamoDB's name of the table."""

    @property
    def sql_table(self) -> str:
        """The name of the SQL table, unquoted."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns, in the order of the values of a row (`Encoded.values`, `decode`)."""

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns of the primary key, in the order of `key_values`."""

    @property
    def index_columns(self) -> Sequence[tuple[str, ...]]:
        """The columns of each index that the SQL table has beside its primary key, without those of that key."""

    @property
    def fields(self) -> frozenset[str]:
        """Attributes it knows by name: the bound of the `field` label in metrics."""

    @property
    def on_loss(self) -> Literal["park", "write"]:
        """`park`: a row that would lose something is not written. `write`: it is, to rehearse a lossy plan."""

    def key_values(self, key: Key) -> SqlValues | None:
        """Return the parameters for the key columns; None where no row can have this key."""

    def encode(self, key: Key, item: Item) -> Encoded:
        """Return the row of an item of this key. Equal items give equal values.

        What the mapping cannot hold is in the result's `faults`, and is not raised. Raises DynamoDBError
        (ValidationException) for what DynamoDB itself would not accept as an item ("Supported data types and naming
        rules in Amazon DynamoDB", developer guide).
        """

    def decode(self, values: SqlValues) -> Item:
        """Return the item in a row. `values` has one value a column, as PostgreSQL returns it, `as_text` ones as text.

        Raises UnreadableRow (`proxy.mapping.foreign_rows`) for a row that is not an item: other SQL than Crossfade's
        wrote it.
        """

    def index_consistent(self, values: SqlValues, item: Item) -> bool:
        """Return whether a row that reads as this item has exactly the column values that this mapping writes for it,
        so that the indexes find it. Rows that other SQL or an older mapping wrote may not. `values` as in `decode`."""

    def held_in(self, attribute: str, /) -> tuple[str, Callable[[Value], Any]] | None:
        """Return the column that holds an attribute, and a function from an operand to its parameter.

        The function returns None for an operand without a counterpart in the column. The result is None where no
        column holds the attribute alone.
        """

    def span(self, index: Index | None) -> IndexRange:
        """Return how an index is ranged over; for None, the table itself. Raises KeyError for an index that nothing
        serves."""

    def type_of(self, attributes: Item) -> str:
        """Return the item type of an item, a key or a hash value; "" where these attributes do not determine it."""

    def tells_type(self, names: Iterable[str]) -> bool:
        """Return whether attributes of these names are enough for `type_of`."""

    def after_update(self, item: Item, touched: frozenset[str]) -> Item:
        """Return the item as the mapping's own way of updating would leave it: the item itself, except in the rehearsal
        of a lossy plan. `touched` are the top-level attributes that the update names."""
