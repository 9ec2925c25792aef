"""What a cursor is recognized by: a digest of its key attributes, of the table, the index and the operation.

A cursor is key attributes and nothing else, so a client may keep them, rebuild them or make them from an item: the
digest is the same. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import orjson

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.values import canonical_item


def ordered_by_store(operation: Operation) -> bool:
    """Return whether each store has an order of its own for the operation's items.

    That of a Scan is unspecified ("Scan": "does not return items in any particular order"), and so is that of equal
    sort keys in an index. The sort keys of a table itself are unique, so a Query of it has one order.
    """
    return operation.action == "Scan" or (
        operation.action == "Query" and operation.request.get("IndexName") is not None
    )


def start_digest(operation: Operation) -> str | None:
    """Return the digest of the operation's start key; None where it has none, or one that no page can have ended
    with."""
    start = operation.request.get("ExclusiveStartKey")
    return _digest(operation, start) if start is not None else None


def page_digests(operation: Operation, outcome: Outcome) -> Iterable[str]:
    """Return the digests of the cursors that a client can continue from after a page: the page's own, and that of its
    last item, which is another one where a filter left out what followed."""
    if not outcome.ok:
        return ()
    document = outcome.document
    items = document.get("Items") or [{}]
    ends = (document.get("LastEvaluatedKey"), items[-1])
    return dict.fromkeys(digest for end in ends if end is not None and (digest := _digest(operation, end)))


def _digest(operation: Operation, attributes: Any) -> str | None:
    schema, index = operation.schema, operation.request.get("IndexName")
    names = _names(schema, index)
    if names is None or not isinstance(attributes, dict):
        return None
    try:
        key = canonical_item({name: attributes[name] for name in names})
    except (DynamoDBError, KeyError, TypeError):
        return None
    about = orjson.dumps([schema.name, index, operation.action, [key[name] for name in names]])
    return blake2b(about, digest_size=12).hexdigest()


def _names(schema: TableSchema, index: object) -> tuple[str, ...] | None:
    if index is None:
        return schema.key_names
    known = schema.indexes.get(index) if isinstance(index, str) else None
    return schema.cursor_names(known) if known is not None else None
