"""One table twice: in ministack, and in DSQLStore over PostgreSQL asked as a DynamoDB. Asks both, and compares.

Knows how to make tables, ask, compare and clear. What to ask is for `requests_to_dynamodb`; which differences are
ministack's own fault is for `known_faults`.
"""

import asyncio
import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comparators.comparison import Comparison
from comparators.outcomes import Answer, compare_outcomes
from comparators.rules import picker
from comparators.shapes import ListShape
from proxy.dynamodb import errors
from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.operations import PAGED, WRITES, decode, parse_body, tables_of
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.values import Item, canonical_item
from proxy.mapping.document_mapping import DocumentMapping
from proxy.mapping.load import LoadedMapping
from proxy.migrate.schema.document_tables import DocumentTables
from proxy.migrate.schema.runner import migrate, read_folder
from proxy.shadow.comparison.outcome_shapes import shape_of
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.store import DSQLStore
from proxy.stores.dsql.system_tables.authority_guarantees import AuthorityGuarantees
from proxy.stores.table_registry import Table
from tests.standins.pools import open_dsn_pool
from tests.standins.processes import LOOPBACK

_TARGET = "DynamoDB_20120810."
_SCOPE = "local/20260101/us-east-1/dynamodb/aws4_request"
_UNSIGNED = f"AWS4-HMAC-SHA256 Credential={_SCOPE}, SignedHeaders=host, Signature=0"
_SCHEMA = "public"


class Ministacks:
    """One kept connection to ministack, asked in DynamoDB's JSON without an SDK between."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(LOOPBACK, port, timeout=120)

    def ask(self, action: str, request: Mapping[str, Any]) -> Answer:
        headers = {
            "X-Amz-Target": _TARGET + action,
            "Content-Type": "application/x-amz-json-1.0",
            "Authorization": _UNSIGNED,
        }
        self._connection.request("POST", "/", json.dumps(request).encode(), headers)
        answer = self._connection.getresponse()
        document = json.loads(answer.read())
        assert isinstance(document, dict)
        return answer.status, document

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, and how both answered it; `compared` is None where there was nothing to compare by."""

    action: str
    request: dict[str, Any]
    mistaken: bool
    schemas: Mapping[str, TableSchema]
    ministack: Answer
    dsql: Answer
    compared: Comparison

    @property
    def agreed(self) -> bool:
        return not self.compared.differences

    def __str__(self) -> str:
        lines = [f"{self.action} {json.dumps(self.request, ensure_ascii=False)}"]
        lines += [f"  {found.kind} at {found.path!r}" for found in self.compared.differences]
        lines += [f"  ministack {self.ministack}", f"  dsql      {self.dsql}"]
        return "\n".join(lines)


@dataclass(slots=True)
class Twins:
    """Both stores, and the tables that stand in both. Everything runs on the loop that `open` ran on."""

    ministack: Ministacks
    pool: Pool
    tables: dict[str, Table] = field(default_factory=dict)
    store: DSQLStore = field(init=False)
    """The one that is asked: a mirror, unless `ask_as_authority`."""
    _made: dict[str, dict[str, Any]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.ask_as_authority(False)

    def ask_as_authority(self, yes: bool) -> None:
        """From now on DSQL is asked as the authority, or as a mirror again: its answers must be the same."""
        guarantees = AuthorityGuarantees(self.pool) if yes else None
        self.store = DSQLStore(self.pool, lambda name: self.tables[name].mapping, guarantees=guarantees)

    @classmethod
    async def open(cls, port: int, dsn: str) -> "Twins":
        return cls(Ministacks(port), open_dsn_pool(dsn, maximum=4))

    async def close(self) -> None:
        self.ministack.close()
        await self.pool.close()

    async def create(
        self, definition: dict[str, Any], mapped: LoadedMapping | None = None, sql: Path | None = None
    ) -> Table:
        """The table in both; with the document mapping, or a mapping of its own and the folder of its migrations."""
        status, document = self.ministack.ask("CreateTable", definition)
        assert status == 200, document
        schema = TableSchema.from_description(document["TableDescription"])
        self._made[schema.name] = definition
        if mapped is not None and sql is not None:
            rules = picker(mapped.rules, mapped.mapping.type_attribute)
            table = Table(schema, mapped.mapping, mapped.rules, mapped.expected, rules)
            async with self.pool.connection() as connection:
                await migrate(connection, read_folder(sql))
        else:
            mapping = DocumentMapping(schema)
            await DocumentTables(self.pool, _SCHEMA).create(mapping)
            table = Table(schema, mapping)
        self.tables[schema.name] = table
        return table

    async def ask(self, action: str, request: dict[str, Any], *, mistaken: bool = False) -> Asked:
        """Ask both and compare: attributes, pages and cursors; errors by code and message class.

        Raises Unrepresentable for a write that DSQL cannot hold: `settle` then.
        """
        theirs = self.ministack.ask(action, request)
        ours = await self.ask_dsql(action, request)
        schemas = {name: table.schema for name, table in self.tables.items()}
        named = {n: schemas[n] for n in tables_of(action, request) if n in schemas}
        compared = self._compare(action, request, named, theirs, ours)
        return Asked(action, request, mistaken, named, theirs, ours, compared)

    async def ask_dsql(self, action: str, request: dict[str, Any]) -> Answer:
        """The store's outcome, in the form that it would have on the wire."""
        outcome = await self._execute(action, json.dumps(request).encode())
        document = json.loads(outcome.body)
        assert isinstance(document, dict)
        return outcome.status, document

    async def items(self, table: Table) -> tuple[list[Item], list[Item]]:
        """All that both hold, in one order."""
        request = {"TableName": table.name, "ConsistentRead": True}
        theirs = self.ministack.ask("Scan", request)[1]["Items"]
        ours = (await self.ask_dsql("Scan", request))[1]["Items"]
        return sorted(map(canonical_item, theirs), key=_text), sorted(map(canonical_item, ours), key=_text)

    async def clear(self, table: Table) -> None:
        """Empty it in both."""
        async with self.pool.connection() as connection:
            await connection.execute(f'DELETE FROM "{table.mapping.sql_table}"')
        self._make_again(table)

    async def settle(self, table: Table) -> None:
        """Make ministack hold what DSQL holds, after a write that ministack does wrongly or DSQL cannot hold."""
        _, ours = await self.items(table)
        self._make_again(table)
        for item in ours:
            status, document = self.ministack.ask("PutItem", {"TableName": table.name, "Item": item})
            assert status == 200, document

    def _make_again(self, table: Table) -> None:
        # Deleting items by their keys would leave those that ministack has wrongly let lose a key.
        for action, request in (("DeleteTable", {"TableName": table.name}), ("CreateTable", self._made[table.name])):
            status, document = self.ministack.ask(action, request)
            assert status == 200, document

    async def _execute(self, action: str, body: bytes) -> Outcome:
        try:
            request = parse_body(body)
            named = tables_of(action, request)
            if any(name not in self.tables for name in named):
                raise errors.resource_not_found()
            operation = decode(action, body, request, {name: self.tables[name].schema for name in named})
        except DynamoDBError as error:
            return Outcome.failed(error)
        async with asyncio.timeout(120):
            return (await self.store.execute(operation)).outcome

    def _compare(
        self, action: str, request: dict[str, Any], named: Mapping[str, TableSchema], theirs: Answer, ours: Answer
    ) -> Comparison:
        body = json.dumps(request).encode()
        try:
            operation = decode(action, body, parse_body(body), named)
        except DynamoDBError:
            # Without keys there is no shape; an error has none in it that depends on the operation.
            return compare_outcomes(action, theirs, ours, ListShape(()))
        return compare_outcomes(action, theirs, ours, shape_of(operation, self.tables))


def _text(item: Item) -> str:
    return json.dumps(item, sort_keys=True)


def is_write(action: str) -> bool:
    return action in WRITES


def is_paged(action: str) -> bool:
    return action in PAGED
