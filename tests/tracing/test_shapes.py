"""The traces of requests in each stage, over the real layer and the stand-ins: which spans, and what they say."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from tests.integration.scenes import run_sql
from tests.standins.dsql import Dsql
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres
from tests.tracing.scene import Traced, traced

SENT_TRACE, SENT_SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SENT = {"traceparent": f"00-{SENT_TRACE}-{SENT_SPAN}-01", "tracestate": "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"}
KEY = {"id": {"S": "one"}}
ITEM = {**KEY, "title": {"S": "secret title"}}


@pytest.fixture(scope="module")
def rows(postgres: Postgres) -> Iterator[str]:
    dsn = postgres.create_database()
    yield dsn
    postgres.drop_database(dsn)


@pytest.fixture(scope="module")
def here(
    ministack: Ministack, dsql_gate: Dsql, rows: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Traced]:
    ministack.reset()
    with traced(ministack.endpoint, dsql_gate.dsn(rows.rsplit("/", 1)[1]), tmp_path_factory.mktemp("traced")) as proxy:
        for stage in ("shadow", "live"):
            proxy.client().put_item(TableName=f"tr_{stage}", Item=ITEM)
            proxy.spans("DynamoDB/PutItem", "crossfade.rehearse")
        yield proxy


@pytest.fixture(autouse=True)
def nothing_before(here: Traced) -> None:
    """What an earlier test left to converge or compare is none of this one's."""
    here.spans()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def shape(spans: list[ReadableSpan]) -> set[tuple[str, str, str]]:
    """Of each span its kind, its name and its parent's name ("" for none, "client" for one that is not among them)."""
    by_id = {span.context.span_id: span.name for span in spans}
    return {
        (span.kind.name, span.name, by_id.get(span.parent.span_id, "client") if span.parent is not None else "")
        for span in spans
    }


def one(spans: list[ReadableSpan], name: str, **said: str) -> ReadableSpan:
    found = [
        span
        for span in spans
        if span.name == name and said.items() <= {k.rpartition(".")[2]: v for k, v in attributes(span).items()}.items()
    ]
    assert len(found) == 1, [(span.name, attributes(span)) for span in spans]
    return found[0]


def of_one_trace(spans: list[ReadableSpan]) -> bool:
    return len({span.context.trace_id for span in spans}) == 1


def test_a_get_in_off_is_the_request_and_the_authority(here: Traced) -> None:
    here.client().get_item(TableName="tr_off", Key=KEY)
    spans = here.spans("DynamoDB/GetItem", "DynamoDB.GetItem")
    assert shape(spans) == {
        ("SERVER", "DynamoDB/GetItem", ""),
        ("CLIENT", "DynamoDB.GetItem", "DynamoDB/GetItem"),
    }
    served, called = one(spans, "DynamoDB/GetItem"), one(spans, "DynamoDB.GetItem")
    said = attributes(served)
    assert said.pop("crossfade.request_id")
    assert said == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "rpc.system.name": "aws-api",
        "rpc.method": "DynamoDB/GetItem",
        "server.address": "127.0.0.1",
        "aws.dynamodb.table_names": ("tr_off",),
        "crossfade.authority": "dynamodb",
        "crossfade.epoch": 0,
        "crossfade.stage": "off",
    }
    said = attributes(called)
    assert said.pop("aws.request_id")
    assert said.pop("server.port")
    assert said == {
        "db.system.name": "aws.dynamodb",
        "db.operation.name": "GetItem",
        "db.collection.name": "tr_off",
        "rpc.system.name": "aws-api",
        "rpc.method": "DynamoDB/GetItem",
        "cloud.region": "us-east-1",
        "server.address": "127.0.0.1",
        "aws.dynamodb.table_names": ("tr_off",),
        "crossfade.role": "authority",
    }
    assert {span.status.status_code for span in spans} == {StatusCode.UNSET}


def test_a_get_in_shadow_is_compared_in_its_own_trace(here: Traced) -> None:
    here.client(SENT).get_item(TableName="tr_shadow", Key=KEY, ConsistentRead=True)
    spans = here.spans("crossfade.compare", "DynamoDB/GetItem")
    assert shape(spans) == {
        ("SERVER", "DynamoDB/GetItem", "client"),
        ("CLIENT", "DynamoDB.GetItem", "DynamoDB/GetItem"),
        ("INTERNAL", "crossfade.compare", "DynamoDB/GetItem"),
        ("CLIENT", "GetItem tr_shadow", "crossfade.compare"),
    }
    assert {f"{span.context.trace_id:032x}" for span in spans} == {SENT_TRACE}
    assert {span.context.trace_state.to_header() for span in spans} == {SENT["tracestate"]}
    served, compared = one(spans, "DynamoDB/GetItem"), one(spans, "crossfade.compare")
    assert served.parent is not None
    assert f"{served.parent.span_id:016x}" == SENT_SPAN
    assert attributes(served)["aws.dynamodb.consistent_read"] is True
    said = attributes(compared)
    assert said["crossfade.verdict"] == "agreed"
    assert said["crossfade.operation"] == "GetItem"
    assert (said["crossfade.stage"], said["crossfade.authority"], said["crossfade.item_type"]) == (
        "shadow",
        "dynamodb",
        "*",
    )
    mirror = attributes(one(spans, "GetItem tr_shadow"))
    assert mirror["db.system.name"] == "postgresql"
    assert mirror["db.namespace"].endswith("|public")
    assert mirror["crossfade.role"] == "mirror"


def test_a_get_in_live_is_served_by_dsql(here: Traced) -> None:
    here.client().get_item(TableName="tr_live", Key=KEY)
    spans = here.spans("crossfade.compare", "DynamoDB/GetItem")
    assert shape(spans) == {
        ("SERVER", "DynamoDB/GetItem", ""),
        ("CLIENT", "GetItem tr_live", "DynamoDB/GetItem"),
        ("INTERNAL", "crossfade.compare", "DynamoDB/GetItem"),
        ("CLIENT", "DynamoDB.GetItem", "crossfade.compare"),
    }
    assert attributes(one(spans, "GetItem tr_live"))["crossfade.role"] == "authority"
    assert attributes(one(spans, "DynamoDB.GetItem"))["crossfade.role"] == "mirror"
    assert attributes(one(spans, "DynamoDB/GetItem"))["crossfade.authority"] == "dsql"
    assert of_one_trace(spans)


def test_a_put_in_shadow_is_rehearsed_and_looked_at(here: Traced) -> None:
    here.client().put_item(TableName="tr_shadow", Item=ITEM)
    spans = here.spans("crossfade.rehearse", "DynamoDB/PutItem")
    assert shape(spans) == {
        ("SERVER", "DynamoDB/PutItem", ""),
        ("CLIENT", "DynamoDB.PutItem", "DynamoDB/PutItem"),
        ("INTERNAL", "crossfade.rehearse", "DynamoDB/PutItem"),
        ("CLIENT", "PutItem tr_shadow", "crossfade.rehearse"),
        ("CLIENT", "DynamoDB.GetItem", "crossfade.rehearse"),
    }
    assert of_one_trace(spans)
    assert attributes(one(spans, "crossfade.rehearse"))["crossfade.verdict"] == "agreed"


def test_a_put_that_leaves_a_difference_converges_under_its_rehearsal(here: Traced, rows: str) -> None:
    """Somebody changed the mirror: the update is refused there, and what it left is repaired at once."""
    here.client().put_item(TableName="tr_shadow", Item={"id": {"S": "two"}, "n": {"N": "1"}})
    here.spans("crossfade.rehearse", "DynamoDB/PutItem")
    asyncio.run(run_sql(rows, "DELETE FROM tr_shadow WHERE id = 'two'"))
    here.client().update_item(
        TableName="tr_shadow",
        Key={"id": {"S": "two"}},
        UpdateExpression="SET m = :m",
        ConditionExpression="attribute_exists(n)",
        ExpressionAttributeValues={":m": {"S": "secret"}},
    )
    spans = here.spans("crossfade.converge", "crossfade.rehearse", "DynamoDB/UpdateItem")
    assert of_one_trace(spans)
    rehearsed, converged = one(spans, "crossfade.rehearse"), one(spans, "crossfade.converge")
    assert attributes(rehearsed)["crossfade.verdict"] == "mismatch"
    assert attributes(rehearsed)["crossfade.differences"] > 0
    assert converged.parent is not None
    assert converged.parent.span_id == rehearsed.context.span_id
    assert attributes(converged)["crossfade.repairs"] == 1
    assert converged.links == ()
    refused = one(spans, "UpdateItem tr_shadow")
    assert attributes(refused)["error.type"] == "ConditionalCheckFailedException"


def test_a_put_in_dualwrite_converges_in_a_trace_of_its_own_linked_to_the_request_s(here: Traced) -> None:
    here.client(SENT).put_item(TableName="tr_dualwrite", Item=ITEM)
    spans = here.spans("crossfade.converge", "DynamoDB/PutItem")
    served, converged = one(spans, "DynamoDB/PutItem"), one(spans, "crossfade.converge")
    assert shape(spans) == {
        ("SERVER", "DynamoDB/PutItem", "client"),
        ("CLIENT", "DynamoDB.PutItem", "DynamoDB/PutItem"),
        ("INTERNAL", "crossfade.converge", ""),
        ("CLIENT", "DynamoDB.GetItem", "crossfade.converge"),
        ("CLIENT", "GetItem tr_dualwrite", "crossfade.converge"),
        ("CLIENT", "PutItem tr_dualwrite", "crossfade.converge"),
    }
    assert [(link.context.trace_id, link.context.span_id) for link in converged.links] == [
        (served.context.trace_id, served.context.span_id)
    ]
    assert converged.context.trace_id != served.context.trace_id
    assert attributes(converged) == {
        "aws.dynamodb.table_names": ("tr_dualwrite",),
        "crossfade.authority": "dynamodb",
        "crossfade.epoch": 0,
        "crossfade.item_type": "*",
        "crossfade.repairs": 1,
        "crossfade.stage": "dualwrite",
    }


def test_a_transaction_is_one_call_on_its_tables(here: Traced) -> None:
    here.client().transact_write_items(
        TransactItems=[
            {"Put": {"TableName": "tr_shadow", "Item": {"id": {"S": "three"}}}},
            {"Put": {"TableName": "tr_shadow", "Item": {"id": {"S": "four"}}}},
        ]
    )
    spans = here.spans("crossfade.rehearse", "DynamoDB/TransactWriteItems")
    assert of_one_trace(spans)
    assert {("CLIENT", "DynamoDB.TransactWriteItems", "DynamoDB/TransactWriteItems")} < shape(spans)
    assert {("CLIENT", "TransactWriteItems tr_shadow", "crossfade.rehearse")} < shape(spans)
    assert attributes(one(spans, "DynamoDB/TransactWriteItems"))["aws.dynamodb.table_names"] == ("tr_shadow",)
    assert attributes(one(spans, "crossfade.rehearse"))["crossfade.verdict"] == "agreed"


def test_a_refusal_is_the_client_s_affair_and_is_told_by_its_code(here: Traced) -> None:
    with pytest.raises(ClientError):
        here.client().put_item(
            TableName="tr_shadow",
            Item={**KEY, "more": {"S": "secret more"}},
            ConditionExpression="title = :t",
            ExpressionAttributeValues={":t": {"S": "secret guess"}},
        )
    spans = here.spans("crossfade.rehearse", "DynamoDB/PutItem")
    served, called = one(spans, "DynamoDB/PutItem"), one(spans, "DynamoDB.PutItem")
    assert served.status.status_code is StatusCode.UNSET
    assert attributes(served)["rpc.response.status_code"] == "ConditionalCheckFailedException"
    assert attributes(served)["http.response.status_code"] == 400
    assert called.status.status_code is StatusCode.ERROR
    assert attributes(called)["error.type"] == "ConditionalCheckFailedException"
    assert called.status.description is None
    assert [event for span in spans for event in span.events] == []
    assert "secret" not in " ".join(span.to_json() for span in spans)


def test_a_mirror_that_fails_is_seen_where_it_failed(here: Traced, rows: str) -> None:
    """The last of these tests: the table does not come back."""
    asyncio.run(run_sql(rows, "DROP TABLE tr_shadow"))
    here.client().get_item(TableName="tr_shadow", Key=KEY)
    spans = here.spans("crossfade.compare", "DynamoDB/GetItem")
    failed = one(spans, "GetItem tr_shadow")
    assert failed.kind is SpanKind.CLIENT
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description is None
    assert attributes(one(spans, "crossfade.compare"))["crossfade.verdict"] == "mirror_error"
    assert attributes(one(spans, "crossfade.compare"))["crossfade.reason"] == attributes(failed)["error.type"]
    served = one(spans, "DynamoDB/GetItem")
    assert served.status.status_code is StatusCode.UNSET
    assert attributes(served)["http.response.status_code"] == 200
