"""The stage table: the small DynamoDB table through which proxies agree on the stages.

One item is the state (the map of stages, its epoch, the move under way); each process has one item for its lease and
one for its evidence; each move adds one to the history. Every write of the state is conditional on the version that it
was decided on, and every write of a lease on the process's incarnation and a growing number, so that a write that
arrives late undoes nothing. Reads are strongly consistent. This module knows neither what stages mean nor when a lease
expires.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import orjson

from proxy.dynamodb.errors import RETRYABLE, TRANSACTION_CONFLICT
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.values import Item
from proxy.stores.errors import Refused, StoreError, UnknownOutcome, Unreachable

_STATE: Final = {"scope": {"S": "stages"}, "name": {"S": "state"}}
_PULSE: Final = {"scope": {"S": "stages"}, "name": {"S": "pulse"}}
_CREATE_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 0.25
REQUIRED_ACTIONS: Final = "CreateTable, DescribeTable, GetItem, PutItem, DeleteItem, Query"
_RETRYABLE: Final = RETRYABLE | {TRANSACTION_CONFLICT, "LimitExceededException", "TransactionInProgressException"}
_DENIED: Final = frozenset(
    {"AccessDeniedException", "UnrecognizedClientException", "MissingAuthenticationTokenException"}
)


@dataclass(frozen=True, slots=True)
class StageRow:
    """The state item: `map` and `flip` are documents that the flip understands, and this module does not. Version 0
    means that it was never written."""

    version: int = 0
    epoch: int = 0
    map: Mapping[str, Any] | None = None
    flip: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class LeaseItem:
    """The lease item of a process. `incarnation` is new at each start; `renewals` grows with each write; `seconds` is
    how long the renewal lasts; `flip` and `phase` are the vote on the move under way; `owes` says that the journal may
    hold keys; `initial_stages` are the settings' stages. The rest is for people: `listen` is the address on which it
    serves clients, `renewed` when it last renewed, in Unix seconds by its own clock."""

    process: str
    incarnation: str
    renewals: int
    seconds: float
    epoch: int = 0
    flip: str = ""
    phase: str = ""
    owes: bool = False
    initial_stages: str = ""
    note: Mapping[str, Any] = field(default_factory=dict)
    host: str = ""
    pid: int = 0
    started: float = 0.0
    renewed: float = 0.0
    listen: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)
    """What the process last saw of DSQL's record of the authority, and its mappings."""


class DynamoDBCalls(Protocol):
    """The part of `DynamoDBStore` that is used: any operation as bytes, within a time limit."""

    async def call(self, action: str, body: bytes) -> Outcome: ...


class StageTable:
    """The stage table in DynamoDB. Every method raises Unreachable, UnknownOutcome (the write may have happened, or may
    still happen) or Refused, which says what an operator has to do."""

    def __init__(self, dynamodb: DynamoDBCalls, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    @property
    def name(self) -> str:
        return self._table

    async def ensure(self) -> None:
        """Create the table if it does not exist. It is protected from deletion, because it records which store is the
        authority ("CreateTable", DeletionProtectionEnabled)."""
        if await self._active():
            return
        definition = {
            "TableName": self._table,
            "KeySchema": [
                {"AttributeName": "scope", "KeyType": "HASH"},
                {"AttributeName": "name", "KeyType": "RANGE"},
            ],
            "AttributeDefinitions": [
                {"AttributeName": "scope", "AttributeType": "S"},
                {"AttributeName": "name", "AttributeType": "S"},
            ],
            "BillingMode": "PAY_PER_REQUEST",
            "DeletionProtectionEnabled": True,
        }
        outcome = await self._dynamodb.call("CreateTable", orjson.dumps(definition))
        # "ResourceInUseException": another process is creating it at this moment, and it is waited for alike.
        if not outcome.ok and outcome.error_code != "ResourceInUseException":
            raise self._failure("CreateTable", outcome)
        try:
            async with asyncio.timeout(_CREATE_SECONDS):
                while not await self._active():  # noqa: ASYNC110  # DynamoDB sends no event
                    await asyncio.sleep(_PAUSE_SECONDS)
        except TimeoutError:
            raise Unreachable("making", f"table {self._table} is not active after {_CREATE_SECONDS:g} s") from None

    async def _active(self) -> bool:
        """A new table may seem to be missing: the answer is eventually consistent ("DescribeTable")."""
        outcome = await self._dynamodb.call("DescribeTable", orjson.dumps({"TableName": self._table}))
        if outcome.ok:
            return bool(outcome.document["Table"]["TableStatus"] == "ACTIVE")
        if outcome.error_code == "ResourceNotFoundException":
            return False
        raise self._failure("DescribeTable", outcome)

    # -- the state ----------------------------------------------------------------------------------------------------

    async def state(self) -> StageRow:
        item = await self._get(_STATE)
        return read_state(item) if item is not None else StageRow()

    async def write_state(self, new: StageRow, *, entry: Mapping[str, Any] | None = None) -> bool:
        """Write the state if its version is still one less than `new.version`; with it, all or nothing, an entry of the
        history. Returns whether it was written."""
        if entry is None:
            return await self._put(self._state_put(new))
        return await self._transact([{"Put": self._state_put(new)}, {"Put": self._history_put(new.epoch, entry)}])

    async def forget(self, lease: LeaseItem, new: StageRow, entry: Mapping[str, Any]) -> bool:
        """Delete a lease item that was not renewed, and write the state that records it, all or nothing. Returns
        whether it was done."""
        parts = [
            {"Put": self._state_put(new)},
            {"Put": self._history_put(new.epoch, entry)},
            {"Delete": self._lease_delete(lease, "life = :life AND renewals = :renewals")},
        ]
        if not await self._transact(parts):
            return False
        await self._ask("DeleteItem", {"TableName": self._table, "Key": _key("evidence", lease.process)})
        return True

    async def pulse(self) -> int:
        """Return the pulse that DSQL's record is known to have reached; 0 if none is known."""
        item = await self._get(_PULSE)
        return int(item["pulse"]["N"]) if item is not None else 0

    async def raise_pulse(self, pulse: int) -> None:
        """Write the pulse that DSQL's record has reached, unless a greater one is written."""
        number = {"N": str(pulse)}
        await self._put(
            {
                "TableName": self._table,
                "Item": {**_PULSE, "pulse": number},
                "ConditionExpression": "attribute_not_exists(pulse) OR pulse < :pulse",
                "ExpressionAttributeValues": {":pulse": number},
            }
        )

    def _state_put(self, new: StageRow) -> dict[str, Any]:
        """The put of the state, conditional on the version before."""
        put: dict[str, Any] = {"TableName": self._table, "Item": self._state_item(new)}
        if new.version <= 1:
            return put | {"ConditionExpression": "attribute_not_exists(version)"}
        return put | {
            "ConditionExpression": "version = :expected",
            "ExpressionAttributeValues": {":expected": {"N": str(new.version - 1)}},
        }

    async def _transact(self, parts: Sequence[Mapping[str, Any]]) -> bool:
        """All or nothing. Returns whether it was done; it was not if a condition did not hold."""
        outcome = await self._dynamodb.call("TransactWriteItems", orjson.dumps({"TransactItems": parts}))
        if outcome.ok:
            return True
        reasons = {reason.get("Code") for reason in outcome.document.get("CancellationReasons") or ()}
        if "ConditionalCheckFailed" in reasons:
            return False
        if outcome.error_code == "TransactionCanceledException" and "TransactionConflict" in reasons:
            raise Unreachable("conflict")
        raise self._failure("TransactWriteItems", outcome)

    def _state_item(self, state: StageRow) -> Item:
        item: Item = {**_STATE, "version": {"N": str(state.version)}, "epoch": {"N": str(state.epoch)}}
        for name, document in (("map", state.map), ("flip", state.flip)):
            if document is not None:
                item[name] = _json_value(document)
        return item

    # -- leases -------------------------------------------------------------------------------------------------------

    async def lease(self, process: str) -> LeaseItem | None:
        item = await self._get({"scope": {"S": "lease"}, "name": {"S": process}})
        return _lease(item) if item is not None else None

    async def leases(self) -> list[LeaseItem]:
        """Every lease item that was written before the call."""
        return [_lease(item) for item in await self._all("lease")]

    async def put_lease(self, lease: LeaseItem, over: str | None) -> bool:
        """Write a lease item, replacing one of the incarnation `over` with fewer renewals (None: no item may exist).
        Returns whether it was written."""
        item: Item = {
            "scope": {"S": "lease"},
            "name": {"S": lease.process},
            "life": {"S": lease.incarnation},
            "renewals": {"N": str(lease.renewals)},
            "seconds": {"N": f"{lease.seconds:.3f}"},
            "epoch": {"N": str(lease.epoch)},
            "flip": {"S": lease.flip},
            "phase": {"S": lease.phase},
            "owes": {"BOOL": lease.owes},
            "begins": {"S": lease.initial_stages},
            "note": _json_value(lease.note),
            "host": {"S": lease.host},
            "pid": {"N": str(lease.pid)},
            "started": {"N": f"{lease.started:.3f}"},
            "renewed": {"N": f"{lease.renewed:.3f}"},
            "listen": {"S": lease.listen},
            "record": _json_value(lease.record),
        }
        put: dict[str, Any] = {"TableName": self._table, "Item": item}
        if over is None:
            return await self._put({**put, "ConditionExpression": "attribute_not_exists(renewals)"})
        values = {":over": {"S": over}, ":renewals": {"N": str(lease.renewals)}}
        condition = "life = :over AND renewals < :renewals"
        return await self._put({**put, "ConditionExpression": condition, "ExpressionAttributeValues": values})

    async def delete_lease(self, lease: LeaseItem) -> bool:
        """Delete a lease item if it is still of this incarnation and was not renewed. Returns whether it is gone."""
        request = self._lease_delete(lease, "attribute_not_exists(life) OR (life = :life AND renewals = :renewals)")
        outcome = await self._dynamodb.call("DeleteItem", orjson.dumps(request))
        if outcome.error_code == "ConditionalCheckFailedException":
            return False
        if not outcome.ok:
            raise self._failure("DeleteItem", outcome)
        await self._ask("DeleteItem", {"TableName": self._table, "Key": _key("evidence", lease.process)})
        return True

    def _lease_delete(self, lease: LeaseItem, condition: str) -> dict[str, Any]:
        return {
            "TableName": self._table,
            "Key": _key("lease", lease.process),
            "ConditionExpression": condition,
            "ExpressionAttributeValues": {":life": {"S": lease.incarnation}, ":renewals": {"N": str(lease.renewals)}},
        }

    # -- evidence and history -----------------------------------------------------------------------------------------

    async def put_evidence(self, process: str, evidence: Mapping[str, Any]) -> None:
        """Replace the evidence of a process."""
        await self._put(
            {"TableName": self._table, "Item": {**_key("evidence", process), "text": _json_value(evidence)}}
        )

    async def evidence(self) -> dict[str, Mapping[str, Any]]:
        """The evidence of each process, by process."""
        return {item["name"]["S"]: _read_json(item, "text") or {} for item in await self._all("evidence")}

    async def history(self, limit: int) -> list[Mapping[str, Any]]:
        """The latest entries, newest first."""
        return [_read_json(item, "text") or {} for item in await self._all("history", newest=limit)]

    def _history_put(self, epoch: int, entry: Mapping[str, Any]) -> dict[str, Any]:
        """The put of an entry of the history, which must have `id` and `at` (Unix seconds)."""
        name = f"{epoch:012d}.{int(entry['at'] * 1000):015d}.{entry['id']}"
        return {"TableName": self._table, "Item": {**_key("history", name), "text": _json_value(entry)}}

    # -- inside -------------------------------------------------------------------------------------------------------

    async def _get(self, key: Item) -> Item | None:
        document = await self._ask("GetItem", {"TableName": self._table, "Key": key, "ConsistentRead": True})
        item: Item | None = document.get("Item")
        return item

    async def _all(self, scope: str, newest: int = 0) -> Sequence[Item]:
        """The items of a scope by name, or at most `newest` of the last ones, last first."""
        request: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "#scope = :scope",
            "ExpressionAttributeNames": {"#scope": "scope"},
            "ExpressionAttributeValues": {":scope": {"S": scope}},
            "ConsistentRead": True,
        }
        if newest:
            request |= {"ScanIndexForward": False, "Limit": newest}
        found: list[Item] = []
        while True:
            document = await self._ask("Query", request)
            found.extend(document["Items"])
            if "LastEvaluatedKey" not in document or (newest and len(found) >= newest):
                return found
            request["ExclusiveStartKey"] = document["LastEvaluatedKey"]

    async def _put(self, request: Mapping[str, Any]) -> bool:
        outcome = await self._dynamodb.call("PutItem", orjson.dumps(request))
        if outcome.ok:
            return True
        if outcome.error_code == "ConditionalCheckFailedException":
            return False
        raise self._failure("PutItem", outcome)

    async def _ask(self, action: str, request: Mapping[str, Any]) -> dict[str, Any]:
        outcome = await self._dynamodb.call(action, orjson.dumps(request))
        if not outcome.ok:
            raise self._failure(action, outcome)
        return outcome.document

    def _failure(self, action: str, outcome: Outcome) -> StoreError:
        code = outcome.error_code or "unknown"
        message = str(outcome.document.get("message") or outcome.document.get("Message") or code)
        if outcome.status >= 500:
            return UnknownOutcome(code, message)
        if code in _RETRYABLE:
            return Unreachable(code, message)
        if code in _DENIED:
            actions = f"{REQUIRED_ACTIONS} and TransactWriteItems' parts"
            remedy = f"allow {actions} on table {self._table}, or set its name in [stages]"
            if action == "CreateTable":
                remedy += "; or make it beforehand, with partition key scope and sort key name, both S"
            return Refused(code, f"{action} on the stage table {self._table}: {message}: {remedy}")
        return Refused(code, f"{action} on the stage table {self._table}: {message}")


def read_state(item: Item) -> StageRow:
    """Decode the state item."""
    return StageRow(
        int(item["version"]["N"]), int(item["epoch"]["N"]), _read_json(item, "map"), _read_json(item, "flip")
    )


def _key(scope: str, name: str) -> Item:
    return {"scope": {"S": scope}, "name": {"S": name}}


def _json_value(document: Mapping[str, Any]) -> dict[str, str]:
    return {"S": orjson.dumps(document, option=orjson.OPT_SORT_KEYS).decode()}


def _read_json(item: Item, name: str) -> Mapping[str, Any] | None:
    text = item.get(name)
    document: Mapping[str, Any] | None = orjson.loads(text["S"]) if text is not None else None
    return document


def _lease(item: Item) -> LeaseItem:
    return LeaseItem(
        process=item["name"]["S"],
        incarnation=item["life"]["S"],
        renewals=int(item["renewals"]["N"]),
        seconds=float(item["seconds"]["N"]),
        epoch=int(item["epoch"]["N"]),
        flip=item["flip"]["S"],
        phase=item["phase"]["S"],
        owes=item["owes"]["BOOL"],
        initial_stages=item["begins"]["S"],
        note=_read_json(item, "note") or {},
        host=item["host"]["S"],
        pid=int(item["pid"]["N"]),
        started=float(item["started"]["N"]),
        # Another version's may have none.
        renewed=float(item["renewed"]["N"]) if "renewed" in item else 0.0,
        listen=item["listen"]["S"] if "listen" in item else "",
        record=_read_json(item, "record") or {},
    )
