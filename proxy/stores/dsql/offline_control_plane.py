"""The control plane of a proxy that has no DynamoDB: tables as the catalogue knows them, or else their mapping files.

For a proxy whose tables are all `complete` and whose stages are pinned in its settings. It makes and changes tables
only where it is given what makes them.
"""

from __future__ import annotations

import asyncio
import bisect
import math
import time
import uuid
from collections.abc import Awaitable, Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from proxy.dynamodb import errors
from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.operations import parse_body
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import TableSchema
from proxy.dynamodb.tables import control_plane as control
from proxy.dynamodb.tables import definitions, time_to_live
from proxy.mapping.column_mapping import ColumnMapping
from proxy.mapping.describe_table import describe
from proxy.mapping.document_mapping import DocumentMapping
from proxy.mapping.interface import TableMapping
from proxy.stores.dsql.system_tables.table_descriptions import TableDescriptions
from proxy.stores.dsql.system_tables.table_properties import TAGS, TIME_TO_LIVE
from proxy.stores.dsql.table_statistics import TableCounts
from proxy.stores.errors import StoreError

_COUNTED_SECONDS: Final = 60.0
# Few items are counted each time: that is cheap, and a new table's first items are soon seen.
_FEW: Final = 1000
# An empty table takes milliseconds. SDKs' waiters look again after 20 s, and some programs do not wait at all.
_MAKE_SECONDS: Final = 1.0
_OF_A_TABLE: Final = frozenset(
    {
        "CreateTable",
        "DeleteTable",
        "DescribeContinuousBackups",
        "DescribeTable",
        "DescribeTimeToLive",
        "UpdateTable",
        "UpdateTimeToLive",
    }
)


class PropertyStore(Protocol):
    """What is known of tables beside their descriptions (`proxy.stores.dsql.system_tables.table_properties`)."""

    async def get(self, table: str, name: str, /) -> dict[str, Any] | None: ...
    async def set(self, table: str, name: str, document: Mapping[str, Any], /) -> None: ...
    async def drop(self, table: str, /) -> None: ...


class TableMaker(Protocol):
    """Makes the SQL tables of document mappings (`proxy.shadow.request.follow_tables`)."""

    def make(self, schema: TableSchema, /) -> None:
        """Create or update a table in the background."""

    def drop(self, name: str, /) -> None:
        """Drop a table in the background."""

    async def finished(self, name: str, seconds: float, /) -> None:
        """Wait until nothing is being made or changed, or the seconds are over."""

    def status(self, name: str, /) -> str:
        """Return ACTIVE, CREATING or UPDATING, as far as this process knows."""

    def usable_indexes(self, name: str, /) -> Container[str]:
        """Return the indexes that a table that is being changed had before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlane:
    """Answers operations on tables."""

    catalogue: TableDescriptions
    """The descriptions that were kept."""
    properties: PropertyStore
    """Time to live, and tags."""
    mapped: Mapping[str, ColumnMapping]
    """The mapping files, by table."""
    count: Callable[[TableMapping], Awaitable[TableCounts]]
    """Counts a table's items. Raises StoreError."""
    maker: TableMaker | None = None
    """Makes tables where clients may; None where tables are the migrations' alone."""
    arn_prefix: str = "arn:aws:dynamodb:us-east-1:000000000000"
    """What the ARNs of new tables begin with."""
    _counted: dict[str, tuple[float, TableCounts]] = field(default_factory=dict)

    async def answer(self, action: str, body: bytes, host: str) -> Outcome:
        """The outcome of an operation on tables, for a client that reached this process at `host`. Raises
        StoreError."""
        try:
            return Outcome.of(await self._document(action, parse_body(body), host))
        except DynamoDBError as error:
            return Outcome.failed(error)

    async def schema(self, name: str) -> TableSchema | None:
        """In place of `DynamoDBStore.describe`: the table's schema, or None if there is no such table."""
        description = await self._description(name)
        return None if description is None else TableSchema.from_description(description)

    async def _document(self, action: str, request: dict[str, Any], host: str) -> dict[str, Any]:
        if action == "ListTables":
            after, limit = control.asked_names(request)
            return control.list_response(await self._names(after, limit + 1), limit)
        if action == "DescribeLimits":
            return control.limits()
        if action == "DescribeEndpoints":
            return control.endpoints(host)
        if action in control.EMPTY:
            return dict(control.EMPTY[action])
        if action in ("ListTagsOfResource", "TagResource", "UntagResource"):
            return await self._tags(action, request)
        if action not in _OF_A_TABLE:
            raise control.unsupported(action)
        name = control.asked_table(request)
        description = await self._description(name)
        if action in ("CreateTable", "UpdateTable", "DeleteTable"):
            return {"TableDescription": await self._change(action, name, request, description)}
        if action == "DescribeTable":
            answer = control.describe_response(name, description)
            return {"Table": self._with_status(name, await self._with_counts(name, answer["Table"]))}
        if action == "DescribeContinuousBackups":
            return control.continuous_backups(name, description)
        known = await self.properties.get(name, TIME_TO_LIVE)
        answer = control.time_to_live(name, description, known)
        if action == "DescribeTimeToLive":
            return answer
        changed = time_to_live.changed(request, answer["TimeToLiveDescription"])
        await self.properties.set(name, TIME_TO_LIVE, changed)
        return {"TimeToLiveSpecification": request["TimeToLiveSpecification"]}

    async def _change(
        self, action: str, name: str, request: dict[str, Any], description: dict[str, Any] | None
    ) -> dict[str, Any]:
        """Make, change or delete a table, and return its description: CREATING, UPDATING or DELETING meanwhile."""
        if action == "CreateTable" and description is not None:
            raise control.table_exists(name)
        if self.maker is None or name in self.mapped:
            raise control.unsupported(action)
        if action == "CreateTable":
            made = definitions.create(request, self.arn_prefix, str(uuid.uuid4()), time.time())
            tags = definitions.tags(request)
            if not await self.catalogue.add(made):
                raise control.table_exists(name)
            if tags:
                await self.properties.set(name, TAGS, tags)
            self.maker.make(TableSchema.from_description(made))
            await self.maker.finished(name, _MAKE_SECONDS)
            return {**made, "TableStatus": "CREATING"}
        if description is None:
            raise errors.resource_not_found(f"Requested resource not found: Table: {name} not found")
        if self.maker.status(name) != "ACTIVE":
            raise errors.resource_in_use(f"Table is being created or changed: {name}")
        self._counted.pop(name, None)
        if action == "DeleteTable":
            definitions.refuse_protected(description)
            await self.catalogue.remove(name)
            await self.properties.drop(name)
            self.maker.drop(name)
            return {**description, "TableStatus": "DELETING"}
        changed = definitions.update(request, description)
        await self.catalogue.replace(changed)
        self.maker.make(TableSchema.from_description(changed))
        await self.maker.finished(name, _MAKE_SECONDS)
        return {**changed, "TableStatus": "UPDATING"}

    def _with_status(self, name: str, description: dict[str, Any]) -> dict[str, Any]:
        """The description of a table that may still be in the making."""
        status = self.maker.status(name) if self.maker is not None else "ACTIVE"
        if self.maker is None or status == "ACTIVE":
            return description
        described = {**description, "TableStatus": status}
        if "GlobalSecondaryIndexes" in described:
            usable = self.maker.usable_indexes(name)
            described["GlobalSecondaryIndexes"] = [
                {**each, "IndexStatus": "ACTIVE" if each["IndexName"] in usable else "CREATING"}
                for each in described["GlobalSecondaryIndexes"]
            ]
        return described

    async def _tags(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        name = control.asked_resource(request)
        description, known = await self._description(name), await self.properties.get(name, TAGS) or {}
        if action == "ListTagsOfResource":
            return control.tags(request, description, known)
        await self.properties.set(name, TAGS, control.retagged(action, request, description, known))
        return {}

    async def _with_counts(self, name: str, description: dict[str, Any]) -> dict[str, Any]:
        """The description with live counts; as it is where the table cannot be counted."""
        now = asyncio.get_running_loop().time()
        at, counts = self._counted.get(name, (-math.inf, None))
        if counts is None or counts.items <= _FEW or now - at >= _COUNTED_SECONDS:
            mapping = self.mapped.get(name) or DocumentMapping(TableSchema.from_description(description))
            try:
                counts = await self.count(mapping)
            except StoreError:
                return description
            self._counted[name] = now, counts
        return control.with_counts(description, *counts) if counts is not None else description

    async def _description(self, name: str) -> dict[str, Any] | None:
        kept = await self.catalogue.description(name)
        if kept is None and name in self.mapped:
            return describe(self.mapped[name])
        return kept

    async def _names(self, after: str, most: int) -> list[str]:
        names = await self.catalogue.names(after, most)
        for name in sorted(self.mapped):
            if name > after and name not in names:
                bisect.insort(names, name)
        return names[:most]
