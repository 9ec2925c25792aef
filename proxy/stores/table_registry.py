"""The tables the layer knows: their schemas, mappings and rules, learnt when they are first met.

Asks DynamoDB for a table's description and keeps it until the table is changed through the proxy. Knows no stages.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import structlog

from comparators.expectations import Expectation
from comparators.rules import ANY, ItemRules, Picker, parse_rules, picker
from proxy.dynamodb.schema import Key, TableSchema
from proxy.mapping.compatibility import misfits
from proxy.mapping.document_mapping import DocumentMapping
from proxy.mapping.index_key_limits import SAFE_KEY_BYTES
from proxy.mapping.interface import TableMapping
from proxy.mapping.load import LoadedMapping

log = structlog.get_logger(__name__)

_NOT_THERE_SECONDS = 2.0
# "Naming rules and data types": no other table can be, and DynamoDB refuses to describe one.
NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_NO_RULES = parse_rules({})


@dataclass(frozen=True, slots=True)
class Table:
    """A table's schema, how it maps, how its items compare, and which differences are declared."""

    schema: TableSchema
    mapping: TableMapping
    rules: Mapping[str, ItemRules] = field(default_factory=lambda: _NO_RULES)
    expected: tuple[Expectation, ...] = ()
    pick: Picker = field(default=lambda _: _NO_RULES[ANY])

    @property
    def name(self) -> str:
        return self.schema.name


class Tables:
    """`describe` asks DynamoDB; `mapped` are the mapping files by table. The rest map as documents,
    with at most `max_key_bytes` in a key."""

    def __init__(
        self,
        describe: Callable[[str], Awaitable[TableSchema | None]],
        mapped: Mapping[str, LoadedMapping],
        max_key_bytes: int = SAFE_KEY_BYTES,
    ) -> None:
        self._describe = describe
        self._mapped = mapped
        self._max_key_bytes = max_key_bytes
        self._known: dict[str, Table] = {}
        self._absent: dict[str, float] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    def names(self) -> tuple[str, ...]:
        """The tables that have been met."""
        return tuple(self._known)

    def known(self, name: str) -> Table | None:
        """The table, if it has been met."""
        return self._known.get(name)

    def mapped(self, name: str) -> bool:
        """Whether a mapping file is for the table: its SQL table then belongs to the migrations."""
        return name in self._mapped

    def mapping_of(self, name: str) -> TableMapping:
        """Raises KeyError for a table that has not been met."""
        return self._known[name].mapping

    def type_of(self, key: Key, unknown: str = "") -> str:
        """The item type that a key's attributes name; "" where they name none, `unknown` for an unmet table."""
        table = self._known.get(key.table)
        return table.mapping.type_of(key.attributes) if table is not None else unknown

    async def find(self, name: str) -> Table | None:
        """The table, asking DynamoDB the first time; None if there is none. Raises StoreError."""
        table = self._known.get(name)
        if table is not None:
            return table
        if NAME.fullmatch(name) is None:
            return None
        loop = asyncio.get_running_loop()
        if self._absent.get(name, 0.0) > loop.time():
            return None
        async with self._asking.setdefault(name, asyncio.Lock()):
            try:
                table = self._known.get(name)
                if table is not None:
                    return table
                schema = await self._describe(name)
            finally:
                # Clients make up names, so none is kept for its own sake.
                self._asking.pop(name, None)
            if schema is None:
                if len(self._absent) > 1000:
                    self._absent.clear()
                self._absent[name] = loop.time() + _NOT_THERE_SECONDS
                return None
            return self.learn(schema)

    def learn(self, schema: TableSchema) -> Table:
        """Take a table's description, replacing what was known of it."""
        self._absent.pop(schema.name, None)
        for index, why in schema.left_out.items():
            log.warning(
                "index_left_out",
                table=schema.name,
                index=index,
                reason=why,
                remedy="reads of this index are not served by DSQL, and differ where they are compared",
            )
        mapped = self._mapped.get(schema.name)
        if mapped is not None:
            table = Table(
                schema,
                mapped.mapping,
                mapped.rules,
                mapped.expected,
                picker(mapped.rules, mapped.mapping.type_attribute),
            )
            for problem in misfits(mapped.mapping, schema):
                log.warning("mapping_does_not_fit", table=schema.name, problem=problem)
        else:
            table = Table(schema, DocumentMapping(schema, self._max_key_bytes))
        self._known[schema.name] = table
        return table

    def forget(self, name: str) -> None:
        """The table has been changed or deleted."""
        self._known.pop(name, None)
        self._asking.pop(name, None)
        self._absent.pop(name, None)
