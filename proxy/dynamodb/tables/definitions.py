"""Tables as CreateTable, UpdateTable and DeleteTable define them, where there is no DynamoDB. Pure.

A definition becomes the description that DescribeTable returns. What has no meaning on DSQL (throughput, table classes,
encryption) is taken and described, and has no effect; streams and replicas are left out. Sources: API reference,
"CreateTable", "UpdateTable", "DeleteTable", "TableDescription".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from proxy.dynamodb import errors
from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.tables.definition_rules import (
    GLOBAL,
    INVALID,
    LOCAL,
    check_keys,
    check_members,
    check_throughput,
    key_attributes,
)

_NAME: Final = re.compile(r"[a-zA-Z0-9_.-]{3,255}")
_ON_DEMAND: Final = {"ReadCapacityUnits": 0, "WriteCapacityUnits": 0}
_UNITS: Final = ("ReadCapacityUnits", "WriteCapacityUnits")
# What UpdateTable must have one of, as DynamoDB lists it, and what else counts as a change.
_CHANGES: Final = (
    "ProvisionedThroughput, BillingMode, UpdateStreamEnabled, GlobalSecondaryIndexUpdates or SSESpecification or "
    "ReplicaUpdates"
)
# What other members mean is not kept by DSQL, or not known here: a table without it would not be the table asked for.
_TAKEN: Final = frozenset(
    {
        "AttributeDefinitions",
        "GlobalSecondaryIndexes",
        "KeySchema",
        "LocalSecondaryIndexes",
        "TableName",
        "Tags",
    }
)
_CHANGING: Final = frozenset(
    {
        "BillingMode",
        "DeletionProtectionEnabled",
        "GlobalSecondaryIndexUpdates",
        "OnDemandThroughput",
        "ProvisionedThroughput",
        "SSESpecification",
        "StreamSpecification",
        "TableClass",
        "WarmThroughput",
    }
)


def create(request: Mapping[str, Any], arn_prefix: str, table_id: str, now: float) -> dict[str, Any]:
    """Return the description of a new table. Raises DynamoDBError for a definition that is none."""
    name = request.get("TableName")
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise errors.validation(
            "1 validation error detected: TableName must be at least 3 characters long and at most 255 characters "
            "long, of a-z, A-Z, 0-9, '_', '-' and '.'"
        )
    _refuse_unknown(request)
    try:
        check_members(request, required=("AttributeDefinitions", "KeySchema"))
        check_throughput(request.get("BillingMode") or "PROVISIONED", request)
        arn = f"{arn_prefix}:table/{name}"
        description: dict[str, Any] = {
            "TableName": name,
            "TableStatus": "ACTIVE",
            "TableArn": arn,
            "TableId": table_id,
            "CreationDateTime": now,
            "KeySchema": request["KeySchema"],
            "AttributeDefinitions": request["AttributeDefinitions"],
            "DeletionProtectionEnabled": request.get("DeletionProtectionEnabled") is True,
            "ItemCount": 0,
            "TableSizeBytes": 0,
            **_billing(request),
            **_without_effect(request, arn_prefix),
        }
        for member in (LOCAL, GLOBAL):
            if request.get(member) is not None:
                description[member] = [_index(index, arn, member) for index in request[member]]
        _check(description)
    except (AttributeError, KeyError, TypeError) as error:
        raise errors.serialization(type(error).__name__) from error
    return description


def tags(request: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags that a CreateTable gives its table. Raises SerializationException."""
    try:
        return {str(each["Key"]): str(each["Value"]) for each in request.get("Tags") or ()}
    except (KeyError, TypeError) as error:
        raise errors.serialization(type(error).__name__) from error


def update(request: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table's description after an UpdateTable. Raises DynamoDBError for a change that cannot be."""
    _refuse_unknown(request)
    if not any(request.get(member) is not None for member in _CHANGING):
        raise errors.validation(f"At least one of {_CHANGES} is required")
    try:
        check_members(request)
        return _updated(request, present)
    except (AttributeError, KeyError, TypeError) as error:
        raise errors.serialization(type(error).__name__) from error


def _refuse_unknown(request: Mapping[str, Any]) -> None:
    """Raises ValidationException for a member that a table on DSQL cannot have: a vector index, a policy, a replica."""
    for member, value in request.items():
        if value not in (None, [], {}) and member not in _TAKEN and member not in _CHANGING:
            raise errors.validation(f"{member} is not available: these tables are served from Aurora DSQL")


def refuse_protected(description: Mapping[str, Any]) -> None:
    """Raises ValidationException for a table that is protected from deletion."""
    if description.get("DeletionProtectionEnabled") is True:
        raise errors.validation(
            "Resource cannot be deleted as it is currently protected against deletion. Disable deletion protection "
            "first."
        )


def _updated(request: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    description = {**present, **_changed_billing(request, present)}
    description |= _without_effect(request, str(present.get("TableArn", "")).rpartition(":table/")[0])
    if request.get("DeletionProtectionEnabled") is not None:
        description["DeletionProtectionEnabled"] = request["DeletionProtectionEnabled"] is True
    definitions = {each["AttributeName"]: each for each in present["AttributeDefinitions"]}
    definitions |= {each["AttributeName"]: each for each in request.get("AttributeDefinitions") or ()}
    indexes = {each["IndexName"]: each for each in present.get(GLOBAL) or ()}
    for change in request.get("GlobalSecondaryIndexUpdates") or ():
        for kind, wanted in change.items():
            _change_index(indexes, kind, wanted, str(present.get("TableArn", "")))
    description.pop(GLOBAL, None)
    if indexes:
        description[GLOBAL] = list(indexes.values())
    used = key_attributes(description)
    description["AttributeDefinitions"] = [each for name, each in definitions.items() if name in used]
    _check(description)
    return description


def _changed_billing(request: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    mode = request.get("BillingMode")
    standing = (present.get("BillingModeSummary") or {}).get("BillingMode") or "PROVISIONED"
    if mode is not None:
        check_throughput(mode, request)
        return _billing(request) | ({"BillingModeSummary": {"BillingMode": mode}} if mode != standing else {})
    wanted = request.get("ProvisionedThroughput")
    if wanted is None:
        return {}
    check_throughput(standing, request)
    held = present.get("ProvisionedThroughput") or _ON_DEMAND
    if all(wanted[unit] == held[unit] for unit in _UNITS):
        same = ". ".join(
            f"Current {unit} provisioned for the table: {held[unit]}. Requested {unit}: {wanted[unit]}"
            for unit in _UNITS
        )
        raise errors.validation(
            "The provisioned throughput for the table will not change. The requested value equals the current value. "
            f"{same}. Refer to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits."
        )
    return {"ProvisionedThroughput": _units(wanted)}


def _change_index(indexes: dict[str, Any], kind: str, wanted: Mapping[str, Any], arn: str) -> None:
    name = str(wanted.get("IndexName"))
    if kind == "Create":
        if name in indexes:
            raise errors.validation(f"{INVALID}Attempting to create an index which already exists: {name}")
        indexes[name] = _index(wanted, arn, GLOBAL)
        return
    if name not in indexes:
        raise errors.resource_not_found(f"Requested resource not found: Index: {name} not found")
    if kind == "Delete":
        del indexes[name]
    elif kind == "Update":
        throughput = wanted.get("ProvisionedThroughput")
        indexes[name] = {**indexes[name], **({"ProvisionedThroughput": _units(throughput)} if throughput else {})}
    else:
        raise errors.serialization(kind)


def _index(index: Mapping[str, Any], arn: str, member: str) -> dict[str, Any]:
    described = {
        "IndexName": index["IndexName"],
        "KeySchema": index["KeySchema"],
        "Projection": index["Projection"],
        "IndexArn": f"{arn}/index/{index['IndexName']}",
        "IndexSizeBytes": 0,
        "ItemCount": 0,
    }
    if member == LOCAL:
        return described
    throughput = index.get("ProvisionedThroughput") or _ON_DEMAND
    return described | {"IndexStatus": "ACTIVE", "ProvisionedThroughput": _units(throughput)}


def _billing(request: Mapping[str, Any]) -> dict[str, Any]:
    if request.get("BillingMode") == "PAY_PER_REQUEST":
        return {"BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"}, "ProvisionedThroughput": _units(_ON_DEMAND)}
    return {"ProvisionedThroughput": _units(request["ProvisionedThroughput"])}


def _units(throughput: Mapping[str, Any]) -> dict[str, Any]:
    return {"NumberOfDecreasesToday": 0, **{unit: throughput[unit] for unit in _UNITS}}


def _without_effect(request: Mapping[str, Any], arn_prefix: str) -> dict[str, Any]:
    """What is described as it was asked for, and has no effect on DSQL."""
    described: dict[str, Any] = {}
    if request.get("TableClass") is not None:
        described["TableClassSummary"] = {"TableClass": request["TableClass"]}
    if request.get("OnDemandThroughput") is not None:
        described["OnDemandThroughput"] = dict(request["OnDemandThroughput"])
    wanted = request.get("SSESpecification")
    if wanted is not None and wanted.get("Enabled"):
        keys = arn_prefix.replace(":dynamodb:", ":kms:")
        key = wanted.get("KMSMasterKeyId") or f"{keys}:alias/aws/dynamodb"
        described["SSEDescription"] = {
            "Status": "ENABLED",
            "SSEType": wanted.get("SSEType") or "KMS",
            "KMSMasterKeyArn": key if key.startswith("arn:") else f"{keys}:key/{key}",
        }
    return described


def _check(description: Mapping[str, Any]) -> None:
    """Raises ValidationException for a table that cannot be."""
    check_keys(description)
    try:
        schema = TableSchema.from_description(description)
    except ValueError as error:
        raise errors.validation(f"{INVALID}{error}") from error
    for index, why in schema.left_out.items():
        raise errors.validation(f"{INVALID}index {index}: {why}")
