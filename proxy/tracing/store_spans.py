"""The stores' calls: a span for each that belongs to a traced request or convergence, retries within it included.

Every other call goes straight through. What was asked and answered is told by names and codes (`names`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from proxy.cutover.stages import DYNAMODB, Stage, Stages
from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.operations import TARGET_PREFIX, Operation, parse_body, tables_of
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.interface import Fault
from proxy.shadow.instrumentation import Passthrough
from proxy.stores.interface import ExecutionResult, Store, StoredItem
from proxy.stores.table_registry import NAME
from proxy.tracing import span_names as names
from proxy.tracing.span_names import Attributes
from proxy.tracing.spans import Open, Spans, sampled, tell

# What is passed on unread is read for its tables' names only where it is traced, and small.
_MOST_READ: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class StorePlace:
    """A store as spans name it: what is the same of all calls; `aws` says that it is DynamoDB; `collection` gives what
    a DynamoDB table is called there."""

    attributes: Mapping[str, str | int]
    aws: bool
    collection: Callable[[str], str | None]

    def described(self, action: str, tables: tuple[str, ...], told: Attributes) -> tuple[str, Attributes]:
        """A call's span's name, and what is known of it beforehand."""
        attributes: Attributes = {**self.attributes, names.DB_OPERATION: names.operation(action)}
        collection = self.collection(tables[0]) if len(tables) == 1 else None
        if collection is not None:
            attributes[names.DB_COLLECTION] = collection
        if not self.aws:
            return f"{action} {collection}" if collection is not None else action, attributes
        attributes |= told
        called = names.remote_method(TARGET_PREFIX + action)
        attributes |= {names.RPC_SYSTEM: names.AWS_API, names.RPC_METHOD: called}
        return called.replace("/", ".") if called != names.UNKNOWN else names.AWS_API, attributes


class TracedStore:
    """A `Store` as `role`: `authority` or `mirror`."""

    def __init__(self, store: Store, role: str, place: StorePlace, spans: Spans) -> None:
        self._store = store
        self._role = role
        self._place = place
        self._spans = spans

    @property
    def name(self) -> str:
        return self._store.name

    async def execute(self, operation: Operation) -> ExecutionResult:
        if not sampled():
            return await self._store.execute(operation)
        with self._open(operation.action, operation.tables, names.asked(operation)) as span:
            executed = await self._store.execute(operation)
            _answered(span, executed.outcome)
            return executed

    async def get(self, key: Key) -> StoredItem:
        if not sampled():
            return await self._store.get(key)
        with self._open("GetItem", (key.table,), {names.TABLE_NAMES: (key.table,)}):
            return await self._store.get(key)

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None:
        if not sampled():
            return await self._store.put(key, wanted, held)
        action = "DeleteItem" if wanted is None else "PutItem"
        with self._open(action, (key.table,), {names.TABLE_NAMES: (key.table,)}):
            return await self._store.put(key, wanted, held)

    def image(self, key: Key, item: Item | None) -> tuple[Item | None, tuple[Fault, ...]]:
        return self._store.image(key, item)

    def _open(self, action: str, tables: tuple[str, ...], told: Attributes) -> Open:
        name, attributes = self._place.described(action, tables, told)
        return self._spans.call(name, attributes | {names.ROLE: self._role})


class TracedPasses:
    """DynamoDB past the mirror: the authority, of requests that nobody else has read."""

    def __init__(self, dynamodb: Passthrough, place: StorePlace, spans: Spans, stages: Stages) -> None:
        self._dynamodb = dynamodb
        self._place = place
        self._spans = spans
        self._stages = stages

    async def call(self, action: str, body: bytes) -> Outcome:
        if not sampled():
            return await self._dynamodb.call(action, body)
        tables = _tables(action, body)
        self._tell(tables)
        with self._open(action, tables) as span:
            outcome = await self._dynamodb.call(action, body)
            _answered(span, outcome)
            return outcome

    async def carry(self, target: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        if not sampled():
            return await self._dynamodb.carry(target, body, headers)
        with self._open(target.rpartition(".")[2], ()) as span:
            outcome = await self._dynamodb.carry(target, body, headers)
            _answered(span, outcome)
            return outcome

    def _tell(self, tables: tuple[str, ...]) -> None:
        """Of the span that the request is served under, what nobody else will."""
        told: Attributes = {names.EPOCH: self._stages.map.epoch, names.AUTHORITY: DYNAMODB}
        stages = {Stage.OFF} if self._stages.all_off else {self._stages.stage_of(table) for table in tables}
        if stages:
            told[names.STAGE] = names.one_of(stages)
        if tables:
            told[names.TABLE_NAMES] = tables
        tell(told)

    def _open(self, action: str, tables: tuple[str, ...]) -> Open:
        told: Attributes = {names.TABLE_NAMES: tables} if tables else {}
        name, attributes = self._place.described(action, tables, told)
        return self._spans.call(name, attributes | {names.ROLE: "authority"})


def _answered(span: Open, outcome: Outcome) -> None:
    span.answered(outcome)
    for name, value in outcome.headers:
        if name.lower() == "x-amzn-requestid":
            span.span.set_attribute(names.AWS_REQUEST_ID, names.word(value))


def _tables(action: str, body: bytes) -> tuple[str, ...]:
    """The tables that a request names, where that can be read quickly and they can be tables' names."""
    if len(body) > _MOST_READ:
        return ()
    try:
        found = tables_of(action, parse_body(body))
    except DynamoDBError:
        return ()
    return tuple(name for name in found if NAME.fullmatch(name))
