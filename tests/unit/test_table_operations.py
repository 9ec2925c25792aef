"""Operations that are not decoded: what passes to DynamoDB, and what must not."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from proxy.cutover.authority.guard import NoRecord
from proxy.cutover.stages import Stages
from proxy.dynamodb.outcome import Outcome
from proxy.settings import DSQL, Settings
from proxy.shadow.instrumentation import Passthrough
from proxy.shadow.request.table_operations import TableOperations
from proxy.stores.table_registry import Tables


class Control:
    """DynamoDB, or what answers in its place."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def carry(self, target: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        self.asked.append(target)
        return Outcome.of({})

    async def answer(self, action: str, body: bytes, host: str) -> Outcome:
        self.asked.append(action)
        return Outcome.of({})


async def _no_table(_: str) -> None:
    return None


def operations(there: Control, stage: Any, *, alone: bool = False) -> TableOperations:
    settings: dict[str, Any] = {} if stage == "off" else {"dsql": DSQL(dsn="postgresql://nobody@127.0.0.1:1/x")}
    tables = Tables(_no_table, {})
    return TableOperations(
        stages=Stages(Settings(stage=stage, **settings)),
        authority=NoRecord(),
        tables=tables,
        dynamodb=cast("Passthrough", there),
        control=there if alone else None,
        follow=None,
        on_table_deleted=lambda _: None,
        on_table_described=lambda _: None,
        on_time_to_live=lambda _: None,
    )


@pytest.mark.parametrize("action", ["PutItem", "GetItem", "BatchWriteItem", "DescribeTable"])
@pytest.mark.parametrize("stage", ["dualwrite", "shadow", "live", "rampdown", "complete"])
async def test_the_api_of_2011_is_refused_by_name_where_anything_is_mirrored(stage: str, action: str) -> None:
    for alone in (False, True):
        there = Control()
        target = f"DynamoDB_20111205.{action}"
        outcome = await operations(there, stage, alone=alone).pass_through(action, target, b"{}", {})
        assert outcome.error_code == "UnknownOperationException"
        assert target in outcome.document["message"]
        assert there.asked == []


@pytest.mark.parametrize("stage", ["off", "dualwrite", "shadow", "live", "rampdown", "complete"])
async def test_a_search_that_no_sql_serves_is_never_the_mirrors(stage: str) -> None:
    there = Control()
    target = "DynamoDB_20120810.SearchVectors"
    outcome = await operations(there, stage).pass_through("SearchVectors", target, b'{"TableName": "t"}', {})
    if stage in ("off", "dualwrite", "shadow"):
        assert there.asked == [target]
    else:
        assert (outcome.error_code, there.asked) == ("UnknownOperationException", [])
        assert "SearchVectors" in outcome.document["message"]


@pytest.mark.parametrize("target", ["DynamoDB_20120810.ListTables", "DynamoDBStreams_20120810.GetRecords"])
async def test_the_rest_passes(target: str) -> None:
    there = Control()
    assert (await operations(there, "live").pass_through(target.partition(".")[2], target, b"{}", {})).ok
    assert there.asked == [target]


async def test_in_off_everything_passes() -> None:
    there = Control()
    assert (await operations(there, "off").pass_through("PutItem", "DynamoDB_20111205.PutItem", b"{}", {})).ok
    assert there.asked == ["DynamoDB_20111205.PutItem"]
