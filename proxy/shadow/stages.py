"""How far the cutover has come, for a table and for an item type within it. LaunchDarkly's six, as its users know them.

Answers questions about stages; changes none. `live`, `rampdown` and `complete` come with the flip.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from proxy.settings import Settings


class Stage(StrEnum):
    OFF = "off"
    DUALWRITE = "dualwrite"
    SHADOW = "shadow"


class Stages:
    """The stages that the settings begin with."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[tuple[str, str], Stage] = {}
        self._tables: dict[str, bool] = {}
        self.all_off = settings.stages() <= {"off"}

    def of(self, table: str, item_type: str = "") -> Stage:
        """The stage of an item type, or of the table where the type is "" or has none of its own."""
        known = self._known.get((table, item_type))
        if known is None:
            known = Stage(self._settings.stage_of(table, item_type or None))
            if item_type in self._declared(table):
                self._known[table, item_type] = known
        return known

    def active(self, table: str) -> bool:
        """Whether the table, or any type in it, has left `off`."""
        active = self._tables.get(table)
        if active is None:
            active = any(self.of(table, each) is not Stage.OFF for each in self._declared(table))
            if len(self._tables) < 10_000:
                self._tables[table] = active
        return active

    def compares(self, table: str) -> bool:
        """Whether every type in the table is in `shadow`: what names no type shows the items of all."""
        return all(self.of(table, each) is Stage.SHADOW for each in self._declared(table))

    def _declared(self, table: str) -> tuple[str, ...]:
        here = self._settings.tables.get(table)
        return ("", *here.types) if here is not None else ("",)

    def listed(self, met: Iterable[str]) -> list[tuple[str, str, Stage]]:
        """(table, type, stage) of the tables that the settings name and of those met; type "" is the table itself."""
        tables = dict.fromkeys((*self._settings.tables, *met))
        return [(table, each, self.of(table, each)) for table in tables for each in self._declared(table)]
