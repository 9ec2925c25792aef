"""DynamoDB as a store: the client's bytes go upstream as they are, and come back so.

Only what Crossfade itself asks (the strongly consistent read and the guarded write of converge) is made here, as small
documents of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import orjson

from proxy.dynamodb.errors import RETRYABLE, TRANSACTION_CONFLICT
from proxy.dynamodb.operations import LISTING, TARGET_PREFIX, Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item, canonical
from proxy.mapping.interface import Fault
from proxy.stores.coalescer import GROUPS_IN_FLIGHT, Batching, Coalescer
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.listing_query import gather
from proxy.stores.errors import Refused, StoreError, UnknownOutcome, Unreachable
from proxy.stores.interface import ExecutionResult, StoredItem

_MAX_GUARDS: Final = 100


class DynamoDBStore:
    """See the module.

    `timeout` bounds each call, in seconds; upstream says whether a failed one had an effect. `described` is called with
    each table's description, whenever one is asked for; `undecided` with the operation and the code of each answer by
    which DynamoDB decided nothing. With `batching`, `get` reads in groups.
    """

    name = "dynamodb"

    def __init__(
        self,
        upstream: DynamoDBClient,
        timeout: float,
        observe: Callable[[str, float], None] = lambda _, __: None,
        described: Callable[[Mapping[str, Any]], None] = lambda _: None,
        undecided: Callable[[str, str], None] = lambda _, __: None,
        batching: Batching | None = None,
    ) -> None:
        self._upstream = upstream
        self._timeout = timeout
        self._observe = observe
        self._described = described
        self._undecided = undecided
        self._gets: Coalescer[Key, StoredItem] | None = None
        if batching is not None:
            self._gets = Coalescer(batching, many=self._get_many, single=self._get, key=lambda key: key, writes=False)
        self.loops = () if self._gets is None else (self._gets.work,) * GROUPS_IN_FLIGHT
        """What must run for as long as `get` is used."""

    async def execute(self, operation: Operation) -> ExecutionResult:
        if operation.action == LISTING:
            return ExecutionResult(await gather(self._query, operation, self._timeout), {})
        return ExecutionResult(await self.call(operation.action, operation.body), {})

    async def _query(self, request: dict[str, Any]) -> Outcome:
        return await self.call("Query", orjson.dumps(request))

    async def get(self, key: Key) -> StoredItem:
        return await (self._get(key) if self._gets is None else self._gets.call(key))

    async def _get(self, key: Key) -> StoredItem:
        request = {"TableName": key.table, "Key": key.attributes, "ConsistentRead": True}
        try:
            document = await self.ask("GetItem", request)
        except UnknownOutcome as error:
            # A read without an answer has done nothing, so nothing has to settle.
            raise Unreachable(error.reason, str(error)) from error
        return StoredItem(document.get("Item"))

    async def _get_many(self, keys: Sequence[Key]) -> list[StoredItem | StoreError]:
        """The items by one BatchGetItem: at most 100 keys, each of which is there once. What DynamoDB leaves
        unprocessed (for its size, or throttled) is an error of its key."""
        request: dict[str, Any] = {}
        for key in keys:
            request.setdefault(key.table, {"ConsistentRead": True, "Keys": []})["Keys"].append(key.attributes)
        try:
            document = await self.ask("BatchGetItem", {"RequestItems": request})
        except UnknownOutcome as error:
            raise Unreachable(error.reason, str(error)) from error
        names = {key.table: tuple(key.attributes) for key in keys}
        left = {
            _key_in(each, table, names[table])
            for table, part in document.get("UnprocessedKeys", {}).items()
            for each in part["Keys"]
        }
        found = {
            _key_in(item, table, names[table]): item
            for table, items in document.get("Responses", {}).items()
            for item in items
        }
        if not found.keys() <= set(keys):
            # An item that is taken for absent would be deleted from the mirror: each key is asked for by itself.
            raise Refused("keys", "BatchGetItem answered with keys that were not asked for")
        return [Unreachable("unprocessed") if key in left else StoredItem(found.get(key)) for key in keys]

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None:
        request: dict[str, Any] = {"TableName": key.table, **_guard(key, held.item, wanted)}
        if wanted is None:
            action, request["Key"] = "DeleteItem", key.attributes
        else:
            action, request["Item"] = "PutItem", wanted
        outcome = await self.call(action, orjson.dumps(request))
        if outcome.ok:
            return StoredItem(wanted)
        if outcome.error_code == "ConditionalCheckFailedException":
            return None
        raise _failure(outcome)

    def image(self, _: Key, item: Item | None) -> tuple[Item | None, tuple[Fault, ...]]:
        """DynamoDB holds what came from DynamoDB."""
        return item, ()

    async def call(self, action: str, body: bytes) -> Outcome:
        """Any operation of DynamoDB's, by its bytes."""
        started = time.perf_counter()
        try:
            answer = await self._upstream.request(TARGET_PREFIX + action, body, timeout=self._timeout)
        finally:
            self._observe(action, time.perf_counter() - started)
        outcome = Outcome(answer.status, answer.headers, answer.body)
        if not outcome.ok and (code := outcome.error_code) in RETRYABLE:
            assert code is not None
            self._undecided(action, code)
        return outcome

    async def carry(self, target: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Any request at all, unread: another operation, another service's target, another content type."""
        answer = await self._upstream.request(target, body, headers, timeout=self._timeout)
        return Outcome(answer.status, answer.headers, answer.body)

    async def describe(self, table: str) -> TableSchema | None:
        """The table's schema; None if there is no such table. Raises StoreError; Refused where it is not understood."""
        outcome = await self.call("DescribeTable", orjson.dumps({"TableName": table}))
        if outcome.ok:
            try:
                schema = TableSchema.from_description(outcome.document["Table"])
            except (KeyError, ValueError) as error:
                raise Refused("description", f"the description of {table} is not understood: {error}") from error
            self._described(outcome.document["Table"])
            return schema
        if outcome.error_code == "ResourceNotFoundException":
            return None
        raise _failure(outcome)

    async def ask(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """A request of Crossfade's own, and its answer. Raises StoreError: Unreachable where it may be tried again."""
        outcome = await self.call(action, orjson.dumps(request))
        if not outcome.ok:
            raise _failure(outcome)
        return outcome.document


def _guard(key: Key, held: Item | None, wanted: Item | None) -> dict[str, Any]:
    """A condition that the item is still what was read: each attribute equal, and none of the wanted ones new.

    Expressions take 4 KB and 300 operators: an item of very many attributes is guarded by the first of them, which
    narrows the window and does not close it; the convergence after the settle time does.
    """
    names: dict[str, str] = {}
    values: dict[str, Any] = {}
    terms: list[str] = []
    for name, value in (held or {}).items():
        names[f"#{len(names)}"] = name
        values[f":{len(values)}"] = value
        terms.append(f"#{len(names) - 1} = :{len(values) - 1}")
    for name in wanted or key.attributes:
        if name not in (held or {}):
            names[f"#{len(names)}"] = name
            terms.append(f"attribute_not_exists(#{len(names) - 1})")
    if len(terms) > _MAX_GUARDS:
        terms = terms[:_MAX_GUARDS]
        used = set(" ".join(terms).replace("(", " ").replace(")", " ").split())
        names = {n: name for n, name in names.items() if n in used}
        values = {n: value for n, value in values.items() if n in used}
    request: dict[str, Any] = {"ConditionExpression": " AND ".join(terms), "ExpressionAttributeNames": names}
    return request | ({"ExpressionAttributeValues": values} if values else {})


def _key_in(attributes: Item, table: str, names: Sequence[str]) -> Key:
    """The key in an item, as `TableSchema.key_of` writes it."""
    return Key(table, orjson.dumps({name: canonical(attributes[name]) for name in names}).decode())


def _failure(outcome: Outcome) -> StoreError:
    code = outcome.error_code or "unknown"
    retryable = code in RETRYABLE or code == TRANSACTION_CONFLICT or outcome.status >= 500
    return Unreachable(code) if retryable else Refused(code)
