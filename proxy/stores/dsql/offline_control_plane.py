"""The control plane of a proxy that has no DynamoDB: tables as the catalogue knows them, or else their mapping files.

For a proxy whose tables are all `complete` and whose stages are pinned in its settings. Changes no table.
"""

from __future__ import annotations

import bisect
from collections.abc import Mapping
from typing import Any

from proxy.dynamodb import control_plane as control
from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.operations import parse_body
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import TableSchema
from proxy.mapping.column_mapping import ColumnMapping
from proxy.mapping.describe_table import describe
from proxy.stores.dsql.system_tables.table_descriptions import TableDescriptions


class ControlPlane:
    """`mapped` are the mapping files by table."""

    def __init__(self, catalogue: TableDescriptions, mapped: Mapping[str, ColumnMapping]) -> None:
        self._catalogue = catalogue
        self._mapped = dict(sorted(mapped.items()))

    async def answer(self, action: str, body: bytes) -> Outcome:
        """The outcome of an operation on tables. Raises StoreError."""
        try:
            return Outcome.of(await self._document(action, body))
        except DynamoDBError as error:
            return Outcome.failed(error)

    async def schema(self, name: str) -> TableSchema | None:
        """In place of `DynamoDBStore.describe`: the table's schema, or None if there is no such table."""
        description = await self._description(name)
        return None if description is None else TableSchema.from_description(description)

    async def _document(self, action: str, body: bytes) -> dict[str, Any]:
        if action == "ListTables":
            after, limit = control.asked_names(parse_body(body))
            return control.list_response(await self._names(after, limit + 1), limit)
        if action == "DescribeLimits":
            return control.limits()
        answers = {"DescribeTable": control.describe_response, "DescribeTimeToLive": control.time_to_live}
        if action not in answers:
            raise control.unsupported(action)
        name = control.asked_table(parse_body(body))
        return answers[action](name, await self._description(name))

    async def _description(self, name: str) -> dict[str, Any] | None:
        kept = await self._catalogue.description(name)
        if kept is None and name in self._mapped:
            return describe(self._mapped[name])
        return kept

    async def _names(self, after: str, most: int) -> list[str]:
        names = await self._catalogue.names(after, most)
        for name in self._mapped:
            if name > after and name not in names:
                bisect.insort(names, name)
        return names[:most]
