"""PartiQL: each statement is carried out as the operation that it is, by the same path as a client's own operations.

So it is journalled, compared, and answered by the authority. Where none of its tables is mirrored, DynamoDB gets it
unread. A statement that cannot be carried out as an operation is refused by name: it is never passed to a mirror, nor
past the journal. Knows statements and answers; the plans are `proxy.dynamodb.partiql`'s.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from proxy.cutover.stages import Stages
from proxy.dynamodb.errors import DynamoDBError, resource_not_found, validation
from proxy.dynamodb.operations import json_of, parse_body
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.partiql.read_plans import ReadPlan, check_source, plan_select, single_key
from proxy.dynamodb.partiql.requests import (
    MOST_IN_BATCH,
    MOST_IN_TRANSACTION,
    add_capacities,
    batch_error,
    canceled,
    check_members,
    decode_token,
    duplicate_item,
    encode_token,
    parts_of,
    read_statement,
)
from proxy.dynamodb.partiql.statements import ExistsStatement, SelectStatement, Statement
from proxy.dynamodb.partiql.write_plans import WritePlan, plan_exists, plan_write
from proxy.dynamodb.schema import TableSchema, table_name
from proxy.dynamodb.values import Item
from proxy.off_loop import off_loop
from proxy.shadow.request.bypass import Bypass
from proxy.stores.error_responses import as_answer
from proxy.stores.errors import Refused, StoreError
from proxy.stores.table_registry import Tables

Run: TypeAlias = Callable[[str, bytes], Awaitable[Outcome]]
"""Carries out one of the operations on items. Raises StoreError as the layer does."""

_AT_ONCE: Final = 8
_WORD: Final = re.compile(r"[A-Za-z0-9_.-]+")
_MIXED: Final = "does not support both read and write operations in the same request."
_WITH_REQUEST: Final = ("ReturnConsumedCapacity", "ReturnValuesOnConditionCheckFailure")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartiQLStatements:
    """The path of ExecuteStatement, BatchExecuteStatement and ExecuteTransaction."""

    stages: Stages
    tables: Tables
    bypass: Bypass

    async def execute(self, action: str, body: bytes, run: Run) -> Outcome:
        """Return the client's outcome. Raises StoreError, and DynamoDBError for a body that is no request."""
        request = await off_loop(len(body), parse_body, body)
        try:
            check_members(request)
            parts = _parts(action, request)
        except DynamoDBError as error:
            return Outcome.failed(error)
        read = [_read(part) for part in parts]
        names = _tables(read, parts)
        if not any(map(self.stages.active, names)):
            return await self.bypass.execute(action, body, names)
        try:
            if action == "ExecuteStatement":
                return await self._one(_sound(read[0]), request, run)
            if action == "BatchExecuteStatement":
                return await self._batch(read, parts, request, run)
            return await self._transaction(read, parts, request, run)
        except DynamoDBError as error:
            return Outcome.failed(error)

    async def _one(self, statement: Statement, request: Mapping[str, Any], run: Run) -> Outcome:
        if isinstance(statement, ExistsStatement):
            raise validation("EXISTS() is supported in ExecuteTransaction alone")
        schema = await self._schema(statement.table)
        if isinstance(statement, SelectStatement):
            plan = plan_select(statement, schema, consistent=bool(request.get("ConsistentRead")))
            return await _select(plan, request, run)
        outcome = await _write(plan_write(statement, schema), request, run)
        if not outcome.ok:
            return outcome
        attributes = outcome.document.get("Attributes")
        return Outcome.of({"Items": [attributes] if attributes else []} | _capacity(outcome))

    async def _batch(
        self,
        read: Sequence[Statement | DynamoDBError],
        parts: Sequence[Mapping[str, Any]],
        request: Mapping[str, Any],
        run: Run,
    ) -> Outcome:
        """Each statement by itself, a few at a time: a batch promises no order."""
        if any(isinstance(each, ExistsStatement) for each in read):
            raise validation("EXISTS() is supported in ExecuteTransaction alone")
        if len({isinstance(each, SelectStatement) for each in read if not isinstance(each, DynamoDBError)}) > 1:
            raise validation(f"BatchExecuteStatement API {_MIXED}")
        room = asyncio.Semaphore(_AT_ONCE)
        capacity = {"ReturnConsumedCapacity": request["ReturnConsumedCapacity"]} if _asks_capacity(request) else {}

        async def answer(each: Statement | DynamoDBError, part: Mapping[str, Any]) -> tuple[dict[str, Any], Outcome]:
            async with room:
                try:
                    outcome = await self._member(_sound(each), {**part, **capacity}, run)
                except DynamoDBError as error:
                    outcome = Outcome.failed(error)
                    return batch_error(outcome.document), outcome
                except StoreError as error:
                    outcome = as_answer(error)
            named = {} if isinstance(each, DynamoDBError) else {"TableName": table_name(each.table)}
            if not outcome.ok:
                refused = outcome.error_code not in ("ConditionalCheckFailedException", "DuplicateItemException")
                return batch_error(outcome.document) | ({} if refused else named), outcome
            items = outcome.document["Items"]
            return named | ({"Item": items[0]} if items else {}), outcome

        answers = await asyncio.gather(*(answer(each, part) for each, part in zip(read, parts, strict=True)))
        document: dict[str, Any] = {"Responses": [response for response, _ in answers]}
        if capacity:
            consumed = (outcome.document.get("ConsumedCapacity") for _, outcome in answers if outcome.ok)
            document["ConsumedCapacity"] = add_capacities(each for each in consumed if each)
        return Outcome.of(document)

    async def _member(self, statement: Statement, part: Mapping[str, Any], run: Run) -> Outcome:
        if isinstance(statement, SelectStatement):
            schema = await self._schema(statement.table)
            check_source(statement, schema)
            if single_key(statement, schema, alone=True) is None:
                raise validation(
                    "Select statements within BatchExecuteStatement must specify the primary key in the where clause."
                )
        return await self._one(statement, part, run)

    async def _transaction(
        self,
        read: Sequence[Statement | DynamoDBError],
        parts: Sequence[Mapping[str, Any]],
        request: Mapping[str, Any],
        run: Run,
    ) -> Outcome:
        statements = [_sound(each) for each in read]
        reads = [each for each in statements if isinstance(each, SelectStatement)]
        if reads and len(reads) < len(statements):
            raise validation(f"ExecuteTransaction API {_MIXED}")
        capacity = {"ReturnConsumedCapacity": request["ReturnConsumedCapacity"]} if _asks_capacity(request) else {}
        if reads:
            return await self._read_together(reads, capacity, run)
        plans: list[WritePlan] = []
        for number, statement in enumerate(statements):
            try:
                plans.append(await self._plan_part(statement))
            except DynamoDBError as error:
                raise _in_transaction(error, number) from error
        entries = []
        for plan, part in zip(plans, parts, strict=True):
            wanted = part.get("ReturnValuesOnConditionCheckFailure")
            asked = {} if wanted is None else {"ReturnValuesOnConditionCheckFailure": wanted}
            entries.append({plan.kind: {**plan.request, **asked}})
        token = request.get("ClientRequestToken")
        together = {"TransactItems": entries, **capacity, **({} if token is None else {"ClientRequestToken": token})}
        outcome = await run("TransactWriteItems", json_of(together))
        if outcome.ok:
            return Outcome.of({"Responses": []} | _capacity(outcome))
        if outcome.error_code == "TransactionCanceledException":
            inserts = [plan.is_insert for plan in plans]
            return Outcome.of(canceled(outcome.document, inserts), outcome.status)
        return outcome

    async def _plan_part(self, statement: Statement) -> WritePlan:
        schema = await self._schema(statement.table)
        if isinstance(statement, ExistsStatement):
            return plan_exists(statement, schema)
        assert not isinstance(statement, SelectStatement)
        plan = plan_write(statement, schema)
        if "ReturnValues" in plan.request:
            raise validation("RETURNING clause is not supported in ExecuteTransaction.")
        return plan

    async def _read_together(
        self, statements: Sequence[SelectStatement], capacity: Mapping[str, Any], run: Run
    ) -> Outcome:
        plans: list[ReadPlan] = []
        for number, statement in enumerate(statements):
            try:
                schema = await self._schema(statement.table)
                if statement.index is not None:
                    raise validation("Reads on indices are not supported within transactions.")
                if single_key(statement, schema, alone=True) is None:
                    raise validation(
                        "Select statements within ExecuteTransaction must specify the primary key in the where clause."
                    )
                plans.append(plan_select(statement, schema, consistent=False))
            except DynamoDBError as error:
                raise _in_transaction(error, number) from error
        gets = [{"Get": dict(plan.requests[0])} for plan in plans]
        outcome = await run("TransactGetItems", json_of({"TransactItems": gets, **capacity}))
        if not outcome.ok:
            return outcome
        responses = []
        for plan, response in zip(plans, outcome.document["Responses"], strict=True):
            rows = plan.rows([response["Item"]] if "Item" in response else [])
            responses.append({"Item": rows[0]} if rows else {})
        return Outcome.of({"Responses": responses} | _capacity(outcome))

    async def _schema(self, name: str) -> TableSchema:
        named = table_name(name)
        try:
            table = self.tables.known(named) or await self.tables.find(named)
        except Refused:
            table = None
        if table is None:
            raise resource_not_found("Requested resource not found")
        return table.schema


def tables_of_statements(action: str, request: Mapping[str, Any]) -> tuple[str, ...]:
    """The tables that a request with statements may touch; none for one that holds no statements."""
    try:
        parts = _parts(action, request)
    except DynamoDBError:
        return ()
    return _tables([_read(part) for part in parts], parts)


def _parts(action: str, request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if action == "ExecuteStatement":
        return [request]
    if action == "BatchExecuteStatement":
        return parts_of(request, "Statements", MOST_IN_BATCH)
    return parts_of(request, "TransactStatements", MOST_IN_TRANSACTION)


def _read(part: Mapping[str, Any]) -> Statement | DynamoDBError:
    try:
        return read_statement(part)
    except DynamoDBError as error:
        return error


def _tables(read: Sequence[Statement | DynamoDBError], parts: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The tables of statements, and every word that may be one in a statement that cannot be read."""
    names: dict[str, None] = {}
    for each, part in zip(read, parts, strict=True):
        if isinstance(each, DynamoDBError):
            names.update(dict.fromkeys(_WORD.findall(str(part.get("Statement")))))
        else:
            names[table_name(each.table)] = None
    return tuple(names)


def _sound(read: Statement | DynamoDBError) -> Statement:
    if isinstance(read, DynamoDBError):
        raise read
    return read


def _in_transaction(error: DynamoDBError, number: int) -> DynamoDBError:
    if error.code != "ValidationException":
        return error
    return validation(f"Validation failed in TransactStatements[{number}]: {error.message}")


async def _select(plan: ReadPlan, request: Mapping[str, Any], run: Run) -> Outcome:
    """One page of a SELECT: reads until there is a cursor, the limit is reached or nothing is left to read."""
    limit, token = request.get("Limit"), request.get("NextToken")
    number, start = decode_token(request, token) if token is not None else (0, {})
    rows: list[Item] = []
    capacities: list[Mapping[str, Any]] = []
    cursor: Item | None = None
    while number < len(plan.requests):
        asked: dict[str, Any] = dict(plan.requests[number])
        if plan.action != "GetItem":
            asked |= ({} if limit is None else {"Limit": limit}) | ({"ExclusiveStartKey": start} if start else {})
        if _asks_capacity(request):
            asked["ReturnConsumedCapacity"] = request["ReturnConsumedCapacity"]
        outcome = await run(plan.action, json_of(asked))
        if not outcome.ok:
            return outcome
        await off_loop(outcome.received_bytes, outcome.decode)
        document = outcome.document
        items = document.get("Items", ()) if plan.action != "GetItem" else filter(None, [document.get("Item")])
        rows += plan.rows(items)
        capacities += filter(None, [document.get("ConsumedCapacity")])
        cursor, start = document.get("LastEvaluatedKey"), {}
        limit = None if limit is None else limit - document.get("ScannedCount", 1)
        if cursor is not None or limit == 0:
            break
        number += 1
    answer: dict[str, Any] = {"Items": rows}
    if cursor is not None:
        answer |= {"NextToken": encode_token(request, number, cursor), "LastEvaluatedKey": cursor}
    elif number + 1 < len(plan.requests):
        answer["NextToken"] = encode_token(request, number + 1, {})
    if capacities:
        [answer["ConsumedCapacity"]] = add_capacities(capacities)
    return Outcome.of(answer)


async def _write(plan: WritePlan, request: Mapping[str, Any], run: Run) -> Outcome:
    """The outcome of the operation itself; an INSERT that found an item is a DuplicateItemException."""
    asked = {**plan.request, **{name: request[name] for name in _WITH_REQUEST if request.get(name) is not None}}
    outcome = await run(plan.action, json_of(asked))
    if plan.is_insert and outcome.error_code == "ConditionalCheckFailedException":
        return Outcome.failed(duplicate_item(outcome.document))
    return outcome


def _asks_capacity(request: Mapping[str, Any]) -> bool:
    return request.get("ReturnConsumedCapacity") in ("TOTAL", "INDEXES")


def _capacity(outcome: Outcome) -> dict[str, Any]:
    consumed = outcome.document.get("ConsumedCapacity")
    return {} if consumed is None else {"ConsumedCapacity": consumed}
