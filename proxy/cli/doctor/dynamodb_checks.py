"""DynamoDB's tables and the rights on them, asked action by action by requests that change nothing.

A write is asked with a condition that no item meets (the attribute is there and is not), or of a key that nobody has.
An answer other than AccessDenied shows the right: whether the request is answered or refused for what it asks.
"""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from proxy.cli.doctor.findings import Cost, Finding, Status
from proxy.dynamodb.schema import TableSchema
from proxy.mapping.compatibility import misfits
from proxy.mapping.load import LoadedMapping
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.errors import StoreError

_DENIED: Final = frozenset({"AccessDeniedException", "AccessDenied", "UnrecognizedClientException"})
_NOT_KNOWN: Final = frozenset({"UnknownOperationException", "UnsupportedOperationException", "InvalidAction"})
_SECONDS: Final = 15.0
_RIGHTS_REMEDY: Final = "allow it to the AWS identity: docs/operating.md has the policies"
_NEVER: Final = {
    "ConditionExpression": "attribute_exists(#k) AND attribute_not_exists(#k)",
}


@dataclass(slots=True)
class DynamoDBRequests:
    """Requests by name, counted."""

    client: DynamoDBClient
    cost: Cost

    async def ask(self, action: str, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The error's code, or "", and the answer. Raises StoreError where nothing answers."""
        self.cost.requests += 1
        prefix = "DynamoDBStreams_20120810" if action == "DescribeStream" else "DynamoDB_20120810"
        response = await self.client.request(f"{prefix}.{action}", orjson.dumps(request), timeout=_SECONDS)
        try:
            answer: dict[str, Any] = orjson.loads(response.body or b"{}")
        except orjson.JSONDecodeError:
            return f"HTTP {response.status}", {}
        code = "" if response.status == 200 else str(answer.get("__type", f"HTTP {response.status}")).rpartition("#")[2]
        return code, answer


async def examine_table(requests: DynamoDBRequests, name: str, mapped: LoadedMapping | None) -> list[Finding]:
    """One table: what it is, and what may be done with it."""
    try:
        code, answer = await requests.ask("DescribeTable", {"TableName": name})
        if code:
            return [_refused(f"dynamodb: table {name}", code, "the table cannot be served")]
        table = answer["Table"]
        schema = TableSchema.from_description(table)
        return [
            Finding(f"dynamodb: table {name}", Status.OK, str(table.get("TableStatus", ""))),
            *_indexes(name, schema, mapped),
            await _stream(requests, name, table),
            *[await _setting(requests, name, *each) for each in _SETTINGS],
            *[await _right(requests, name, schema, *each) for each in _actions(name, schema)],
        ]
    except StoreError as error:
        remedy = "see endpoint_url and region in [dynamodb]"
        return [Finding(f"dynamodb: table {name}", Status.REFUSED, str(error), "no answer", remedy, False)]


async def examine_stage_table(requests: DynamoDBRequests, name: str) -> list[Finding]:
    """The table in which stages are kept."""
    check = f"dynamodb: stage table {name}"
    try:
        code, answer = await requests.ask("DescribeTable", {"TableName": name})
        if code == "ResourceNotFoundException":
            remedy = "the stack makes it, or a proxy that may make tables"
            return [Finding(check, Status.DIFFERS, "not there yet", "the first proxy makes it", remedy)]
        if code:
            return [_refused(check, code, "no stage can be read or moved")]
        schema = TableSchema.from_description(answer["Table"])
        wanted = ("DeleteItem", "GetItem", "PutItem", "Query")
        return [
            Finding(check, Status.OK, str(answer["Table"].get("TableStatus", ""))),
            *[await _right(requests, name, schema, *each) for each in _actions(name, schema) if each[0] in wanted],
        ]
    except StoreError as error:
        return [Finding(check, Status.REFUSED, str(error), "no answer", "see [dynamodb]", False)]


def _indexes(name: str, schema: TableSchema, mapped: LoadedMapping | None) -> Iterator[Finding]:
    problems = [*(misfits(mapped.mapping, schema) if mapped is not None else ())]
    problems += [f"index {index}: {why}" for index, why in schema.left_out.items()]
    check = f"dynamodb: keys and indexes of {name}"
    if problems:
        meaning = "reads of these are answered wrongly or not at all"
        yield Finding(check, Status.DIFFERS, "; ".join(problems), meaning, "correct the mapping file", False)
    else:
        yield Finding(check, Status.OK, f"{len(schema.indexes)} indexes")


async def _stream(requests: DynamoDBRequests, name: str, table: dict[str, Any]) -> Finding:
    check = f"dynamodb: stream of {name}"
    specified = table.get("StreamSpecification") or {}
    if specified.get("StreamEnabled"):
        code, _ = await requests.ask("DescribeStream", {"StreamArn": table.get("LatestStreamArn", ""), "Limit": 1})
        if code in _DENIED:
            meaning = "the stream cannot be followed"
            return Finding(check, Status.REFUSED, f"DescribeStream: {code}", meaning, _RIGHTS_REMEDY, False)
        return Finding(check, Status.OK, str(specified.get("StreamViewType", "")))
    meaning = "writes that go past the proxy, and a lost host's journal, are found by sweeps alone"
    return Finding(check, Status.DIFFERS, "off", meaning, "switch it on with KEYS_ONLY if others write the table")


_SETTINGS: Final = (
    ("DescribeTimeToLive", "TTL", ("TimeToLiveDescription", "TimeToLiveStatus"), "ENABLED"),
    ("DescribeContinuousBackups", "PITR", ("ContinuousBackupsDescription", "ContinuousBackupsStatus"), "DISABLED"),
)
_MEANS: Final = {
    "TTL": ("DynamoDB deletes expired items by itself, past the proxy", "follow the table's stream (docs/streams.md)"),
    "PITR": ("a backfill from an export to S3 needs it", "switch it on, or backfill by Scan"),
}


async def _setting(
    requests: DynamoDBRequests, name: str, action: str, what: str, at: tuple[str, str], odd: str
) -> Finding:
    check = f"dynamodb: {what} of {name}"
    code, answer = await requests.ask(action, {"TableName": name})
    if code:
        return Finding(check, Status.NOT_ASKED, code, "", f"allow dynamodb:{action} to check it")
    found = str(answer.get(at[0], {}).get(at[1], ""))
    if found == odd:
        return Finding(check, Status.DIFFERS, found, *_MEANS[what])
    return Finding(check, Status.OK, found)


async def _right(
    requests: DynamoDBRequests, name: str, _: TableSchema, right: str, action: str, request: dict[str, Any]
) -> Finding:
    check = f"dynamodb: {right} on {name}"
    code, _answer = await requests.ask(action, request)
    if code in _NOT_KNOWN:
        return Finding(check, Status.NOT_ASKED, code)
    if code in _DENIED:
        return _refused(check, code, f"whatever needs dynamodb:{right} fails")
    if code in ("", "ConditionalCheckFailedException", "TransactionCanceledException"):
        return Finding(check, Status.OK, "allowed")
    return Finding(
        check, Status.DIFFERS, code, "the request was not answered as DynamoDB does", "see [dynamodb]", False
    )


def _actions(name: str, schema: TableSchema) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """A right, and the request that asks for it."""
    marker = f"crossfade-doctor-{secrets.token_hex(8)}"
    values = {"S": {"S": marker}, "N": {"N": "-987654321"}, "B": {"B": b64encode(marker.encode()).decode()}}
    key = {each: values[schema.types[each]] for each in schema.key_names}
    table: dict[str, Any] = {"TableName": name}
    never: dict[str, Any] = {**_NEVER, "ExpressionAttributeNames": {"#k": schema.hash}}
    one = {"TableName": name, "Key": key, **never}
    yield "GetItem", "GetItem", table | {"Key": key}
    yield "BatchGetItem", "BatchGetItem", {"RequestItems": {name: {"Keys": [key]}}}
    hashed = {"#k": schema.hash}, {":v": key[schema.hash]}
    query = {"ExpressionAttributeNames": hashed[0], "ExpressionAttributeValues": hashed[1], "Limit": 1}
    yield "Query", "Query", table | {"KeyConditionExpression": "#k = :v", **query}
    yield "Scan", "Scan", table | {"Limit": 1}
    yield "PutItem", "PutItem", table | {"Item": key, **never}
    yield "UpdateItem", "UpdateItem", one
    yield "DeleteItem", "DeleteItem", one
    yield "BatchWriteItem", "BatchWriteItem", {"RequestItems": {name: [{"DeleteRequest": {"Key": key}}]}}
    yield "ConditionCheckItem", "TransactWriteItems", {"TransactItems": [{"ConditionCheck": one}]}


def _refused(check: str, code: str, meaning: str) -> Finding:
    remedy = _RIGHTS_REMEDY if code in _DENIED else "see endpoint_url and region in [dynamodb], and --table"
    return Finding(check, Status.REFUSED, code, meaning, remedy, False)
