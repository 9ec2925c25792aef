"""Decodes a client's request into a call: the operation, its tables and its item type.

The authority judges what cannot be decoded: where it is DynamoDB, DynamoDB words the error; where it is DSQL, the proxy
does. Knows no stages.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog

from proxy.dynamodb.errors import DynamoDBError, resource_not_found, serialization
from proxy.dynamodb.operations import KEYLESS, decode
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.requests.form import form_fault
from proxy.dynamodb.schema import TableSchema
from proxy.metrics.registry import Metrics
from proxy.off_loop import off_loop
from proxy.shadow.call import Call
from proxy.shadow.request.follow_tables import TableFollower
from proxy.shadow.request.item_type import item_type_of
from proxy.stores.errors import Refused
from proxy.stores.table_registry import Table, Tables

log = structlog.get_logger(__name__)

_MAX_UNDESCRIBED = 1000


class RequestDecoder:
    """The decoder of client requests. Each table that DynamoDB refuses to describe is logged once."""

    def __init__(self, tables: Tables, metrics: Metrics, follow: TableFollower | None) -> None:
        self._tables = tables
        self._metrics = metrics
        self._follow = follow
        self.undescribed: set[str] = set()
        """The tables that DynamoDB refuses to describe."""

    async def decode(
        self, action: str, body: bytes, request: dict[str, Any], names: Iterable[str], request_id: str, client: str = ""
    ) -> Call | DynamoDBError | None:
        """Return the call; an error for an invalid request, which `refusal_of` puts into DynamoDB's order;
        or None if one of its tables does not exist or may not be described. Raises StoreError."""
        tables: dict[str, Table] = {}
        for name in names:
            try:
                table = self._tables.known(name) or await self._tables.find(name)
            except Refused as error:
                self._report(action, name, str(error))
                return None
            if table is None:
                return None
            tables[name] = table
        schemas: dict[str, TableSchema] = {name: table.schema for name, table in tables.items()}
        try:
            operation = decode(action, body, request, schemas)
            item_type = item_type_of(operation, tables)
        except DynamoDBError as error:
            return error
        except (AttributeError, KeyError, TypeError) as error:
            return serialization(type(error).__name__)
        if not operation.keys and action not in KEYLESS:
            return serialization("")
        if self._follow is not None:
            self._follow.ensure(tables.values())
        return Call(operation, tables, item_type, request_id, client=client)

    async def decode_again(
        self, action: str, body: bytes, request: dict[str, Any], names: tuple[str, ...]
    ) -> Call | None:
        """Decode a request that DynamoDB has accepted, with its tables described anew.

        Returns None if it still cannot be decoded, and logs that: only a sweep finds what it wrote. Raises StoreError.
        """
        for name in names:
            self._tables.forget(name)
        call = await self.decode(action, body, request, names, "")
        if isinstance(call, Call):
            return call
        self._metrics.comparison.undecoded(action)
        log.error("write_not_followed", operation=action, tables=names, remedy="run a sweep of these tables")
        return None

    def _report(self, action: str, table: str, why: str) -> None:
        self._metrics.comparison.undecoded(action)
        if table not in self.undescribed and len(self.undescribed) < _MAX_UNDESCRIBED:
            self.undescribed.add(table)
            log.error("table_not_described", table=table, detail=why, remedy="allow dynamodb:DescribeTable")


async def refusal_of(action: str, body: bytes, request: dict[str, Any], error: DynamoDBError | None) -> Outcome:
    """Return DynamoDB's answer to a request that was not decoded, with the decoder's `error` if there is one. What is
    wrong with the form comes first; a request of a proper form names a table that does not exist."""
    fault = await off_loop(len(body), form_fault, action, request)
    return Outcome.failed(fault or error or resource_not_found())
