"""No value of an item leaves a proxy but to its client, unless values are on: not in logs, metrics, API or console. In
traces there are none at all.

Operations with marked values, as many ways as differences, refusals and faults come about; then everything that came
out is searched for the marks.
"""

import asyncio
import base64
import http.client
import json
import random
import urllib.request
from typing import Any

from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.scenes import Scene, run_sql, scene, wait_until
from tests.standins.billio import HASH_KEY, TABLE, billio_table
from tests.tracing.collector import Collector

PAGES = (
    "/metrics",
    "/v1/status",
    "/v1/mismatches?limit=1000",
    "/v1/stages",
    f"/v1/gate/{TABLE}?to=live",
    "/readyz",
    "/",
)
ENVIRONMENT = {"CROSSFADE_ADMIN__VALUES": "false", "CROSSFADE_LOG__LEVEL": "debug", "CROSSFADE_MIRROR__ALONE": "true"}


class Marks:
    """Values that occur nowhere by chance, and all of them so far."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self.made: set[str] = set()

    def text(self) -> str:
        return self._keep(f"zq{self._dice.getrandbits(48):012x}qz")

    def number(self) -> str:
        return self._keep(str(7_310_000_000_000_000 + self._dice.getrandbits(36)))

    def binary(self) -> bytes:
        raw = self._dice.randbytes(12)
        self._keep(base64.b64encode(raw).decode())
        self._keep(raw.hex())
        return raw

    def _keep(self, mark: str) -> str:
        self.made.add(mark)
        return mark


def _item(marks: Marks, identity: str) -> dict[str, Any]:
    return {
        HASH_KEY: {"S": f"Book:{identity}"},
        "type": {"S": "Book"},
        "id": {"S": identity},
        "title": {"S": marks.text()},
        "notes": {"S": marks.text()},
        "rating": {"N": marks.number()},
        "raw": {"B": marks.binary()},
        "image": {"M": {"url": {"S": marks.text()}, "width": {"N": marks.number()}}},
        "tags": {"SS": [marks.text(), marks.text()]},
        "unnamed": {"L": [{"S": marks.text()}]},
    }


def _operations(client: Any, marks: Marks) -> str:
    """Writes and reads that go well and that are refused. Gives the id of an item that is there."""
    identity = marks.text()
    key = {HASH_KEY: {"S": f"Book:{identity}"}}
    unheld = marks.text()
    calls: list[tuple[str, dict[str, Any]]] = [
        ("put_item", {"Item": _item(marks, identity)}),
        (
            "update_item",
            {
                "Key": key,
                "UpdateExpression": "SET notes = :n",
                "ExpressionAttributeValues": {":n": {"S": marks.text()}},
            },
        ),
        (
            "update_item",
            {
                "Key": key,
                "UpdateExpression": "ADD title :n",
                "ExpressionAttributeValues": {":n": {"N": marks.number()}},
            },
        ),
        (
            "put_item",
            {
                "Item": _item(marks, identity),
                "ConditionExpression": "title = :t",
                "ExpressionAttributeValues": {":t": {"S": marks.text()}},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            },
        ),
        (
            "put_item",
            {
                "Item": {
                    HASH_KEY: {"S": f"Book:{unheld}"},
                    "type": {"S": "Book"},
                    "id": {"S": unheld},
                    "movedAt": {"N": "1700000000000.00001"},
                    "title": {"S": marks.text()},
                }
            },
        ),
        ("put_item", {"Item": {HASH_KEY: {"N": marks.number()}}}),
        ("put_item", {"Item": {HASH_KEY: {"S": marks.text()}, "rating": {"N": f"x{marks.text()}"}}}),
        ("get_item", {"Key": key, "ConsistentRead": True}),
        (
            "query",
            {
                "KeyConditionExpression": f"#k = :k AND {marks.text()}",
                "ExpressionAttributeNames": {"#k": HASH_KEY},
                "ExpressionAttributeValues": {":k": {"S": marks.text()}},
            },
        ),
        ("scan", {"FilterExpression": "notes = :n", "ExpressionAttributeValues": {":n": {"S": marks.text()}}}),
    ]
    refused: list[int] = []
    for name, arguments in calls:
        try:
            getattr(client, name)(TableName=TABLE, **arguments)
        except ClientError as error:
            refused.append(error.response["ResponseMetadata"]["HTTPStatusCode"])
    assert refused
    assert set(refused) == {400}
    return identity


def _broken(here: Scene, marks: Marks) -> None:
    """A body that is no request."""
    host = here.proxy.data.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=60)
    for body in (
        f'{{"TableName": "{TABLE}", "Item": "{marks.text()}"',
        f'{{"TableName": "{TABLE}", "Key": ["{marks.text()}"]}}',
    ):
        headers = {"X-Amz-Target": "DynamoDB_20120810.GetItem", "Content-Type": "application/x-amz-json-1.0"}
        connection.request("POST", "/", body, headers)
        assert connection.getresponse().read()
    connection.close()


def _everything(here: Scene) -> str:
    """All that the proxy says to others than its clients."""
    said = [here.proxy.log_file.read_text(encoding="utf-8")]
    for page in PAGES:
        with urllib.request.urlopen(here.proxy.admin + page, timeout=60) as answer:
            said.append(answer.read().decode())
    return "\n".join(said)


def _traced(collector: Collector) -> dict[str, str]:
    """Settings by which every request is traced, to this collector."""
    return {
        "CROSSFADE_TRACING__ENABLED": "true",
        "CROSSFADE_TRACING__SAMPLE_RATIO": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
    }


def _trace_of_the_newest(here: Scene) -> str:
    """The trace that the log gives for its newest mismatch."""
    lines = [json.loads(line) for line in here.proxy.log_file.read_text("utf-8").splitlines() if line.startswith("{")]
    traces = [line["trace_id"] for line in lines if line["event"] == "verdict" and line["verdict"] == "mismatch"]
    return str(traces[-1])


def _tell(here: Scene, marks: Marks, collector: Collector) -> str:
    """Operations, a difference that lasts, and all that was said of it."""
    collector.forget()
    client = here.client()
    identity = _operations(client, marks)
    _broken(here, marks)
    here.proxy.settle()
    differs = marks.text()
    changed = asyncio.run(
        run_sql(
            here.dsn,
            "UPDATE items SET title = $1, notes = NULL WHERE type = 'Book' AND id = $2 RETURNING 1",
            differs,
            identity,
        )
    )
    assert changed
    seen = here.verdicts("GetItem").get("mismatch", 0)
    client.get_item(TableName=TABLE, Key={HASH_KEY: {"S": f"Book:{identity}"}})
    wait_until(lambda: here.verdicts("GetItem").get("mismatch", 0) > seen, 120, "a mismatch")
    wait_until(lambda: _trace_of_the_newest(here) in {span.trace for span in collector.spans}, 120, "its spans")
    wait_until(lambda: '"mismatch"' in collector.text, 120, "its verdict's span")
    return _everything(here)


def test_no_value_leaves_the_proxy(dynamodb: str, database: str, dsql_database: str) -> None:
    billio_table(dynamodb)
    with (
        Collector() as collector,
        scene(dynamodb, dsql_database, rows=database, environment=ENVIRONMENT | _traced(collector)) as here,
    ):

        @given(seed=st.integers(min_value=0, max_value=2**32))
        @settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
        def holds(seed: int) -> None:
            marks = Marks(seed)
            said = _tell(here, marks, collector) + collector.text
            assert '"mismatch"' in said
            assert '"unrepresentable"' in said
            assert "crossfade.converge" in said
            assert _trace_of_the_newest(here) in {span.trace for span in collector.spans}
            assert [mark for mark in sorted(marks.made) if mark in said] == []

        holds()


def test_values_are_found_where_they_are_on(dynamodb: str, database: str, dsql_database: str) -> None:
    """What the search above would miss if it looked in the wrong place."""
    billio_table(dynamodb)
    with Collector() as collector:
        on = ENVIRONMENT | _traced(collector) | {"CROSSFADE_ADMIN__VALUES": "true"}
        with scene(dynamodb, dsql_database, rows=database, environment=on) as here:
            marks = Marks(1)
            said = _tell(here, marks, collector)
            assert any(mark in said for mark in marks.made)
            assert [mark for mark in sorted(marks.made) if mark in collector.text] == []
