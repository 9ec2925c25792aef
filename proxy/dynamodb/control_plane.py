"""DynamoDB's control plane, as far as it can be answered without DynamoDB: what SDKs and their users ask at start-up.

Pure: requests and descriptions in, documents out. Everything else of the control plane is refused as DynamoDB Local
refuses what it does not have: UnknownOperationException, which no SDK tries again. Sources: API reference,
"DescribeTable", "ListTables", "DescribeTimeToLive", "DescribeLimits".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from proxy.dynamodb import errors
from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.schema import table_name

MOST_NAMES: Final = 100
_MIN_NAME: Final = 3
# What a table without DynamoDB has no more: streams, replicas, keys of KMS, and what happens to it just now.
_GONE: Final = frozenset(
    {
        "ArchivalSummary",
        "GlobalTableVersion",
        "GlobalTableWitnesses",
        "LatestStreamArn",
        "LatestStreamLabel",
        "MultiRegionConsistency",
        "Replicas",
        "RestoreSummary",
        "SSEDescription",
        "StreamSpecification",
    }
)


def stable_description(description: Mapping[str, Any]) -> dict[str, Any]:
    """What of DescribeTable's `Table` stays true when DynamoDB is gone: an ACTIVE table, its keys and its indexes.

    `ItemCount` and `TableSizeBytes` are those of the day, as DynamoDB's own are those of six hours ago.
    """
    table = {name: value for name, value in description.items() if name not in _GONE}
    table["TableStatus"] = "ACTIVE"
    if table.get("GlobalSecondaryIndexes"):
        table["GlobalSecondaryIndexes"] = [
            {**each, "IndexStatus": "ACTIVE"} for each in table["GlobalSecondaryIndexes"]
        ]
    return table


def asked_table(request: Mapping[str, Any]) -> str:
    """The name of the table that a request is about. Raises ValidationException where there is none."""
    name = request.get("TableName")
    if not isinstance(name, str):
        raise errors.validation(
            "1 validation error detected: Value null at 'tableName' failed to satisfy constraint: "
            "Member must not be null"
        )
    return table_name(name)


def describe_response(name: str, description: Mapping[str, Any] | None) -> dict[str, Any]:
    """DescribeTable's answer."""
    _refuse_unknown(name, description)
    return {"Table": dict(description or {})}


def time_to_live(name: str, description: Mapping[str, Any] | None) -> dict[str, Any]:
    """DescribeTimeToLive's answer: nobody deletes what has expired."""
    _refuse_unknown(name, description)
    return {"TimeToLiveDescription": {"TimeToLiveStatus": "DISABLED"}}


def limits() -> dict[str, Any]:
    """DescribeLimits' answer: an account's quotas where nobody has raised them. Here nothing is limited by them."""
    return {
        "AccountMaxReadCapacityUnits": 80_000,
        "AccountMaxWriteCapacityUnits": 80_000,
        "TableMaxReadCapacityUnits": 40_000,
        "TableMaxWriteCapacityUnits": 40_000,
    }


def asked_names(request: Mapping[str, Any]) -> tuple[str, int]:
    """After which name ListTables begins, and how many names a page has. Raises ValidationException."""
    limit = request.get("Limit")
    if limit is None:
        limit = MOST_NAMES
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise errors.serialization("Limit")
    if not 1 <= limit <= MOST_NAMES:
        bound = f"less than or equal to {MOST_NAMES}" if limit > MOST_NAMES else "greater than or equal to 1"
        raise _constraint(str(limit), "limit", f"Member must have value {bound}")
    start = request.get("ExclusiveStartTableName")
    if start is None:
        return "", limit
    if not isinstance(start, str):
        raise errors.serialization("ExclusiveStartTableName")
    if len(start) < _MIN_NAME:
        raise _constraint(
            start, "exclusiveStartTableName", f"Member must have length greater than or equal to {_MIN_NAME}"
        )
    return start, limit


def list_response(names: Sequence[str], limit: int) -> dict[str, Any]:
    """ListTables' answer, from the names after its start: one more than its limit where there are so many."""
    page = list(names[:limit])
    return {"TableNames": page} | ({"LastEvaluatedTableName": page[-1]} if len(names) > limit else {})


def unsupported(action: str) -> DynamoDBError:
    """The refusal of what takes a DynamoDB."""
    return errors.unknown_operation(
        f"{action} is not available: these tables are served from Aurora DSQL, and there is no DynamoDB behind them"
    )


def _refuse_unknown(name: str, description: Mapping[str, Any] | None) -> None:
    if description is None:
        raise errors.resource_not_found(f"Requested resource not found: Table: {name} not found")


def _constraint(value: str, member: str, wanted: str) -> DynamoDBError:
    return errors.validation(
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {wanted}"
    )
