"""What CreateTable and UpdateTable refuse of a table's definition, in DynamoDB's order and words. Pure.

First the constraints of the members, all together; then throughput, the key, the definitions, the indexes. Sources: API
reference, "CreateTable", "KeySchemaElement", "Projection", "LocalSecondaryIndex"; the words as moto's tests marked
`aws_verified`, aws-cloudformation/cfn-lint#1037 and getmoto/moto#2445 have them of DynamoDB.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from proxy.dynamodb import errors

INVALID: Final = "One or more parameter values were invalid: "
LOCAL: Final = "LocalSecondaryIndexes"
GLOBAL: Final = "GlobalSecondaryIndexes"
_MOST: Final = {LOCAL: 5, GLOBAL: 20}
_KEY_TYPES: Final = ("HASH", "RANGE")
_ENUMS: Final[Mapping[str, tuple[str, ...]]] = {
    "BillingMode": ("PROVISIONED", "PAY_PER_REQUEST"),
    "TableClass": ("STANDARD", "STANDARD_INFREQUENT_ACCESS"),
}
_UNITS: Final = ("ReadCapacityUnits", "WriteCapacityUnits")


def check_members(request: Mapping[str, Any], *, required: tuple[str, ...] = ()) -> None:
    """Raises ValidationException, which lists every member that is outside its constraints."""
    faults = [*_nulls(request, required), *_member_faults(request)]
    if faults:
        detected = "1 validation error" if len(faults) == 1 else f"{len(faults)} validation errors"
        raise errors.validation(f"{detected} detected: {'; '.join(faults)}")


def check_throughput(mode: str, request: Mapping[str, Any]) -> None:
    """Raises ValidationException where throughput and billing mode exclude each other."""
    given = request.get("ProvisionedThroughput") is not None
    if mode == "PAY_PER_REQUEST" and given:
        raise errors.validation(
            f"{INVALID}Neither ReadCapacityUnits nor WriteCapacityUnits can be specified when BillingMode is "
            "PAY_PER_REQUEST"
        )
    if mode == "PROVISIONED" and not given:
        raise errors.validation(
            f"{INVALID}ReadCapacityUnits and WriteCapacityUnits must both be specified when BillingMode is PROVISIONED"
        )


def check_keys(description: Mapping[str, Any]) -> None:
    """Raises ValidationException for a key, a definition or an index that cannot be."""
    for member in (LOCAL, GLOBAL):
        if description.get(member) == []:
            raise errors.validation(f"{INVALID}List of {member} is empty")
    _check_table_key(description["KeySchema"])
    _check_definitions(description)
    for index in indexes_of(description, LOCAL):
        _check_local(description["KeySchema"], index)
    names: set[str] = set()
    for member in (LOCAL, GLOBAL):
        found = indexes_of(description, member)
        for index in found:
            _check_projection(index.get("Projection") or {})
            if index["IndexName"] in names:
                raise errors.validation(f"{INVALID}Duplicate index name: {index['IndexName']}")
            names.add(index["IndexName"])
        if len(found) > _MOST[member]:
            named = f"Number of {LOCAL} exceeds" if member == LOCAL else "GlobalSecondaryIndex count exceeds the"
            raise errors.validation(f"{INVALID}{named} per-table limit of {_MOST[member]}")


def indexes_of(description: Mapping[str, Any], *members: str) -> list[Mapping[str, Any]]:
    """Return the indexes of these members; of both where none is named."""
    return [index for member in members or (LOCAL, GLOBAL) for index in description.get(member) or ()]


def key_attributes(description: Mapping[str, Any]) -> list[str]:
    """Return the attributes that are part of some key, each once: the table's first."""
    keys = [description["KeySchema"], *(index["KeySchema"] for index in indexes_of(description))]
    return list(dict.fromkeys(element["AttributeName"] for key in keys for element in key))


def _nulls(request: Mapping[str, Any], required: tuple[str, ...]) -> Iterator[str]:
    for member in required:
        if request.get(member) is None:
            yield _null(_camel(member))


def _member_faults(request: Mapping[str, Any]) -> Iterator[str]:
    for member, values in _ENUMS.items():
        if request.get(member) is not None:
            yield from _enum(request[member], _camel(member), values)
    for number, each in enumerate(request.get("AttributeDefinitions") or (), 1):
        where = f"attributeDefinitions.{number}.member"
        yield from _enum(each.get("AttributeType"), f"{where}.attributeType", ("B", "N", "S"))
    key = request.get("KeySchema")
    if key is not None:
        yield from _key_faults(key, "keySchema", 2)
    for member in (LOCAL, GLOBAL):
        for number, index in enumerate(request.get(member) or (), 1):
            yield from _index_faults(index, f"{_camel(member)}.{number}.member", 2 if member == LOCAL else 8)
    for number, change in enumerate(request.get("GlobalSecondaryIndexUpdates") or (), 1):
        if change.get("Create") is not None:
            yield from _index_faults(change["Create"], f"globalSecondaryIndexUpdates.{number}.member.create", 8)
    for unit in _UNITS:
        value = (request.get("ProvisionedThroughput") or {}).get(unit)
        where = f"provisionedThroughput.{_camel(unit)}"
        if request.get("ProvisionedThroughput") is not None and value is None:
            yield _null(where)
        elif isinstance(value, int) and value < 1:
            yield _outside(str(value), where, "Member must have value greater than or equal to 1")


def _index_faults(index: Mapping[str, Any], where: str, most: int) -> Iterator[str]:
    for member in ("IndexName", "KeySchema", "Projection"):
        if index.get(member) is None:
            yield _null(f"{where}.{_camel(member)}")
    yield from _key_faults(index.get("KeySchema") or (), f"{where}.keySchema", most)
    projected = (index.get("Projection") or {}).get("ProjectionType")
    if projected is not None:
        yield from _enum(projected, f"{where}.projection.projectionType", ("ALL", "INCLUDE", "KEYS_ONLY"))


def _key_faults(key: Any, where: str, most: int) -> Iterator[str]:
    if len(key) > most:
        shown = ", ".join(
            f"KeySchemaElement(attributeName={each.get('AttributeName')}, keyType={each.get('KeyType')})"
            for each in key
        )
        yield _outside(f"[{shown}]", where, f"Member must have length less than or equal to {most}")
    for number, each in enumerate(key, 1):
        yield from _enum(each.get("KeyType"), f"{where}.{number}.member.keyType", _KEY_TYPES)


def _check_table_key(key: list[Mapping[str, Any]]) -> None:
    if not key or key[0]["KeyType"] != "HASH":
        raise errors.validation("Invalid KeySchema: The first KeySchemaElement is not a HASH key type")
    if len(key) == 2 and key[0]["AttributeName"] == key[1]["AttributeName"]:
        raise errors.validation("Both the Hash Key and the Range Key element in the KeySchema have the same name")
    if len(key) == 2 and key[1]["KeyType"] != "RANGE":
        raise errors.validation("Invalid KeySchema: The second KeySchemaElement is not a RANGE key type")


def _check_definitions(description: Mapping[str, Any]) -> None:
    """The definitions are those of the keys' attributes, no more and no fewer: four wordings, by how they differ."""
    defined = [each["AttributeName"] for each in description["AttributeDefinitions"]]
    used = key_attributes(description)
    if set(defined) == set(used):
        return
    lacking = [name for name in used if name not in defined]
    indexed = bool(indexes_of(description))
    if len(set(defined)) > len(used):
        if indexed:
            raise errors.validation(
                f"{INVALID}Some AttributeDefinitions are not used. AttributeDefinitions: {_shown(defined)}, keys used: "
                f"{_shown(used)}"
            )
        raise errors.validation(
            f"{INVALID}Number of attributes in KeySchema does not exactly match number of attributes defined in "
            "AttributeDefinitions"
        )
    if len(set(defined)) < len(used) and not indexed:
        raise errors.validation("Invalid KeySchema: Some index key attribute have no definition")
    raise errors.validation(
        f"{INVALID}Some index key attributes are not defined in AttributeDefinitions. Keys: {_shown(lacking)}, "
        f"AttributeDefinitions: {_shown(defined)}"
    )


def _check_local(table_key: list[Mapping[str, Any]], index: Mapping[str, Any]) -> None:
    name, key = index["IndexName"], index["KeySchema"]
    if len(table_key) < 2:
        raise errors.validation(
            f"{INVALID}Table KeySchema does not have a range key, which is required when specifying a "
            "LocalSecondaryIndex"
        )
    if len(key) < 2:
        raise errors.validation(f"{INVALID}Index KeySchema does not have a range key for index: {name}")
    if key[0]["AttributeName"] != table_key[0]["AttributeName"]:
        raise errors.validation(
            f"{INVALID}Index KeySchema does not have the same leading hash key as table KeySchema for index: {name}. "
            f"index hash key: {key[0]['AttributeName']}, table hash key: {table_key[0]['AttributeName']}"
        )


def _check_projection(projection: Mapping[str, Any]) -> None:
    kind, more = projection.get("ProjectionType"), projection.get("NonKeyAttributes")
    if kind is None:
        raise errors.validation(f"{INVALID}Unknown ProjectionType: null")
    if kind != "INCLUDE" and more is not None:
        raise errors.validation(f"{INVALID}ProjectionType is {kind}, but NonKeyAttributes is specified")
    if kind == "INCLUDE" and not more:
        raise errors.validation(f"{INVALID}ProjectionType is INCLUDE, but NonKeyAttributes is not specified")


def _enum(value: Any, where: str, values: tuple[str, ...]) -> Iterator[str]:
    if value is None:
        yield _null(where)
    elif value not in values:
        yield _outside(str(value), where, f"Member must satisfy enum value set: {_shown(values)}")


def _outside(value: str, where: str, rule: str) -> str:
    return f"Value '{value}' at '{where}' failed to satisfy constraint: {rule}"


def _null(where: str) -> str:
    return f"Value null at '{where}' failed to satisfy constraint: Member must not be null"


def _camel(member: str) -> str:
    return member[0].lower() + member[1:]


def _shown(names: list[str] | tuple[str, ...]) -> str:
    return f"[{', '.join(names)}]"
