"""Tables as CreateTable, UpdateTable and DeleteTable define them, where there is no DynamoDB. Pure.

A definition becomes the description that DescribeTable returns. What has no meaning on DSQL (throughput, table classes,
streams, replicas) is taken and described, or left out, and has no effect. Sources: API reference, "CreateTable",
"UpdateTable", "DeleteTable".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from proxy.dynamodb import errors
from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.schema import TableSchema

_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{3,255}")
_INVALID: Final = "One or more parameter values were invalid: "
_ON_DEMAND: Final = {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0}
_MAX_LOCAL: Final = 5
_MAX_GLOBAL: Final = 20


def create(request: Mapping[str, Any], arn_prefix: str, table_id: str, now: float) -> dict[str, Any]:
    """Return the description of a new table. Raises DynamoDBError for a definition that is none."""
    name = request.get("TableName")
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise errors.validation(
            "1 validation error detected: TableName must be at least 3 characters long and at most 255 characters "
            "long, of a-z, A-Z, 0-9, '_', '-' and '.'"
        )
    arn = f"{arn_prefix}:table/{name}"
    description: dict[str, Any] = {
        "TableName": name,
        "TableStatus": "ACTIVE",
        "TableArn": arn,
        "TableId": table_id,
        "CreationDateTime": now,
        "KeySchema": request.get("KeySchema"),
        "AttributeDefinitions": request.get("AttributeDefinitions"),
        "DeletionProtectionEnabled": request.get("DeletionProtectionEnabled") is True,
        "ItemCount": 0,
        "TableSizeBytes": 0,
        **_throughput(request),
    }
    for member in ("LocalSecondaryIndexes", "GlobalSecondaryIndexes"):
        if request.get(member):
            description[member] = [_index(index, arn, member) for index in _listed(request, member)]
    _check(description)
    return description


def update(request: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table's description after an UpdateTable. Raises DynamoDBError for a change that cannot be."""
    description = {**present, **(_throughput(request) if "BillingMode" in request else {})}
    if request.get("ProvisionedThroughput") is not None:
        description["ProvisionedThroughput"] = dict(request["ProvisionedThroughput"])
    if request.get("DeletionProtectionEnabled") is not None:
        description["DeletionProtectionEnabled"] = request["DeletionProtectionEnabled"] is True
    definitions = {each["AttributeName"]: each for each in present["AttributeDefinitions"]}
    definitions |= {each["AttributeName"]: each for each in _listed(request, "AttributeDefinitions")}
    indexes = {each["IndexName"]: each for each in present.get("GlobalSecondaryIndexes") or ()}
    for change in _listed(request, "GlobalSecondaryIndexUpdates"):
        for kind, wanted in change.items():
            _change_index(indexes, kind, wanted, str(present.get("TableArn", "")))
    description.pop("GlobalSecondaryIndexes", None)
    if indexes:
        description["GlobalSecondaryIndexes"] = list(indexes.values())
    used = _used(description)
    description["AttributeDefinitions"] = [each for name, each in definitions.items() if name in used]
    _check(description)
    return description


def refuse_protected(description: Mapping[str, Any]) -> None:
    """Raises ValidationException for a table that is protected from deletion."""
    if description.get("DeletionProtectionEnabled") is True:
        raise errors.validation(
            f"Resource cannot be deleted as it is currently protected against deletion. "
            f"Disable deletion protection first: {description['TableName']}"
        )


def _change_index(indexes: dict[str, Any], kind: str, wanted: Mapping[str, Any], arn: str) -> None:
    name = str(wanted.get("IndexName"))
    if kind == "Create":
        if name in indexes:
            raise errors.validation(f"{_INVALID}Attempting to create an index which already exists: {name}")
        indexes[name] = _index(wanted, arn, "GlobalSecondaryIndexes")
        return
    if name not in indexes:
        raise errors.resource_not_found(f"Requested resource not found: Index: {name} not found")
    if kind == "Delete":
        del indexes[name]
    elif kind != "Update":
        raise errors.serialization(kind)


def _index(index: Mapping[str, Any], arn: str, member: str) -> dict[str, Any]:
    described = {
        "IndexName": index["IndexName"],
        "KeySchema": index["KeySchema"],
        "Projection": index.get("Projection") or {"ProjectionType": "ALL"},
        "IndexArn": f"{arn}/index/{index['IndexName']}",
        "IndexSizeBytes": 0,
        "ItemCount": 0,
    }
    if member == "LocalSecondaryIndexes":
        return described
    throughput = index.get("ProvisionedThroughput") or _ON_DEMAND
    return described | {"IndexStatus": "ACTIVE", "ProvisionedThroughput": dict(throughput)}


def _throughput(request: Mapping[str, Any]) -> dict[str, Any]:
    if request.get("BillingMode") == "PAY_PER_REQUEST":
        return {"BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}, "ProvisionedThroughput": dict(_ON_DEMAND)}
    return {"ProvisionedThroughput": dict(request.get("ProvisionedThroughput") or _ON_DEMAND)}


def _listed(request: Mapping[str, Any], member: str) -> list[Mapping[str, Any]]:
    return list(request.get(member) or ())


def _used(description: Mapping[str, Any]) -> set[str]:
    """The attributes that are part of some key."""
    indexes = (*_listed(description, "LocalSecondaryIndexes"), *_listed(description, "GlobalSecondaryIndexes"))
    keys = [description["KeySchema"], *(index["KeySchema"] for index in indexes)]
    return {element["AttributeName"] for key in keys for element in key}


def _check(description: Mapping[str, Any]) -> None:
    """Raises ValidationException for a table that cannot be: keys without definitions, definitions without keys."""
    try:
        schema = TableSchema.from_description(description)
        used = _used(description)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise errors.validation(f"{_INVALID}{error}") from error
    for index, why in schema.left_out.items():
        raise errors.validation(f"{_INVALID}index {index}: {why}")
    spare = sorted(schema.types.keys() - used)
    if spare:
        raise errors.validation(
            f"{_INVALID}Some AttributeDefinitions are not used. AttributeDefinitions: "
            f"[{', '.join(schema.types)}], keys used: [{', '.join(sorted(used))}]"
        )
    indexes = (*_listed(description, "LocalSecondaryIndexes"), *_listed(description, "GlobalSecondaryIndexes"))
    if len({index["IndexName"] for index in indexes}) != len(indexes):
        raise errors.validation(f"{_INVALID}Duplicate index name")
    _refuse_many(description, "LocalSecondaryIndexes", _MAX_LOCAL)
    _refuse_many(description, "GlobalSecondaryIndexes", _MAX_GLOBAL)


def _refuse_many(description: Mapping[str, Any], member: str, most: int) -> None:
    if len(_listed(description, member)) > most:
        raise _too_many(member, most)


def _too_many(member: str, most: int) -> DynamoDBError:
    return errors.validation(f"{_INVALID}{member} count exceeds the per-table limit of {most}")
