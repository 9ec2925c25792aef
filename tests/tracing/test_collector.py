"""`crossfade serve` and a collector: a client's trace goes through, and a collector that hangs harms nobody."""

import signal
import time
from typing import Any

from tests.integration.scenes import Scene, scene, wait_until
from tests.standins.billio import HASH_KEY, TABLE, billio_table, dynamodb_client
from tests.tracing.collector import Collector, Got

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
STATE = "vendor=opaque,other=00f067aa0ba902b7"
KEY = {HASH_KEY: {"S": "Book:1"}}
QUEUE = 200
READS = 150
AT_ONCE = 10  # reads whose spans the queue holds with ease
PATIENCE = 60  # seconds that the proxy gives the collector


def client_of(here: Scene, *, sampled: bool) -> Any:
    """A boto3 client within a trace, whose signature covers the headers that say so."""
    client = dynamodb_client(here.proxy.data)

    def add(request: Any, **_: Any) -> None:
        request.headers["traceparent"] = f"00-{TRACE}-{SPAN}-0{int(sampled)}"
        request.headers["tracestate"] = STATE

    client.meta.events.register("before-sign.dynamodb", add)
    return client


def waits(client: Any, reads: int) -> list[float]:
    """What a client waits for its reads, in seconds, the shortest first."""
    took = []
    for _ in range(reads):
        began = time.perf_counter()
        client.get_item(TableName=TABLE, Key=KEY)
        took.append(time.perf_counter() - began)
    return sorted(took)


def test_a_client_s_trace_goes_through_and_a_hung_collector_harms_nobody(
    dynamodb: str, database: str, dsql_database: str
) -> None:
    billio_table(dynamodb)
    with Collector() as collector:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_EXPORTER_OTLP_TIMEOUT": str(PATIENCE),
            "OTEL_SERVICE_NAME": "catalogue-proxy",
            "CROSSFADE_TRACING__ENABLED": "true",
            # Only the client's word counts: of its own accord it traces nothing.
            "CROSSFADE_TRACING__SAMPLE_RATIO": "0",
            "CROSSFADE_TRACING__QUEUE": str(QUEUE),
        }
        with scene(dynamodb, dsql_database, rows=database, environment=environment) as here:
            traced, untraced = client_of(here, sampled=True), client_of(here, sampled=False)
            item = {**KEY, "type": {"S": "Book"}, "id": {"S": "1"}, "title": {"S": "a title"}}
            untraced.put_item(TableName=TABLE, Item=item)
            here.client().put_item(TableName=TABLE, Item=item)
            here.proxy.settle()
            traced.get_item(TableName=TABLE, Key=KEY, ConsistentRead=True)
            wait_until(lambda: len(collector.spans) >= 4, 120, "spans")
            _is_the_client_s(collector.spans)
            # Sent, and nothing but what was asked for.
            assert {span.trace for span in collector.spans} == {TRACE}
            for turn in range(1, 4):
                waits(traced, AT_ONCE)
                wait_until(lambda n=turn: _counted(here, "sent") >= 4 * AT_ONCE * n, 120, "all spans")  # type: ignore[misc]
            assert _counted(here, "dropped") == 0

            collector.hang()
            hung = waits(traced, READS)
            # One that had waited for the collector would have waited for so long.
            assert hung[-1] < PATIENCE / 2
            wait_until(lambda: _counted(here, "dropped") > 0, 120, "spans to be dropped")

            here.proxy.child.stop(signal.SIGTERM, 2 * PATIENCE)  # killed after so long; two batches at least waited
            assert here.proxy.child.exit_status == 0
            said = here.proxy.log_file.read_text("utf-8")
    assert [said.count(f'"{event}"') for event in ("spans_dropped", "spans_left")] == [1, 1]
    assert said.count('"spans_not_sent"') <= 1
    assert "Traceback" not in said
    assert "opentelemetry" not in said


def _is_the_client_s(spans: list[Got]) -> None:
    by_name = {span.name: span for span in spans}
    served = by_name["DynamoDB/GetItem"]
    assert (served.kind, served.parent) == ("SERVER", SPAN)
    for name, parent in (
        ("DynamoDB.GetItem", "DynamoDB/GetItem"),
        ("crossfade.compare", "DynamoDB/GetItem"),
        ("GetItem items", "crossfade.compare"),
    ):
        assert by_name[name].parent == by_name[parent].span
    assert {span.state for span in spans} == {STATE}
    assert {span.service for span in spans} == {"catalogue-proxy"}
    assert not any(span.error or span.events or span.message for span in spans)
    compared = by_name["crossfade.compare"].attributes
    assert (compared["crossfade.verdict"], compared["crossfade.item_type"]) == ("agreed", "Book")


def _counted(here: Scene, outcome: str) -> float:
    return sum(value for labels, value in here.proxy.metrics()["crossfade_spans_total"] if labels["outcome"] == outcome)
