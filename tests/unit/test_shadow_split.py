"""Batches across the flip: their parts, and what a client is told of them together."""

from typing import Any

import orjson

from proxy.dynamodb.errors import throttling, validation
from proxy.dynamodb.operations import decode
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key, TableSchema
from proxy.shadow.call import Call
from proxy.shadow.request import fan_out as split

SCHEMAS = {name: TableSchema(name, "id", None, {"id": "S"}, {}) for name in ("one", "two")}


def call(action: str, items: dict[str, Any]) -> Call:
    request = {"RequestItems": items}
    operation = decode(action, orjson.dumps(request), request, SCHEMAS)
    return Call(operation, {}, "*", "")


def key(number: int) -> dict[str, Any]:
    return {"id": {"S": str(number)}}


def by_parity(asked: Key) -> str:
    return "dsql" if int(asked.attributes["id"]["S"]) % 2 else "dynamodb"


GET: dict[str, Any] = {
    "one": {"Keys": [key(1), key(2), key(3)], "ConsistentRead": True},
    "two": {"Keys": [key(4), key(5)], "ProjectionExpression": "id"},
}
PUT: dict[str, Any] = {
    "one": [{"PutRequest": {"Item": key(n)}} for n in (1, 2)],
    "two": [{"DeleteRequest": {"Key": key(3)}}],
}


def test_each_part_asks_for_its_own_keys_as_they_were_asked_for() -> None:
    even, odd = sorted(split.split(call("BatchGetItem", GET), by_parity), key=lambda each: len(each.operation.keys))
    assert even.operation.request["RequestItems"] == {
        "one": {"Keys": [key(2)], "ConsistentRead": True},
        "two": {"Keys": [key(4)], "ProjectionExpression": "id"},
    }
    assert orjson.loads(odd.operation.body) == odd.operation.request
    assert {each.text for each in odd.operation.keys} == {orjson.dumps(key(n)).decode() for n in (1, 3, 5)}
    assert GET["one"]["Keys"] == [key(1), key(2), key(3)]


def test_a_table_that_a_part_does_not_touch_is_not_in_it() -> None:
    dynamodb = next(
        part
        for part in split.split(call("BatchWriteItem", PUT), by_parity)
        if by_parity(part.operation.keys[0]) == "dynamodb"
    )
    assert dynamodb.operation.tables == ("one",)


def test_answers_are_put_together() -> None:
    parts = split.split(call("BatchGetItem", GET), by_parity)
    answers = [Outcome.of({"Responses": {"one": [key(n)], "two": [key(n + 3)]}, "UnprocessedKeys": {}}) for n in (1, 2)]
    document = split.join(parts, answers).document
    assert document == {
        "Responses": {"one": [key(1), key(2)], "two": [key(4), key(5)]},
        "UnprocessedKeys": {},
    }


def test_a_part_that_may_be_tried_again_is_unprocessed() -> None:
    parts = split.split(call("BatchWriteItem", PUT), by_parity)
    document = split.join(parts, [Outcome.failed(throttling()), Outcome.of({"UnprocessedItems": {}})]).document
    assert document == {"UnprocessedItems": parts[0].operation.request["RequestItems"]}


def test_a_batch_of_which_nothing_was_done_has_failed() -> None:
    parts = split.split(call("BatchWriteItem", PUT), by_parity)
    assert split.join(parts, [Outcome.failed(throttling())] * 2).error_code == "ThrottlingException"


def test_what_is_the_clients_fault_is_told_whatever_else_was_done() -> None:
    parts = split.split(call("BatchWriteItem", PUT), by_parity)
    answers = [Outcome.of({"UnprocessedItems": {}}), Outcome.failed(validation("no"))]
    assert split.join(parts, answers).error_code == "ValidationException"


def test_a_transaction_is_not_split() -> None:
    request = {"TransactItems": [{"Get": {"TableName": "one", "Key": key(n)}} for n in (1, 2)]}
    operation = decode("TransactGetItems", orjson.dumps(request), request, SCHEMAS)
    refusal = split.cross_authority_error(Call(operation, {}, "*", ""))
    assert refusal is not None
    assert refusal.code == "ValidationException"
