"""Every rule is answered as DynamoDB answers it, by the decoder and the executor that serve a client from rows."""

from __future__ import annotations

import json

import pytest

from comparators.errors import code_of, message_of
from proxy.dynamodb.operations import tables_of
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import TableSchema
from proxy.metrics.registry import Metrics
from proxy.shadow.call import Call
from proxy.shadow.request.decoder import RequestDecoder, refusal_of
from proxy.stores.execution.executor import execute_for_client
from proxy.stores.table_registry import Tables
from tests.rules.all_rules import RULES
from tests.rules.memory_rows import MemoryRows
from tests.rules.rule import TABLES, Rule

SCHEMAS = {schema.name: schema for schema in map(TableSchema.from_description, TABLES)}


async def describe(name: str) -> TableSchema | None:
    return SCHEMAS.get(name)


async def answer(rule: Rule, rows: MemoryRows) -> Outcome:
    """What a client gets in a stage in which DSQL answers."""
    body = json.dumps(rule.request).encode()
    request = json.loads(body)
    names = tables_of(rule.action, request)
    if not names:
        return await refusal_of(rule.action, body, request, None)
    decoder = RequestDecoder(Tables(describe, {}), Metrics(), None)
    call = await decoder.decode(rule.action, body, request, names, "")
    if isinstance(call, Call):
        return (await execute_for_client(rows, call.operation)).outcome
    return await refusal_of(rule.action, body, request, call)


def name_of(rule: Rule) -> str:
    return f"{rule.action}: {rule.message[:60]}"


@pytest.mark.parametrize("rule", RULES, ids=name_of)
async def test_a_rule_is_kept(rule: Rule) -> None:
    rows = MemoryRows()
    outcome = await answer(rule, rows)
    assert not outcome.ok, rule.page
    said = code_of(outcome.document), message_of(outcome.document)
    assert rule.matches(*said), (rule.page, said)
    reasons = outcome.document.get("CancellationReasons", ())
    assert tuple(reason.get("Message", "") for reason in reasons) == rule.reasons
    assert rows.items == {}, "nothing is written"
