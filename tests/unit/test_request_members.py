"""No member of a request is ignored in silence: docs/differences.md has each that botocore's newest model has.

The newest model here is that of the stand-ins' environment, whose botocore is newer than the product's.
"""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore
import pytest

from proxy.dynamodb.operations import ACTIONS, STATEMENTS
from proxy.dynamodb.requests.form import form_fault

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "differences.md"
ROW = re.compile(r"\| (\w+) \| ((?:`[\w.]+`(?:, )?)+) \| (done|passed by|refused)\b.*\|")
VALUE_SHAPES = ("AttributeValue",)
KEY = {"id": {"S": "a"}}
# A request of each operation that is of a proper form.
SOUND: dict[str, dict[str, Any]] = {
    "GetItem": {"TableName": "tab", "Key": KEY},
    "PutItem": {"TableName": "tab", "Item": KEY},
    "UpdateItem": {"TableName": "tab", "Key": KEY},
    "DeleteItem": {"TableName": "tab", "Key": KEY},
    "Query": {
        "TableName": "tab",
        "KeyConditionExpression": "id = :i",
        "ExpressionAttributeValues": {":i": {"S": "a"}},
    },
    "Scan": {"TableName": "tab"},
    "BatchGetItem": {"RequestItems": {"tab": {"Keys": [KEY]}}},
    "BatchWriteItem": {"RequestItems": {"tab": [{"DeleteRequest": {"Key": KEY}}]}},
    "TransactGetItems": {"TransactItems": [{"Get": {"TableName": "tab", "Key": KEY}}]},
    "TransactWriteItems": {"TransactItems": [{"Delete": {"TableName": "tab", "Key": KEY}}]},
}


def models() -> Iterator[Path]:
    for environment in (ROOT / ".venv" / "standins", Path(botocore.__file__).parents[4]):
        yield from environment.glob("lib/python*/site-packages/botocore/data/dynamodb/2012-08-10/service-2.json*")


def newest_model() -> dict[str, Any]:
    found = []
    for path in models():
        text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        model: dict[str, Any] = json.loads(text)
        found.append((len(model["operations"]), len(model["shapes"]), len(text), model))
    return max(found, key=lambda each: each[:3])[-1]


MODEL = newest_model()


def members(shape: str, prefix: str = "", seen: tuple[str, ...] = ()) -> Iterator[str]:
    """Each member of a shape and of what is in it, by its path; a value's own members are no part of a request."""
    described = MODEL["shapes"][shape]
    if described["type"] == "structure" and shape not in (*VALUE_SHAPES, *seen):
        for name, member in described["members"].items():
            yield prefix + name
            yield from members(member["shape"], f"{prefix}{name}.", (*seen, shape))
    elif described["type"] == "list":
        yield from members(described["member"]["shape"], prefix, seen)
    elif described["type"] == "map":
        yield from members(described["value"]["shape"], prefix, seen)


def rows() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for operation, listed, _ in ROW.findall(PAGE.read_text("utf-8")):
        found.setdefault(operation, []).extend(re.findall(r"`([\w.]+)`", listed))
    return found


@pytest.mark.parametrize("operation", sorted(ACTIONS | STATEMENTS))
def test_the_page_has_each_member_once(operation: str) -> None:
    listed = rows()[operation]
    assert sorted(listed) == sorted(members(MODEL["operations"][operation]["input"]["shape"]))


TOP_LEVEL = [
    (operation, name, MODEL["shapes"][member["shape"]]["type"])
    for operation in sorted(ACTIONS)
    for name, member in MODEL["shapes"][MODEL["operations"][operation]["input"]["shape"]]["members"].items()
]


@pytest.mark.parametrize(("operation", "name", "kind"), TOP_LEVEL)
def test_each_member_of_the_ten_is_known_by_its_name(operation: str, name: str, kind: str) -> None:
    """What is not read takes any JSON; DynamoDB's deserialiser refuses JSON of another type for each of its members."""
    assert form_fault(operation, SOUND[operation]) is None
    wrong: Any = 7 if kind in ("map", "list", "boolean") else []
    fault = form_fault(operation, {**SOUND[operation], name: wrong})
    assert fault is not None
    assert fault.code == "SerializationException"


@pytest.mark.parametrize("operation", sorted(MODEL["operations"]))
def test_an_operation_that_reads_or_writes_items_is_carried_out_or_on_the_page(operation: str) -> None:
    shape = MODEL["operations"][operation].get("input", {}).get("shape")
    of_items = {"ProjectionExpression", "ConditionExpression", "Statement", "Item"}
    if shape is not None and any(path.rpartition(".")[2] in of_items for path in members(shape)):
        assert operation in ACTIONS | STATEMENTS or f"`{operation}`" in PAGE.read_text("utf-8")
