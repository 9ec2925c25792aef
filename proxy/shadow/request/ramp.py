"""The ramp: which reads of a table in `shadow` are served by DSQL. Pure.

The choice is a stable hash of what is read. So all reads of one item take the same route, in every process, and a
larger share adds reads without removing any.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

import orjson

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.pages import read_query
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import equal
from proxy.shadow.call import Call
from proxy.shadow.request.item_type import ANY_TYPE

_BUCKETS: Final = 10_000
# The parameters that say which items a Query is about, and not which page of them.
_IDENTIFYING: Final = (
    "TableName",
    "IndexName",
    "KeyConditionExpression",
    "KeyConditions",
    "ExpressionAttributeValues",
    "Hash",
)


def is_ramped(operation: Operation, percent: float) -> bool:
    """Return whether DSQL serves this read at a ramp of `percent`.

    It never serves a Scan: the stores order items differently, so that a page of one could not follow a page of the
    other.
    """
    if percent <= 0 or operation.writes or operation.action == "Scan":
        return False
    return _bucket(operation) < percent * (_BUCKETS / 100)


def may_show(call: Call, key: Key) -> bool:
    """Return whether the page that a call asks for may show the item with this key.

    It may not if the page is of another item type, or of another partition of the table. Of which partition of an index
    an item is, its key does not say.
    """
    if key.table != call.table.name:
        return False
    item_type = call.table.mapping.type_of(key.attributes)
    if call.item_type != ANY_TYPE and item_type in call.table.rules and item_type != call.item_type:
        return False
    if call.operation.action != "Query" or call.operation.request.get("IndexName") is not None:
        return True
    try:
        condition = read_query(call.table.schema, call.operation.request).condition
    except (DynamoDBError, AttributeError, KeyError, TypeError, ValueError):
        return True  # no store shows anything for it
    return condition is None or equal(key.attributes[call.table.schema.hash], condition.hash_values[0])


def is_strongly_consistent(operation: Operation) -> bool:
    """Return whether the client asked for a strongly consistent read ("Read consistency")."""
    request = operation.request
    if operation.action == "BatchGetItem":
        return any(part.get("ConsistentRead") is True for part in request["RequestItems"].values())
    return operation.action == "TransactGetItems" or request.get("ConsistentRead") is True


def _bucket(operation: Operation) -> int:
    if operation.keys:
        # A whole batch takes one route: that of its smallest key, in whichever order the keys are given.
        return crc32(min(key.text for key in operation.keys).encode()) % _BUCKETS
    about = [operation.request.get(name) for name in _IDENTIFYING]
    return crc32(orjson.dumps(about, option=orjson.OPT_SORT_KEYS)) % _BUCKETS
