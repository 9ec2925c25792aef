"""The constraints on a request's members: JSON types, names, enums, ranges, and members that must be there.

DynamoDB checks them before it reads the request any further, and reports every member that fails. Sources: API
reference, each operation's "Request Parameters"; developer guide, "Supported data types and naming rules". The words,
and which faults are reported alone, are AWS's of October 2026 (dynamodb-conformance, tier 3, error-messages and
validation-ordering).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import orjson

from proxy.dynamodb.errors import validation
from proxy.dynamodb.json_types import check_json, expect_list
from proxy.dynamodb.requests.batches import check_gets, check_transaction, check_writes
from proxy.dynamodb.requests.wording import enveloped

_NAME_PATTERN: Final = "[a-zA-Z0-9_.-]+"
_NAME: Final = re.compile(_NAME_PATTERN)
_ARN: Final = re.compile(r"arn:[^:]*:dynamodb:[^:]*:[^:]*:table/[a-zA-Z0-9_.-]+(?:/.*)?", re.DOTALL)
# A name has 3 to 255 characters; an ARN may stand in its place.
_LEAST, _MOST = 3, 255
_MAX_SEGMENTS: Final = 1_000_000
_MAX_TOKEN: Final = 36
_ENUMS: Final[Mapping[str, tuple[str, ...]]] = {
    "ReturnConsumedCapacity": ("INDEXES", "TOTAL", "NONE"),
    "ReturnItemCollectionMetrics": ("SIZE", "NONE"),
    "Select": ("SPECIFIC_ATTRIBUTES", "COUNT", "ALL_ATTRIBUTES", "ALL_PROJECTED_ATTRIBUTES"),
    "ReturnValues": ("ALL_NEW", "UPDATED_OLD", "ALL_OLD", "NONE", "UPDATED_NEW"),
    "ReturnValuesOnConditionCheckFailure": ("ALL_OLD", "NONE"),
    "ConditionalOperator": ("OR", "AND"),
}
# DynamoDB's own words for two enums, spelling included, wherever the required members are there.
_GENERIC: Final[Mapping[str, str]] = {
    "ReturnValues": "[ALL_OLD, UPDATED_OLD, ALL_NEW, UPDATE_NEW, NONE]",
    "ConditionalOperator": "[ALL, OR]",
}
_RANGES: Final[Mapping[str, tuple[int, int | None]]] = {
    "Limit": (1, None),
    "TotalSegments": (1, _MAX_SEGMENTS),
    "Segment": (0, _MAX_SEGMENTS - 1),
}
_REQUIRED: Final[Mapping[str, tuple[str, ...]]] = {
    "PutItem": ("Item",),
    "UpdateItem": ("Key",),
    "DeleteItem": ("Key",),
    "GetItem": ("Key",),
    "Put": ("Item",),
    "Update": ("Key", "UpdateExpression"),
    "Delete": ("Key",),
    "ConditionCheck": ("Key", "ConditionExpression"),
    "Get": ("Key",),
}
# The members that each operation has of the enums; DynamoDB takes no notice of the others.
_TAKES: Final[Mapping[str, tuple[str, ...]]] = {
    "GetItem": ("ReturnConsumedCapacity",),
    "BatchGetItem": ("ReturnConsumedCapacity",),
    "TransactGetItems": ("ReturnConsumedCapacity",),
    "Query": ("ReturnConsumedCapacity", "Select", "ConditionalOperator"),
    "Scan": ("ReturnConsumedCapacity", "Select", "ConditionalOperator"),
    "BatchWriteItem": ("ReturnConsumedCapacity", "ReturnItemCollectionMetrics"),
    "TransactWriteItems": ("ReturnConsumedCapacity", "ReturnItemCollectionMetrics"),
}
_WRITE_TAKES: Final = tuple(name for name in _ENUMS if name != "Select")
_PAGED: Final = ("Query", "Scan")
_WRITES: Final = ("PutItem", "UpdateItem", "DeleteItem")


def check_constraints(action: str, request: Mapping[str, Any]) -> None:
    """Raises ValidationException for a member outside its constraints, SerializationException for one whose JSON is of
    another type than the member's."""
    check_json(request)
    if action.startswith("Batch"):
        _check_batch(action, request)
    elif action.startswith("Transact"):
        _check_transaction(action, request)
    else:
        _check_single(action, request)


def _check_single(action: str, request: Mapping[str, Any]) -> None:
    lacking = [name for name in _REQUIRED.get(action, ()) if request.get(name) is None]
    name = request.get("TableName")
    if name == "" and not lacking:
        raise validation(_together([_generic("TableName", "Member must have length greater than or equal to 1")]))
    operator = request.get("ConditionalOperator")
    if action in _PAGED and operator is not None and operator not in _ENUMS["ConditionalOperator"]:
        raise validation(_outside(_GENERIC["ConditionalOperator"]))
    faults = list(_single_faults(action, request, lacking))
    if faults:
        # UpdateItem reports the first enum that fails, where all that it requires is there.
        raise validation(_together(faults if lacking or action != "UpdateItem" else faults[:1]))


def _single_faults(action: str, request: Mapping[str, Any], lacking: list[str]) -> Iterator[str]:
    enums = _TAKES.get(action, _WRITE_TAKES)
    update = action == "UpdateItem" and not lacking
    if update:
        yield from _enum_faults(request, "", ("ReturnValues",), generic=True)
    yield from _enum_faults(request, "", enums[:1])
    if action in _WRITES:
        yield from _enum_faults(request, "", ("ReturnItemCollectionMetrics",))
    yield from _name_faults(request.get("TableName"), "tableName")
    if action in _PAGED and request.get("IndexName") is not None:
        yield from _name_faults(request["IndexName"], "indexName")
    rest = [name for name in enums[1:] if name not in ("ReturnItemCollectionMetrics", *(("ReturnValues",) * update))]
    yield from _enum_faults(request, "", rest, generic=not lacking)
    if action in _PAGED:
        yield from _range_faults(request)
    yield from (_null(f"{name[0].lower()}{name[1:]}") for name in lacking)
    if request.get("AttributesToGet") == [] and action in ("GetItem", *_PAGED):
        yield _constraint("[]", "attributesToGet", "Member must have length greater than or equal to 1")


def _check_batch(action: str, request: Mapping[str, Any]) -> None:
    faults: list[str] = []
    items = request.get("RequestItems")
    wrong_enums = list(_enum_faults(request, "", _TAKES[action]))
    if items is None:
        faults.append(_null("requestItems"))
    elif any(not _is_name(name) for name in items) and (action == "BatchGetItem" or not wrong_enums):
        # BatchWriteItem reports a wrong enum alone, BatchGetItem beside the names.
        faults.append(_map_keys(action, items))
    if faults or wrong_enums:
        raise validation(_together([*faults, *wrong_enums]))
    if action == "BatchGetItem":
        for name, part in (items or {}).items():
            check_json(part)
            if part.get("Keys") is None:
                raise validation(_together([_null(f"requestItems.{name}.member.keys")]))
        check_gets(items or {})
    else:
        for name, entries in (items or {}).items():
            expect_list(entries)
            for number, entry in enumerate(entries, 1):
                _check_write_request(entry, f"requestItems.{name}.member.{number}.member")
        check_writes(items or {})


def _check_write_request(entry: Any, where: str) -> None:
    check_json(entry)
    for kind, member in (("PutRequest", "Item"), ("DeleteRequest", "Key")):
        if entry.get(kind) is not None:
            check_json(entry[kind])
            if entry[kind].get(member) is None:
                raise validation(_together([_null(f"{where}.{kind[0].lower()}{kind[1:]}.{member.lower()}")]))


def _check_transaction(action: str, request: Mapping[str, Any]) -> None:
    token = request.get("ClientRequestToken")
    if isinstance(token, str) and action == "TransactWriteItems" and not 1 <= len(token) <= _MAX_TOKEN:
        rule = f"less than or equal to {_MAX_TOKEN}" if token else "greater than or equal to 1"
        raise validation(_together([_generic("ClientRequestToken", f"Member must have length {rule}")]))
    faults = list(_enum_faults(request, "", _TAKES[action]))
    parts = request.get("TransactItems")
    if parts is None:
        faults.append(_null("transactItems"))
    for number, entry in enumerate(parts or (), 1):
        faults.extend(_part_faults(action, entry, f"transactItems.{number}.member"))
    if faults:
        raise validation(_together(faults))
    check_transaction(parts or [])


def _part_faults(action: str, entry: Any, where: str) -> Iterator[str]:
    check_json(entry)
    kinds = ("Get",) if action == "TransactGetItems" else ("ConditionCheck", "Put", "Delete", "Update")
    if action == "TransactGetItems" and entry.get("Get") is None:
        yield _null(f"{where}.get")
    for kind in kinds:
        part = entry.get(kind)
        if part is None:
            continue
        check_json(part)
        inside = f"{where}.{kind[0].lower()}{kind[1:]}."
        yield from _name_faults(part.get("TableName"), f"{inside}tableName")
        yield from _enum_faults(part, inside, ("ReturnValuesOnConditionCheckFailure",) if kind != "Get" else ())
        for name in _REQUIRED[kind]:
            if part.get(name) is None:
                yield _null(f"{inside}{name[0].lower()}{name[1:]}")


def _name_faults(name: Any, where: str) -> Iterator[str]:
    if name is None:
        yield _null(where)
    elif not _is_name(name):
        if not name:
            yield _constraint(name, where, "Member must have length greater than or equal to 1")
        elif _NAME.fullmatch(name) is None:
            yield _constraint(name, where, f"Member must satisfy regular expression pattern: {_NAME_PATTERN}")
        elif len(name) > _MOST:
            yield _constraint(name, where, f"Member must have length less than or equal to {_MOST}")
        else:
            yield _constraint(name, where, f"Member must have length greater than or equal to {_LEAST}")


def _is_name(name: str) -> bool:
    if _LEAST <= len(name) <= _MOST and _NAME.fullmatch(name) is not None:
        return True
    return _ARN.fullmatch(name) is not None


def _enum_faults(
    request: Mapping[str, Any], where: str, members: Iterable[str], *, generic: bool = False
) -> Iterator[str]:
    for member in members:
        value = request.get(member)
        if value is None or value in _ENUMS[member]:
            continue
        if generic and member in _GENERIC:
            yield _outside(_GENERIC[member])
            continue
        known = ", ".join(_ENUMS[member])
        rule = f"Member must satisfy enum value set: [{known}]"
        yield _constraint(value, f"{where}{member[0].lower()}{member[1:]}", rule)


def _range_faults(request: Mapping[str, Any]) -> Iterator[str]:
    for member, (least, most) in _RANGES.items():
        value = request.get(member)
        if value is None:
            continue
        if value < least:
            yield _generic(member, f"Member must have value greater than or equal to {least}")
        elif most is not None and value > most:
            yield _generic(member, f"Member must have value less than or equal to {most}")


def _map_keys(action: str, items: Mapping[str, Any]) -> str:
    """RequestItems with a key that is no name. DynamoDB shows the map: as JSON, or for BatchWriteItem as Java does."""
    shown = orjson.dumps(items).decode() if action == "BatchGetItem" else _as_java(items)
    return (
        f"Value '{shown}' at 'requestItems' failed to satisfy constraint: Map keys must satisfy constraint: "
        f"[Member must have length less than or equal to {_MOST}, Member must have length greater than or equal to "
        f"{_LEAST}, Member must satisfy regular expression pattern: {_NAME_PATTERN}]"
    )


def _as_java(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_as_java, value))}]"
    if not isinstance(value, dict):
        return str(value)
    for kind in ("PutRequest", "DeleteRequest"):
        if isinstance(value.get(kind), dict):
            member = "Item" if kind == "PutRequest" else "Key"
            inner = f"{kind[0].lower()}{kind[1:]}={kind}({member.lower()}={_as_java(value[kind].get(member))})"
            return f"WriteRequest({inner})"
    return f"{{{', '.join(f'{name}={_as_java(each)}' for name, each in value.items())}}}"


def _together(faults: list[str]) -> str:
    if len(faults) == 1:
        return enveloped(faults[0])
    return f"{len(faults)} validation errors detected: {'; '.join(faults)}"


def _outside(values: str) -> str:
    return f"Failed to satisfy constraint: Member must satisfy enum value set: {values}"


def _generic(member: str, rule: str) -> str:
    """DynamoDB's present words, which name the member and do not show its value."""
    return f"Value at '{member}' failed to satisfy constraint: {rule}"


def _constraint(value: str, where: str, rule: str) -> str:
    return f"Value '{value}' at '{where}' failed to satisfy constraint: {rule}"


def _null(where: str) -> str:
    return f"Value null at '{where}' failed to satisfy constraint: Member must not be null"
