"""Whether both stores hold the same, asked by plain SQL and plain boto3: none of the product's code has a say.

Billio's table is compared as the demo does (`tests.story.independent`). Any other table is read as documents: a column
for each key attribute of the table and of its indexes, and the item as DynamoDB's JSON in the column `item`.
"""

import asyncio
import base64
import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import asyncpg

from tests.standins.billio import TABLE, dynamodb_client
from tests.story import independent

Item = dict[str, dict[str, Any]]
_ITEM = "item"
_ALPHABET = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"


def disagreements(endpoint: str, dsn: str, table: str) -> list[str]:
    """What a table and its rows differ in, one sentence each; none if the stores are equal."""
    if table == TABLE:
        return independent.disagreements(independent.scan(endpoint, TABLE), asyncio.run(independent.rows(dsn)))
    return asyncio.run(_documents(endpoint, dsn, table))


async def _documents(endpoint: str, dsn: str, table: str) -> list[str]:
    description = dynamodb_client(endpoint).describe_table(TableName=table)["Table"]
    kinds = {each["AttributeName"]: each["AttributeType"] for each in description["AttributeDefinitions"]}
    keys = [each["AttributeName"] for each in description["KeySchema"]]
    wanted = _scan(endpoint, table, keys)
    connection = await asyncpg.connect(dsn)
    try:
        quoted = table.replace('"', '""')
        held = {_key_of_row(row, keys): row for row in await connection.fetch(f'SELECT * FROM "{quoted}"')}
    finally:
        await connection.close()
    found = [f"{key} is in DynamoDB only" for key in wanted.keys() - held.keys()]
    found += [f"{key} is in SQL only" for key in held.keys() - wanted.keys()]
    for key in wanted.keys() & held.keys():
        found += _unlike(wanted[key], held[key], kinds)
    return sorted(found)


def _unlike(item: Item, row: Mapping[str, Any], kinds: Mapping[str, str]) -> list[str]:
    """The document against the item, and each index column against the item's attribute: NULL where it has none."""
    held = {name: as_boto3_has_it(value) for name, value in json.loads(row[_ITEM]).items()}
    one, two = independent.comparable(item), independent.comparable(held)
    found = [
        f"{name} is {one.get(name)!r} against {two.get(name)!r}"
        for name in {*one, *two}
        if one.get(name) != two.get(name)
    ]
    for name, kind in kinds.items():
        expected = _plain(item[name]) if kind in item.get(name, {}) else None
        if row[_column(name)] != expected:
            found.append(f"column {name} is {row[_column(name)]!r}, the item has {expected!r}")
    return found


def _scan(endpoint: str, table: str, keys: list[str]) -> dict[tuple[Any, ...], Item]:
    found: dict[tuple[Any, ...], Item] = {}
    for page in dynamodb_client(endpoint).get_paginator("scan").paginate(TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            found[tuple(_plain(item[name]) for name in keys)] = item
    return found


def _key_of_row(row: Mapping[str, Any], keys: list[str]) -> tuple[Any, ...]:
    return tuple(row[_column(name)] for name in keys)


def _plain(value: Mapping[str, Any]) -> Any:
    """The content of a key attribute as its column has it."""
    [(kind, content)] = value.items()
    if kind == "B":
        return _ordered_text(content)
    return Decimal(content) if kind == "N" else content


def _ordered_text(data: bytes) -> str:
    """Binary as the columns of keys have it: six bits a character, in an alphabet that is in byte order."""
    bits = "".join(f"{byte:08b}" for byte in data)
    return "".join(_ALPHABET[int(bits[at : at + 6].ljust(6, "0"), 2)] for at in range(0, len(bits), 6))


def _column(attribute: str) -> str:
    return "item_item" if attribute == _ITEM else attribute


def as_boto3_has_it(value: dict[str, Any]) -> dict[str, Any]:
    """A value of DynamoDB's JSON as boto3 gives it: bytes where the JSON has base64."""
    ((tag, content),) = value.items()
    if tag == "B":
        return {"B": base64.b64decode(content)}
    if tag == "BS":
        return {"BS": [base64.b64decode(member) for member in content]}
    if tag == "L":
        return {"L": [as_boto3_has_it(element) for element in content]}
    if tag == "M":
        return {"M": {name: as_boto3_has_it(inner) for name, inner in content.items()}}
    return value
