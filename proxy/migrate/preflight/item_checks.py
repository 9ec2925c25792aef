"""What the mapping and DSQL could not hold of one item, or would hold elsewhere: each trouble by its kind.

Pure: looks at one item at a time and asks nobody. What takes more than one item (references that lead nowhere, items
that share a row) is `census`'s business; counting, `preflight`'s.

Limits are those of "Cluster quotas and database limits in Amazon Aurora DSQL" (user guide): 1 KiB for the columns of a
key, 1 MiB for a json value, 2 MiB for a row. DSQL measures JSON after compression; here it is measured before, because
nobody outside can compress as it does: a JSON that is told of as too long may fit after all, never the other way round.
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
    """The kinds of trouble, as they are called in reports. All but `aside` lose something or answer wrongly."""

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
        return self is not ProblemKind.ASIDE

    @property
    def description(self) -> str:
        """What is said of an attribute: `rating is a number that …`."""
        return _SENTENCES[self]

    @property
    def remedy(self) -> str:
        return _REMEDIES[self]


_SENTENCES: Final = {
    ProblemKind.CHANGED: "would be dropped, made up or given back changed",
    ProblemKind.TYPE: "is of another type than its column",
    ProblemKind.NUMBER: "is a number that its column would round or refuse",
    ProblemKind.TEXT: "is a text that its column would cut, respell or refuse",
    ProblemKind.NUL: "has the character NUL, which PostgreSQL's text cannot hold",
    ProblemKind.KEY_BYTES: "makes a key longer than DSQL's 1 KiB",
    ProblemKind.JSON_BYTES: "is JSON longer than DSQL's 1 MiB",
    ProblemKind.ROW_BYTES: "makes a row longer than DSQL's 2 MiB",
    ProblemKind.MISSING: "is missing where its column must not be NULL",
    ProblemKind.FORM: "does not have the form that the mapping gives it",
    ProblemKind.DANGLING: "refers to an item that is not there",
    ProblemKind.DUPLICATE: "is the same row for two keys",
    ProblemKind.INDEX: "does not fit DynamoDB's table, or the migrations",
    ProblemKind.ASIDE: "is held beside its column, in the JSON",
}
_REMEDIES: Final = {
    ProblemKind.CHANGED: "leave `literal` out of the mapping, so that the JSON keeps what no column holds exactly",
    ProblemKind.TYPE: "give the column the type that the values have, or mend the items",
    ProblemKind.NUMBER: "make the column numeric, with as many digits before and after the point as the values have",
    ProblemKind.TEXT: "make the column text",
    ProblemKind.NUL: "take the character out of the items, or the attribute out of the index and of [columns]",
    ProblemKind.KEY_BYTES: "shorten the values, or leave the index out",
    ProblemKind.JSON_BYTES: "move the largest attributes to text columns of their own, or elsewhere (as to S3)",
    ProblemKind.ROW_BYTES: "move the largest attributes elsewhere (as to S3)",
    ProblemKind.MISSING: "let the column be NULL, or give the items a value",
    ProblemKind.FORM: "mend the items, or map the attribute to a column of its own",
    ProblemKind.DANGLING: "mend or remove the items; a foreign key would refuse them",
    ProblemKind.DUPLICATE: "put what tells them apart into [key]",
    ProblemKind.INDEX: "mend the mapping file at the place that is named",
    ProblemKind.ASIDE: "nothing is lost; SQL on the column misses these items until its type is changed",
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
    """One thing that is wrong with one attribute; `attribute` is the mapping's place for what concerns no item."""

    kind: ProblemKind
    attribute: str
    reason: str


def check_table(mapping: TableMapping, schema: TableSchema) -> list[ItemProblem]:
    """What concerns no item: the mapping file against DescribeTable, indexes that nothing serves among it."""
    if isinstance(mapping, DocumentMapping):
        return []
    found = []
    for problem in misfits(mapping, schema):
        place, _, reason = problem.partition(": ")
        found.append(ItemProblem(ProblemKind.INDEX, place, reason))
    return found


def check_item(mapping: TableMapping, schema: TableSchema, item: Item) -> tuple[Key | None, list[ItemProblem]]:
    """The item's key (None if it has no proper one) and what is wrong with it, each attribute once a kind."""
    try:
        key = schema.key_of(item)
        encoded = mapping.encode(key, item)
    except DynamoDBError as error:
        return None, [ItemProblem(ProblemKind.FORM, schema.hash, f"it is no item of this table: {error.message}")]
    found = [_problem_of_fault(mapping, item, fault) for fault in encoded.faults]
    if encoded.values is not None:
        found.extend(_size_problems(mapping, encoded))
        found.extend(_attributes_kept_in_json(mapping, encoded, item))
    return key, list({(each.kind, each.attribute): each for each in reversed(found)}.values())[::-1]


def _problem_of_fault(mapping: TableMapping, item: Item, fault: Fault) -> ItemProblem:
    """A lossy plan's fault says that a value changes; why it does, its column knows."""
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
                ProblemKind.NUMBER, fault.field, "JavaScript's numbers have 15 digits, and this has more"
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
    """Attributes that have a column and are not in it, because it would not give them back exactly."""
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
