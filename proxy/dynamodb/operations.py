"""One DynamoDB API call, decoded: what it is, and which tables and keys it touches.

Decoding reads only what the layer needs to journal and compare. Expressions are parsed where an operation is executed
(`execute`), so that a request which DynamoDB takes is never lost to a parser of ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from proxy.dynamodb import errors
from proxy.dynamodb.errors import DynamoDBError, SchemaMismatch
from proxy.dynamodb.large_json import SMALL, parse, parse_in_steps
from proxy.dynamodb.requests import batches
from proxy.dynamodb.requests.batches import transaction_parts as transaction_parts
from proxy.dynamodb.schema import Key, TableSchema, table_name
from proxy.dynamodb.values import Item

READS: Final = frozenset({"GetItem", "Query", "Scan", "BatchGetItem", "TransactGetItems"})
WRITES: Final = frozenset({"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"})
ACTIONS: Final = READS | WRITES
# PartiQL, which is carried out as the operations that its statements are (`proxy.dynamodb.partiql`).
STATEMENTS: Final = frozenset({"ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction"})
PAGED: Final = frozenset({"Query", "Scan"})
# Crossfade's own, which no client of the wire can ask for (`proxy.dynamodb.listing`).
LISTING: Final = "Items.Query"
KEYLESS: Final = PAGED | {LISTING}

TARGET_PREFIX: Final = "DynamoDB_20120810."


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """`body` is what the client sent, `request` the same decoded.

    `keys` are the items it names, in the request's order: those it writes (a transaction's checks among them), or those
    it reads; none for Query and Scan. `schemas` holds each table it touches, by name.
    """

    action: str
    body: bytes
    request: dict[str, Any]
    keys: tuple[Key, ...]
    schemas: Mapping[str, TableSchema] = field(repr=False)

    @property
    def writes(self) -> bool:
        return self.action in WRITES

    @property
    def tables(self) -> tuple[str, ...]:
        return tuple(self.schemas)

    @property
    def schema(self) -> TableSchema:
        """The table of an operation on one table."""
        return self.schemas[table_name(self.request["TableName"])]


def parse_body(body: bytes) -> dict[str, Any]:
    """The request's JSON object. Raises DynamoDB's SerializationException for anything else."""
    try:
        parsed = parse(body)
    except (ValueError, RecursionError):
        # orjson refuses what lenient parsers take (control characters, lone surrogates); DynamoDB is to judge those.
        try:
            parsed = parse_in_steps(body) if len(body) > SMALL else json.loads(body, strict=False)
        except (ValueError, RecursionError):
            raise errors.serialization("") from None
    if not isinstance(parsed, dict):
        raise errors.serialization("Start of structure or map found where not expected.")
    return parsed


def json_of(request: Mapping[str, Any]) -> bytes:
    """A request as JSON again. What orjson will not write (half of a surrogate pair, a number beyond 64 bits) is for
    DynamoDB to judge."""
    try:
        return orjson.dumps(request)
    except TypeError:
        return json.dumps(request).encode()


def tables_of(action: str, request: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the tables that a request touches, each once. Parts of the wrong form are passed over."""
    names: dict[str, None] = {}
    for name in _named_tables(action, request):
        if isinstance(name, str):
            names[table_name(name)] = None
    return tuple(names)


def decode(action: str, body: bytes, request: dict[str, Any], schemas: Mapping[str, TableSchema]) -> Operation:
    """Raises DynamoDBError where the request names no proper keys; it is then for the authority to refuse."""
    try:
        keys = tuple(_keys(action, request, schemas))
        for key in keys:
            schemas[key.table].check_key(key)
    except (AttributeError, KeyError, TypeError) as error:
        raise errors.validation(f"The request has not the form of {action}") from error
    return Operation(action, body, request, keys, schemas)


def _named_tables(action: str, request: Mapping[str, Any]) -> Iterator[object]:
    if action.startswith("Batch"):
        items = request.get("RequestItems")
        yield from items if isinstance(items, dict) else ()
    elif action.startswith("Transact"):
        entries = request.get("TransactItems")
        for entry in entries if isinstance(entries, list) else ():
            for part in entry.values() if isinstance(entry, dict) else ():
                if isinstance(part, dict):
                    yield part.get("TableName")
    else:
        yield request.get("TableName")


def _keys(action: str, request: Mapping[str, Any], schemas: Mapping[str, TableSchema]) -> Iterator[Key]:
    if action in KEYLESS:
        return
    if action == "BatchGetItem":
        batches.check_gets(request["RequestItems"])
        for name, part in request["RequestItems"].items():
            schema = schemas[table_name(name)]
            for key in part["Keys"]:
                yield schema.key_parameter(key)
    elif action == "BatchWriteItem":
        batches.check_writes(request["RequestItems"])
        for name, entries in request["RequestItems"].items():
            schema = schemas[table_name(name)]
            for entry in entries:
                if entry.get("PutRequest") is not None:
                    yield _batch_key(schema, entry["PutRequest"]["Item"])
                else:
                    yield schema.key_parameter(entry["DeleteRequest"]["Key"])
    elif action.startswith("Transact"):
        yield from _transaction_keys(request, schemas)
    else:
        yield _key(schemas[table_name(request["TableName"])], action == "PutItem", request)


def _batch_key(schema: TableSchema, item: Item) -> Key:
    """A batch has the words for a key where a single put has those for an item."""
    try:
        return schema.key_of(item)
    except SchemaMismatch:
        raise errors.key_mismatch() from None


def _transaction_keys(request: Mapping[str, Any], schemas: Mapping[str, TableSchema]) -> list[Key]:
    """A part without a proper key cancels the transaction, with ValidationError at that member; the others would have
    been carried out (measured on AWS: dynamodb-conformance #10, #46, #60)."""
    batches.check_transaction(request["TransactItems"])
    keys: list[Key] = []
    faults: list[DynamoDBError | None] = []
    for kind, part in transaction_parts(request):
        try:
            keys.append(_key(schemas[table_name(part["TableName"])], kind == "Put", part))
        except SchemaMismatch as error:
            faults.append(error)
        else:
            faults.append(None)
    if any(faults):
        raise errors.transaction_canceled([errors.cancellation_reason(fault) for fault in faults])
    return keys


def _key(schema: TableSchema, is_put: bool, part: Mapping[str, Any]) -> Key:
    return schema.key_of(part["Item"]) if is_put else schema.key_parameter(part["Key"])
