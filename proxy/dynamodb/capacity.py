"""What an operation consumes, as `ReturnConsumedCapacity` asks to be told. Pure; computed from sizes, item by item.

Nothing is limited by it and nothing is billed: it is told because clients log it and tests look for it. Sources:
developer guide, "DynamoDB read and write operations" (units by size and kind), "Using Global Secondary Indexes in
DynamoDB" (what a write does to an index); API reference, "ConsumedCapacity"; "Local Secondary Indexes" (what one
fetches from its table is read there item by item).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.dynamodb.schema import Index, TableSchema, table_name
from proxy.dynamodb.sizes import item_size
from proxy.dynamodb.values import Item

_READ_BLOCK: Final = 4096
_WRITE_BLOCK: Final = 1024


def read_units(size: int, *, consistent: bool, transactional: bool = False) -> float:
    """Of `size` bytes read at once: 4 KB a unit, at least one; half if it may be old, twice that in a transaction."""
    units = max(1, -(-size // _READ_BLOCK))
    if transactional:
        return 2.0 * units
    return float(units) if consistent else units / 2


def write_units(size: int, *, transactional: bool = False) -> float:
    """Of an item of `size` bytes, the larger of before and after: 1 KB a unit, at least one; twice in a transaction."""
    return max(1, -(-size // _WRITE_BLOCK)) * (2.0 if transactional else 1.0)


@dataclass(slots=True)
class _Used:
    table: float = 0.0
    local: dict[str, float] = field(default_factory=dict)
    others: dict[str, float] = field(default_factory=dict)

    def add(self, index: Index | None, units: float) -> None:
        if index is None:
            self.table += units
        else:
            by_name = self.local if index.local else self.others
            by_name[index.name] = by_name.get(index.name, 0.0) + units

    @property
    def total(self) -> float:
        return self.table + sum(self.local.values()) + sum(self.others.values())


class Meter:
    """Adds up one operation's units, table by table; one that was not asked for anything counts nothing.

    `member` is what a transaction names its units by beside `CapacityUnits`: it may only read, or only write.
    """

    __slots__ = ("_level", "_member", "_used")

    def __init__(self, level: str = "NONE", member: str | None = None) -> None:
        self._level = level
        self._member = member
        self._used: dict[str, _Used] = {}

    @classmethod
    def of(cls, action: str, request: Mapping[str, Any]) -> Meter:
        """A meter for a request."""
        members = {"TransactGetItems": "ReadCapacityUnits", "TransactWriteItems": "WriteCapacityUnits"}
        return cls(request.get("ReturnConsumedCapacity") or "NONE", members.get(action))

    @property
    def on(self) -> bool:
        return self._level != "NONE"

    def replayed(self) -> Meter:
        """The meter of a transaction that was carried out before: it reads ("TransactWriteItems", API reference)."""
        return Meter(self._level, "ReadCapacityUnits")

    def read(self, table: str, size: int, *, consistent: bool, transactional: bool = False) -> None:
        """One item, or its absence (of no size), was read by its key."""
        if self.on:
            self._add(table, None, read_units(size, consistent=consistent, transactional=transactional))

    def paged(self, table: str, index: Index | None, size: int, *, consistent: bool) -> None:
        """A page was read whose items have this size in all, before any filter."""
        if self.on:
            self._add(table, index, read_units(size, consistent=consistent))

    def wrote(self, schema: TableSchema, before: Item | None, after: Item | None, *, transactional: bool) -> None:
        """An item was put, changed, deleted or checked. A transaction prepares and commits the item, and its indexes
        follow it once."""
        if not self.on:
            return
        size = max(item_size(before or {}), item_size(after or {}))
        self._add(schema.name, None, write_units(size, transactional=transactional))
        if before == after:
            return
        for index in schema.indexes.values():
            units = _index_units(schema, index, before, after)
            if units:
                self._add(schema.name, index, units)

    def one(self, name: str) -> dict[str, Any]:
        """The member of an answer about one table, which the client calls `name`; empty if nobody asked."""
        if not self.on:
            return {}
        return {"ConsumedCapacity": self._shown(name, self._used.get(table_name(name), _Used()))}

    def several(self, names: Mapping[str, str]) -> dict[str, Any]:
        """The member of an answer about several tables: one entry each, in the order that they were first met."""
        if not self.on:
            return {}
        return {"ConsumedCapacity": [self._shown(names.get(name, name), used) for name, used in self._used.items()]}

    def _add(self, table: str, index: Index | None, units: float) -> None:
        self._used.setdefault(table, _Used()).add(index, units)

    def _shown(self, name: str, used: _Used) -> dict[str, Any]:
        shown: dict[str, Any] = {"TableName": name, **self._units(used.total)}
        if self._level == "INDEXES":
            shown["Table"] = self._units(used.table)
            for member, by_name in (("LocalSecondaryIndexes", used.local), ("GlobalSecondaryIndexes", used.others)):
                if by_name:
                    shown[member] = {index: self._units(units) for index, units in by_name.items()}
        return shown

    def _units(self, units: float) -> dict[str, float]:
        return {"CapacityUnits": units} if self._member is None else {"CapacityUnits": units, self._member: units}


def _index_units(schema: TableSchema, index: Index, before: Item | None, after: Item | None) -> float:
    """A new entry, a removed one or a changed one is a write; a changed key of the index is a removal and a new one."""
    old, new = (_entry(schema, index, each) for each in (before, after))
    if old == new:
        return 0.0
    if old is None or new is None:
        return write_units(item_size(old or new or {}))
    keys = index.key_names
    if all(old.get(name) == new.get(name) for name in keys):
        return write_units(max(item_size(old), item_size(new)))
    return write_units(item_size(old)) + write_units(item_size(new))


def _entry(schema: TableSchema, index: Index, item: Item | None) -> Item | None:
    """What the index holds of the item."""
    if item is None or not schema.in_index(index, item):
        return None
    kept = schema.held_names(index)
    return item if kept is None else {name: value for name, value in item.items() if name in kept}
