"""From a client's bytes to a call: the operation, its tables and its item type.

What cannot be decoded is for the authority to judge: DynamoDB's own words where it is DynamoDB, ours where it is DSQL.
Knows no stages.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import structlog

from proxy.dynamodb.errors import DynamoDBError, serialization
from proxy.dynamodb.operations import KEYLESS, decode
from proxy.dynamodb.schema import TableSchema
from proxy.metrics.registry import Metrics
from proxy.shadow.call import Call
from proxy.shadow.request.follow_tables import TableFollower
from proxy.shadow.request.item_type import item_type_of
from proxy.stores.errors import Refused
from proxy.stores.table_registry import Table, Tables

log = structlog.get_logger(__name__)

_REMEMBERED = 1000


class RequestDecoder:
    """Decodes. Tables that DynamoDB refuses to describe are told once each, and kept in `undescribed`."""

    def __init__(self, tables: Tables, metrics: Metrics, follow: TableFollower | None) -> None:
        self._tables = tables
        self._metrics = metrics
        self._follow = follow
        self.undescribed: set[str] = set()

    async def decode(
        self, action: str, body: bytes, request: dict[str, Any], names: Iterable[str], request_id: str
    ) -> Call | DynamoDBError | None:
        """The call; DynamoDB's error for a request that is none; None where one of its tables is not there or may not
        be described. Raises StoreError."""
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
        return Call(operation, tables, item_type, request_id)

    def _report(self, action: str, table: str, why: str) -> None:
        self._metrics.comparison.undecoded(action)
        if table not in self.undescribed and len(self.undescribed) < _REMEMBERED:
            self.undescribed.add(table)
            log.error("table_not_described", table=table, detail=why, remedy="allow dynamodb:DescribeTable")
