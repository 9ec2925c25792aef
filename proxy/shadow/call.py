"""What one operation carries through the layer: itself, its tables, its item type, and the request's id; and when
a look at it began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from proxy.dynamodb.operations import Operation
from proxy.dynamodb.schema import Key
from proxy.stores.table_registry import Table


class ComparisonStart(NamedTuple):
    """When a look at the stores began: in the journal's moments, and in the loop's seconds."""

    sequence: int
    loop_time: float


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
