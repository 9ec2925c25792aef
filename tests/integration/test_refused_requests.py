"""Requests that DynamoDB refuses, and a few that it takes, through the product: in `live` DSQL answers as DynamoDB,
and in no stage does a key stay in the journal that no item can have, so that every flip can still be made.

`tests/data/cases` are requests of other people's programs and suites with the right answers and their source.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.scenes import Scene, scene, wait_until
from tests.standins.billio import dynamodb_client

CASES = sorted((Path(__file__).parents[1] / "data" / "cases").glob("*.json"))
TABLE = "cases"
FOLLOW = {"CROSSFADE_FOLLOW_TABLES": "true"}
MANY = [{"DeleteRequest": {"Key": {"pk": {"S": f"k{number}"}}}} for number in range(26)]
DEFINITION: dict[str, Any] = {
    "TableName": TABLE,
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}],
    "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
    "BillingMode": "PAY_PER_REQUEST",
}


def ask(here: Scene, action: str, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Past the SDK, which would refuse some of these itself."""
    body = json.dumps(request).encode()
    headers = {
        "X-Amz-Target": f"DynamoDB_20120810.{action}",
        "Content-Type": "application/x-amz-json-1.0",
        "Authorization": "AWS4-HMAC-SHA256 Credential=client/20260101/us-east-1/dynamodb/aws4_request",
    }
    call = urllib.request.Request(here.proxy.data, body, headers)
    try:
        with urllib.request.urlopen(call, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def told(status: int, document: dict[str, Any]) -> str:
    """An answer in the words of the cases."""
    if status == 200:
        return f"200 Count {document['Count']}" if "Count" in document else "200"
    code = document["__type"].rpartition("#")[2]
    reasons = [each["Code"] for each in document.get("CancellationReasons", ())]
    listed = ", ".join(reasons)
    return f"{status} {code}" + (f" [{listed}]" if reasons else "")


@pytest.fixture(scope="module", params=["live", "dualwrite"])
def stage(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def here(dynamodb: str, database: str, dsql_database: str, stage: str) -> Iterator[Scene]:
    dynamodb_client(dynamodb).create_table(**DEFINITION)
    with scene(dynamodb, dsql_database, rows=database, stage=stage, billio=False, environment=FOLLOW) as running:
        yield running


def test_each_case_is_answered_as_by_dynamodb(here: Scene, stage: str) -> None:
    if stage != "live":
        pytest.skip("the stand-in for DynamoDB answers there, with its own faults")
    for path in CASES:
        case = json.loads(path.read_text("utf-8").replace("@T", TABLE))
        answers = [told(*ask(here, action, request)) for action, request in case["requests"]]
        right = case["right"]
        answers = answers[-len(right) :]
        for got, wanted in zip(answers, right, strict=True):
            if "Count" not in wanted:
                got = got.partition(" Count")[0]
            else:
                got, wanted = got.split()[0], wanted.split()[0]  # the table is the other cases' too
            assert got == wanted, (path.name, case["why"])


REFUSALS = {"ValidationException", "TransactionCanceledException"}
IMPOSSIBLE: list[tuple[str, dict[str, Any]]] = [
    ("PutItem", {"TableName": TABLE, "Item": {"pk": {"S": ""}}}),
    ("PutItem", {"TableName": TABLE, "Item": {"pk": {"S": "x" * 2049}}}),
    ("PutItem", {"TableName": TABLE, "Item": {"pk": {"N": "1"}}}),
    ("PutItem", {"TableName": TABLE, "Item": {"other": {"S": "x"}}}),
    ("UpdateItem", {"TableName": TABLE, "Key": {"pk": {"S": ""}}}),
    ("DeleteItem", {"TableName": TABLE, "Key": {"pk": {"S": "é" * 1025}}}),
    ("GetItem", {"TableName": TABLE, "Key": {"pk": {"S": "x" * 2100}}}),
    ("BatchWriteItem", {"RequestItems": {TABLE: [{"PutRequest": {"Item": {"pk": {"S": ""}}}}]}}),
    ("BatchWriteItem", {"RequestItems": {TABLE: MANY}}),
    ("BatchGetItem", {"RequestItems": {TABLE: {"Keys": [{"pk": {"S": ""}}]}}}),
    ("TransactWriteItems", {"TransactItems": [{"Put": {"TableName": TABLE, "Item": {"pk": {"S": ""}}}}]}),
    ("TransactWriteItems", {"TransactItems": [{"Delete": {"TableName": TABLE, "Key": {"pk": {"S": "x" * 3000}}}}]}),
]  # fmt: skip


def test_a_key_that_no_item_can_have_stays_nowhere(here: Scene, stage: str) -> None:
    for action, request in IMPOSSIBLE:
        status, document = ask(here, action, request)
        if stage == "live":
            assert told(status, document).split()[1] in REFUSALS, (action, document)
    ask(here, "PutItem", {"TableName": TABLE, "Item": {"pk": {"S": "possible"}}})
    wait_until(lambda: here.proxy.status()["journal"]["keys"] == 0, 120, "the journal to be empty")
    assert here.proxy.status()["journal"]["parked"] == 0
