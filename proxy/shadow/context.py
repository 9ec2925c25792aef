"""What one operation carries through the layer: itself, its tables, its item type, and the request's id."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.dynamodb.operations import Operation
from proxy.dynamodb.schema import Key
from proxy.shadow.tables import Table


@dataclass(frozen=True, slots=True)
class Call:
    """An operation on tables that are all known."""

    operation: Operation
    tables: Mapping[str, Table]
    item_type: str
    request_id: str

    @property
    def table(self) -> Table:
        """The table that verdicts are counted under: the first of several."""
        return self.tables[self.operation.tables[0]]

    def table_of(self, key: Key) -> Table:
        return self.tables[key.table]
