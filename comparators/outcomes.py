"""Compares two outcomes of one operation, whatever the operation: the entry point of this package.

Chooses the comparison that fits, and itself compares only whether both stores succeeded.
"""

from typing import TypeAlias

from comparators.batches import compare_batch_gets, compare_batch_writes, compare_transact_gets
from comparators.comparison import Comparison, ComparisonBuilder
from comparators.difference import Difference, Document, Kind
from comparators.errors import code_of, compare_errors
from comparators.pages import compare_pages
from comparators.shapes import ItemShape, ListShape, PageShape, Shape, TablesShape

Answer: TypeAlias = tuple[int, Document]
"""A store's answer: HTTP status and document."""

_FIRST_FAILURE = 300

_ITEM_MEMBERS = {"GetItem": "Item", "PutItem": "Attributes", "UpdateItem": "Attributes", "DeleteItem": "Attributes"}


def compare_outcomes(
    action: str, authority: Answer, mirror: Answer, shape: Shape, *, messages: bool = True
) -> Comparison:
    """Compare how the authority and the mirror answered the operation `action` (`GetItem` …).

    `shape` says what the operation's outcome shows. If one store succeeded and the other failed, that is one difference
    of kind `outcome` at the path `""`, with the error code on the side that failed. Two failures are compared by
    `compare_errors`, their words only with `messages`; if only their HTTP status differs, the path is `status`. Raises
    ValueError for an action that is not one of the operations on items, or a shape that does not fit the action.
    """
    (status, document), (other_status, other_document) = authority, mirror
    failed, other_failed = status >= _FIRST_FAILURE, other_status >= _FIRST_FAILURE
    if failed != other_failed:
        code = {"S": code_of(document)} if failed else None
        other_code = {"S": code_of(other_document)} if other_failed else None
        return Comparison(differences=(Difference("", "", Kind.OUTCOME, code, other_code),))
    if failed:
        found = compare_errors(document, other_document, _item_shapes(shape), messages=messages)
        if not found and status != other_status:
            statuses = ({"N": str(status)}, {"N": str(other_status)})
            found = (Difference("status", "", Kind.ERROR_CODE, *statuses),)
        return Comparison(differences=found)
    match action, shape:
        case (("GetItem" | "PutItem" | "UpdateItem" | "DeleteItem"), ItemShape()):
            builder = ComparisonBuilder()
            member = _ITEM_MEMBERS[action]
            held, other = document.get(member), other_document.get(member)
            if action != "GetItem":
                # A write without attributes in its answer leaves the member out or gives an empty map; SDKs read both
                # alike. The empty map of a GetItem is an item of which the projection shows nothing.
                held, other = held or None, other or None
            builder.compare(held, other, shape, member)
            return builder.build()
        case (("Query" | "Scan" | "Items.Query"), PageShape()):
            return compare_pages(document, other_document, shape)
        case "BatchGetItem", TablesShape():
            return compare_batch_gets(document, other_document, shape)
        case "BatchWriteItem", TablesShape():
            return compare_batch_writes(document, other_document)
        case "TransactGetItems", ListShape():
            return compare_transact_gets(document, other_document, shape)
        case "TransactWriteItems", ListShape():
            return Comparison()
    raise ValueError(f"cannot compare {action!r} by {type(shape).__name__}")


def _item_shapes(shape: Shape) -> tuple[ItemShape, ...]:
    match shape:
        case ItemShape():
            return (shape,)
        case ListShape():
            return shape.items
    return ()
