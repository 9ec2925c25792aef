"""JSON of any size is parsed to the same values, and what is long not on the event loop."""

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.dynamodb import large_json
from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.large_json import SMALL, is_dense, parse, parse_in_steps
from proxy.dynamodb.operations import Operation, parse_body
from proxy.dynamodb.outcome import Outcome
from proxy.off_loop import LoopTurn, off_loop
from proxy.stores.errors import UnknownOutcome
from proxy.stores.guarded_store import ConclusiveStore
from proxy.stores.interface import ExecutionResult
from tests.unit.shadow_stores import MemoryStore

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
DENSE = orjson.dumps({"TableName": "t", "Item": {"pk": {"S": "a"}, "l": {"L": [{"NULL": True}] * 30_000}}})
LONG = orjson.dumps({"TableName": "t", "Item": {"pk": {"S": "a"}, "t": {"S": "x" * 390_000}}})


@given(VALUES)
@example({"a": '\u2028"\\\n😀', "b": [], "c": {}, "": -0.0})
@settings(deadline=None)
def test_both_parsers_agree(value: Any) -> None:
    body = orjson.dumps(value)
    assert parse_in_steps(body) == orjson.loads(body) == value


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nul", b"[1,]", b"NaN", b"[Infinity]", b"\xff", b'"\xed\xa0\x80"', b"[" * 5000]
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        parse_in_steps(body)


def test_what_is_dense_is_parsed_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    in_steps: list[bytes] = []

    def noted(body: bytes) -> Any:
        in_steps.append(body)
        return parse_in_steps(body)

    monkeypatch.setattr(large_json, "parse_in_steps", noted)
    assert len(DENSE) > SMALL
    assert len(LONG) > SMALL
    assert is_dense(DENSE)
    assert not is_dense(LONG)
    for body in (DENSE, LONG, b'{"a":1}'):
        assert parse(body) == orjson.loads(body)
    assert in_steps == [DENSE]


@pytest.mark.parametrize("body", [DENSE[:-2], LONG[:-2], b"[" * SMALL * 2, b"{}," * SMALL, b"\xff" * SMALL * 2])
def test_a_long_body_that_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(DynamoDBError) as raised:
        parse_body(body)
    assert raised.value.code == "SerializationException"


async def test_what_is_long_is_computed_in_another_thread() -> None:
    here = threading.get_ident()
    assert await off_loop(SMALL, threading.get_ident) == here
    assert await off_loop(SMALL + 1, threading.get_ident) != here


@pytest.mark.parametrize("body", [DENSE, LONG, b"<html>" * SMALL, b"[" + b"1," * SMALL + b"1]"])
def test_a_long_answer_is_decoded_as_a_short_one(body: bytes) -> None:
    loaded, plain = Outcome(200, (), body), Outcome(200, (), body)
    loaded.decode()
    assert loaded.received_bytes == 0
    assert loaded.document == plain.document
    assert loaded.body is body


@dataclass
class Answering(MemoryStore):
    """A store that gives one answer, in bytes."""

    body: bytes = b""

    async def execute(self, operation: Operation) -> ExecutionResult:
        return ExecutionResult(Outcome(200, (), self.body), {})


async def test_an_answer_to_a_read_is_not_decoded_to_see_whether_it_decides_anything() -> None:
    store = ConclusiveStore(Answering(body=LONG))
    executed = await store.execute(Operation("BatchGetItem", b"", {}, (), {}))
    assert executed.outcome.received_bytes == len(LONG)
    partial = ConclusiveStore(Answering(body=b'{"UnprocessedItems":{"t":[{}]}}'))
    with pytest.raises(UnknownOutcome):
        await partial.execute(Operation("BatchWriteItem", b"", {}, (), {}))


async def test_a_long_turn_is_given_back() -> None:
    others = 0

    async def count() -> None:
        nonlocal others
        while True:
            others += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    turn = LoopTurn()
    until = time.monotonic() + 0.1
    while time.monotonic() < until:
        await turn.give_way()
    counting.cancel()
    assert others > 1
