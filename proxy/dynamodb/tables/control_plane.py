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
from proxy.dynamodb.tables.time_to_live import DISABLED

MOST_NAMES: Final = 100
_TAGS_A_PAGE: Final = 10
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
        kept = [each for each in table["GlobalSecondaryIndexes"] if each.get("IndexStatus") != "DELETING"]
        table["GlobalSecondaryIndexes"] = [{**each, "IndexStatus": "ACTIVE"} for each in kept]
        if not kept:
            del table["GlobalSecondaryIndexes"]
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


def time_to_live(name: str, description: Mapping[str, Any] | None, known: Mapping[str, Any] | None) -> dict[str, Any]:
    """DescribeTimeToLive's answer; `known` is what is known of the table's time to live."""
    _refuse_unknown(name, description)
    return {"TimeToLiveDescription": dict(known or DISABLED)}


def continuous_backups(name: str, description: Mapping[str, Any] | None) -> dict[str, Any]:
    """DescribeContinuousBackups' answer: point-in-time recovery is off, because DSQL has its own backups."""
    if description is None:
        raise errors.table_not_found(name)
    recovery = {"PointInTimeRecoveryStatus": "DISABLED"}
    return {
        "ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "ENABLED",
            "PointInTimeRecoveryDescription": recovery,
        }
    }


def _is_arn(text: str) -> bool:
    return text.startswith("arn:") and ":table/" in text


def asked_resource(request: Mapping[str, Any]) -> str:
    """The name of the table whose tags a request is about. Raises ValidationException where there is none."""
    arn = request.get("ResourceArn")
    if not isinstance(arn, str):
        raise errors.validation(
            "1 validation error detected: Value null at 'resourceArn' failed to satisfy constraint: "
            "Member must not be null"
        )
    if not _is_arn(arn):
        raise errors.validation(f"Invalid TableArn: Invalid ResourceArn provided as input {arn}")
    return table_name(arn)


def tags(request: Mapping[str, Any], description: Mapping[str, Any] | None, known: Mapping[str, Any]) -> dict[str, Any]:
    """ListTagsOfResource's answer, a page of it; `known` are the table's tags.

    NextToken is the last key of the page before ("ListTagsOfResource", API reference, leaves its form open).
    """
    _refuse_unknown_resource(request, description)
    after = str(request.get("NextToken") or "")
    rest = [(key, value) for key, value in sorted(known.items()) if key > after]
    page = {"Tags": [{"Key": key, "Value": value} for key, value in rest[:_TAGS_A_PAGE]]}
    return page if len(rest) <= _TAGS_A_PAGE else page | {"NextToken": rest[_TAGS_A_PAGE - 1][0]}


def retagged(
    action: str, request: Mapping[str, Any], description: Mapping[str, Any] | None, known: Mapping[str, Any]
) -> dict[str, Any]:
    """The tags of a table after TagResource or UntagResource."""
    _refuse_unknown_resource(request, description)
    try:
        if action == "TagResource":
            return {**known, **{str(each["Key"]): str(each["Value"]) for each in request["Tags"]}}
        gone = {str(each) for each in request["TagKeys"]}
    except (KeyError, TypeError) as error:
        raise errors.serialization(type(error).__name__) from error
    return {key: value for key, value in known.items() if key not in gone}


def endpoints(host: str) -> dict[str, Any]:
    """DescribeEndpoints' answer: where the client is."""
    return {"Endpoints": [{"Address": host, "CachePeriodInMinutes": 1440}]}


EMPTY: Final[Mapping[str, Mapping[str, Any]]] = {
    "ListBackups": {"BackupSummaries": []},
    "ListContributorInsights": {"ContributorInsightsSummaries": []},
    "ListExports": {"ExportSummaries": []},
    "ListGlobalTables": {"GlobalTables": []},
    "ListImports": {"ImportSummaryList": []},
}
"""Answers to what lists things that there are none of on DSQL."""


def table_exists(name: str) -> DynamoDBError:
    """CreateTable's refusal of a table that is there."""
    return errors.resource_in_use(f"Table already exists: {name}")


def with_counts(description: Mapping[str, Any], items: int, size: int) -> dict[str, Any]:
    """A description with the number and the size of the table's items."""
    return {**description, "ItemCount": items, "TableSizeBytes": size}


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


def _refuse_unknown_resource(request: Mapping[str, Any], description: Mapping[str, Any] | None) -> None:
    if description is None:
        raise errors.resource_not_found(
            f"Requested resource not found: ResourcArn: {request.get('ResourceArn')} not found"
        )


def _constraint(value: str, member: str, wanted: str) -> DynamoDBError:
    return errors.validation(
        f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: {wanted}"
    )
