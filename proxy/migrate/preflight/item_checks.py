"""Checks what the mapping and DSQL could not hold of one item, or would hold outside its column.

Pure: checks one item at a time and does no I/O. `cross_item_checks` checks what takes more than one item (dangling
references, shared rows), and `preflight` counts.

The limits are those of "Cluster quotas and database limits in Amazon Aurora DSQL" (user guide): 1 KiB for the columns
of a key, 1 MiB for a json value, 2 MiB for a row. DSQL measures JSON after compression. Here it is measured before,
because nobody outside DSQL can compress as it does. So JSON that is reported as too long may fit after all, but JSON
that is not reported always fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item
from proxy.mapping.codecs import ValueDoesNotFitError
from proxy.mapping.column_mapping import ColumnMapping
from proxy.mapping.compatibility import misfits
from proxy.mapping.document_mapping import DocumentMapping
from proxy.mapping.interface import Cause, Encoded, Fault

MAX_JSON_BYTES: Final = 1024 * 1024
MAX_ROW_BYTES: Final = 2 * 1024 * 1024
_FIXED_BYTES: Final = 16

TableMapping = ColumnMapping | DocumentMapping


class ProblemKind(StrEnum):
    """The kinds of problem, as reports name them. Every kind but `aside` loses something or gives wrong answers."""

    CHANGED = "changed"
    TYPE = "type"
    NUMBER = "number"
    TEXT = "text"
    NUL = "nul"
    KEY_BYTES = "key_bytes"
    JSON_BYTES = "json_bytes"
    ROW_BYTES = "row_bytes"
    MISSING = "missing"
    FORM = "form"
    DANGLING = "dangling"
    DUPLICATE = "duplicate"
    INDEX = "index"
    ASIDE = "aside"

    @property
    def loses(self) -> bool:
        """Whether something is lost, or an answer would be wrong."""
        return self is not ProblemKind.ASIDE

    @property
    def description(self) -> str:
        """What the problem is, to be read after an attribute's name: `rating is a number that …`."""
        return _DESCRIPTIONS[self]

    @property
    def remedy(self) -> str:
        """What to do about the problem."""
        return _REMEDIES[self]


_DESCRIPTIONS: Final = {
    ProblemKind.CHANGED: "would be dropped, invented or returned changed",
    ProblemKind.TYPE: "is of another type than its column",
    ProblemKind.NUMBER: "is a number that its column would round or refuse",
    ProblemKind.TEXT: "is a text that its column would truncate, change or refuse",
    ProblemKind.NUL: "contains the character NUL, which PostgreSQL's text cannot hold",
    ProblemKind.KEY_BYTES: "makes a key longer than DSQL's 1 KiB",
    ProblemKind.JSON_BYTES: "is JSON longer than DSQL's 1 MiB",
    ProblemKind.ROW_BYTES: "makes a row longer than DSQL's 2 MiB",
    ProblemKind.MISSING: "is missing, and its column must not be NULL",
    ProblemKind.FORM: "does not have the form that the mapping gives it",
    ProblemKind.DANGLING: "refers to an item that does not exist",
    ProblemKind.DUPLICATE: "would share a row with another key",
    ProblemKind.INDEX: "does not fit DynamoDB's table, or the migrations",
    ProblemKind.ASIDE: "is kept in the JSON column instead of its own column",
}
_REMEDIES: Final = {
    ProblemKind.CHANGED: "remove `literal` from the mapping, so that the JSON keeps what no column holds exactly",
    ProblemKind.TYPE: "give the column the type of the values, or fix the items",
    ProblemKind.NUMBER: "make the column numeric, with as many digits before and after the point as the values have",
    ProblemKind.TEXT: "make the column text",
    ProblemKind.NUL: "remove the character from the items, or the attribute from the index and from [columns]",
    ProblemKind.KEY_BYTES: "shorten the values, or leave the index out",
    ProblemKind.JSON_BYTES: "move the largest attributes to text columns of their own, or out of the table (to S3)",
    ProblemKind.ROW_BYTES: "move the largest attributes out of the table (to S3)",
    ProblemKind.MISSING: "allow NULL in the column, or give the items a value",
    ProblemKind.FORM: "fix the items, or map the attribute to a column of its own",
    ProblemKind.DANGLING: "fix or remove the items; a foreign key would refuse them",
    ProblemKind.DUPLICATE: "add the attribute that distinguishes them to [key]",
    ProblemKind.INDEX: "fix the mapping file at the place named",
    ProblemKind.ASIDE: "nothing is lost, but SQL on the column misses these items until its type is changed",
}
_OF_CAUSE: Final = {
    Cause.FORM: ProblemKind.FORM,
    Cause.TYPE: ProblemKind.TYPE,
    Cause.NUMBER: ProblemKind.NUMBER,
    Cause.TEXT: ProblemKind.TEXT,
    Cause.NUL: ProblemKind.NUL,
    Cause.KEY_BYTES: ProblemKind.KEY_BYTES,
    Cause.MISSING: ProblemKind.MISSING,
    Cause.CHANGED: ProblemKind.CHANGED,
}


@dataclass(frozen=True, slots=True)
class ItemProblem:
    """A problem with one attribute. If it concerns no item, `attribute` is the place in the mapping file."""

    kind: ProblemKind
    attribute: str
    reason: str


def check_table(mapping: TableMapping, schema: TableSchema) -> list[ItemProblem]:
    """Check the mapping file against DescribeTable. These problems concern no item."""
    found = [
        ItemProblem(ProblemKind.INDEX, f"indexes.{name}", f"no SQL index serves it: {why}")
        for name, why in schema.left_out.items()
    ]
    if isinstance(mapping, DocumentMapping):
        return found
    for problem in misfits(mapping, schema):
        place, _, reason = problem.partition(": ")
        found.append(ItemProblem(ProblemKind.INDEX, place, reason))
    return found


def check_item(mapping: TableMapping, schema: TableSchema, item: Item) -> tuple[Key | None, list[ItemProblem]]:
    """Return the item's key (None if it has no valid key) and its problems, each kind at most once per attribute."""
    try:
        key = schema.key_of(item)
        encoded = mapping.encode(key, item)
    except DynamoDBError as error:
        return None, [ItemProblem(ProblemKind.FORM, schema.hash, f"it is not an item of this table: {error.message}")]
    found = [_problem_of_fault(mapping, item, fault) for fault in encoded.faults]
    if encoded.values is not None:
        found.extend(_size_problems(mapping, encoded))
        found.extend(_attributes_kept_in_json(mapping, encoded, item))
    return key, list({(each.kind, each.attribute): each for each in reversed(found)}.values())[::-1]


def _problem_of_fault(mapping: TableMapping, item: Item, fault: Fault) -> ItemProblem:
    """Return the problem behind a fault. A literal mapping's fault says that a value changes; the column says why."""
    value = item.get(fault.field)
    if fault.cause is Cause.CHANGED and value is not None and isinstance(mapping, ColumnMapping):
        columns = [column for column in mapping.attribute_columns if column.path[0] == fault.field]
        if [len(column.path) for column in columns] == [1]:
            try:
                columns[0].codec.encode(value)
            except ValueDoesNotFitError as misfit:
                return ItemProblem(_OF_CAUSE[misfit.cause], fault.field, str(misfit))
        elif not columns and "N" in value:
            return ItemProblem(
                ProblemKind.NUMBER, fault.field, "JavaScript's numbers have 15 digits, and this number has more"
            )
    return ItemProblem(_OF_CAUSE[fault.cause], fault.field, fault.reason)


def _size_problems(mapping: TableMapping, encoded: Encoded) -> Iterator[ItemProblem]:
    assert encoded.values is not None
    name = mapping.columns[-1].name
    json_bytes = _byte_count(encoded.values[-1])
    if json_bytes > MAX_JSON_BYTES:
        yield ItemProblem(ProblemKind.JSON_BYTES, name, f"it has {json_bytes} bytes before compression")
    row_bytes = sum(_byte_count(value) for value in encoded.values)
    if row_bytes > MAX_ROW_BYTES:
        yield ItemProblem(ProblemKind.ROW_BYTES, name, f"the row has {row_bytes} bytes")


def _attributes_kept_in_json(mapping: TableMapping, encoded: Encoded, item: Item) -> Iterator[ItemProblem]:
    """Yield attributes that are not in their column because the column would not return them exactly."""
    if isinstance(mapping, DocumentMapping) or mapping.literal:
        return
    assert encoded.values is not None
    for column, held in zip(mapping.attribute_columns, encoded.values, strict=False):
        value = item.get(column.path[0])
        if held is None and value is not None:
            try:
                column.codec.encode(value)
            except ValueDoesNotFitError as misfit:
                yield ItemProblem(ProblemKind.ASIDE, column.path[0], str(misfit))


def _byte_count(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode())
    return len(value) if isinstance(value, bytes) else _FIXED_BYTES
