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

from comparators.errors import code_of, message_of
from proxy.dynamodb.operations import tables_of
from tests.integration.scenes import Scene, scene, wait_until
from tests.rules.all_rules import RULES
from tests.rules.rule import TABLES, Rule
from tests.rules.values import IMPOSSIBLE, OF_ANOTHER_FORM
from tests.standins.billio import dynamodb_client
from tests.standins.processes import free_port

CASES = sorted((Path(__file__).parents[1] / "data" / "cases").glob("*.json"))
TABLE = "cases"
FOLLOW = {"CROSSFADE_FOLLOW_TABLES": "true"}
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


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> str:
    return str(getattr(request, "param", "live"))


@pytest.fixture
def here(dynamodb: str, database: str, dsql_database: str, stage: str) -> Iterator[Scene]:
    for definition in (DEFINITION, *TABLES):
        dynamodb_client(dynamodb).create_table(**definition)
    if stage == "complete":
        # A proxy that is not to need DynamoDB knows its tables from before.
        with scene(dynamodb, dsql_database, rows=database, billio=False, environment=FOLLOW) as before:
            for definition in (DEFINITION, *TABLES):
                before.client().scan(TableName=definition["TableName"])
            before.proxy.settle()
    with scene(dynamodb, dsql_database, rows=database, stage=stage, billio=False, environment=FOLLOW) as running:
        yield running


def test_each_case_is_answered_as_by_dynamodb(here: Scene) -> None:
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


def test_each_rule_is_kept_in_live(here: Scene) -> None:
    """All of tests/rules through a client's port: forms, tables, keys, expressions, values, sizes, in this order."""
    broken = broken_rules(here, [rule for rule in RULES if tables_of(rule.action, rule.request)])
    assert not broken, broken[:5]
    assert nothing_stays(here)


def broken_rules(here: Scene, rules: list[Rule]) -> list[tuple[object, ...]]:
    broken: list[tuple[object, ...]] = []
    for rule in rules:
        status, document = ask(here, rule.action, rule.request)
        said = code_of(document), message_of(document)
        reasons = tuple(reason.get("Message", "") for reason in document.get("CancellationReasons", ()))
        if status != 400 or not rule.matches(*said) or reasons != rule.reasons:
            broken.append((rule.page, rule.action, rule.message[:200], status, str(document)[:400]))
    return broken


def keyed(table: str, key: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Every operation that names a key, about this one."""
    one = {"TableName": table, "Key": key}
    put = {"TableName": table, "Item": key}
    update = {**one, "UpdateExpression": "SET x = :x", "ExpressionAttributeValues": {":x": {"S": "y"}}}
    check = {**one, "ConditionExpression": "attribute_not_exists(x)"}
    return [
        ("PutItem", put),
        ("UpdateItem", update),
        ("DeleteItem", one),
        ("GetItem", one),
        ("BatchGetItem", {"RequestItems": {table: {"Keys": [key]}}}),
        ("BatchWriteItem", {"RequestItems": {table: [{"PutRequest": {"Item": key}}]}}),
        ("BatchWriteItem", {"RequestItems": {table: [{"DeleteRequest": {"Key": key}}]}}),
        ("TransactGetItems", {"TransactItems": [{"Get": one}]}),
        *(
            ("TransactWriteItems", {"TransactItems": [part]})
            for part in ({"Put": put}, {"Update": update}, {"Delete": one}, {"ConditionCheck": check})
        ),
    ]


MANY = [{"DeleteRequest": {"Key": {"pk": {"S": f"k{number}"}}}} for number in range(26)]
REFUSALS = {"ValidationException", "TransactionCanceledException"}
DSQL_ANSWERS = ("live", "rampdown", "complete")


@pytest.mark.parametrize("stage", ["dualwrite", "shadow", *DSQL_ANSWERS], indirect=True)
def test_a_key_that_no_item_can_have_stays_nowhere(here: Scene, stage: str) -> None:
    """No such key enters the journal, whichever operation names it and whichever store answers (J1)."""
    asked = [*IMPOSSIBLE, *OF_ANOTHER_FORM, ("things", {"pk": {"S": "x" * 2100}}, "")]
    requests = [request for table, key, _ in asked for request in keyed(table, key)]
    requests.append(("BatchWriteItem", {"RequestItems": {TABLE: MANY}}))
    for action, request in requests:
        status, document = ask(here, action, request)
        if stage in DSQL_ANSWERS:
            assert told(status, document).split()[1] in REFUSALS, (action, document)
    ask(here, "PutItem", {"TableName": TABLE, "Item": {"pk": {"S": "possible"}}})
    assert nothing_stays(here)


def nothing_stays(here: Scene) -> bool:
    wait_until(lambda: here.proxy.status()["journal"]["keys"] == 0, 120, "the journal to be empty")
    return bool(here.proxy.status()["journal"]["parked"] == 0)


def test_without_dynamodb_the_form_is_judged_all_the_same(database: str, dsql_database: str) -> None:
    """A request that names no table is no failure of a store, which an SDK would try again (D5)."""
    nowhere = f"http://127.0.0.1:{free_port()}"
    with scene(nowhere, dsql_database, rows=database, stage="complete", billio=False, environment=FOLLOW) as alone:
        nameless = [rule for rule in RULES if not tables_of(rule.action, rule.request)]
        broken = broken_rules(alone, nameless)
        assert nameless
        assert not broken, broken[:5]
        unknown = ask(alone, "PutItem", {"TableName": "nowhere", "Item": {"pk": {"S": "a"}}})
        assert told(*unknown) == "400 ResourceNotFoundException"
