"""The stages of tables and item types: LaunchDarkly's six, as its users know them.

All answers come from one map that is replaced as a whole. The flip decides when it is replaced.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Self

from proxy.settings import Settings

DYNAMODB: Final = "dynamodb"
DSQL: Final = "dsql"
SEVERAL_TYPES: Final = "*"
"""The item type of an operation that concerns several types."""


class Stage(StrEnum):
    OFF = "off"
    DUALWRITE = "dualwrite"
    SHADOW = "shadow"
    LIVE = "live"
    RAMPDOWN = "rampdown"
    COMPLETE = "complete"

    @property
    def authority(self) -> str:
        """The store whose answers clients get, and whose state is the truth."""
        return DSQL if self in _PAST_THE_FLIP else DYNAMODB

    @property
    def mirrored(self) -> bool:
        """Whether writes go to both stores."""
        return self is not Stage.OFF and self is not Stage.COMPLETE

    @property
    def compared(self) -> bool:
        """Whether reads and writes are compared."""
        return self is Stage.SHADOW or self is Stage.LIVE


_PAST_THE_FLIP: Final = frozenset({Stage.LIVE, Stage.RAMPDOWN, Stage.COMPLETE})


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """What a stage is set for: an item type of a table or, with type "", all types that have no stage of their own."""

    table: str
    item_type: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `table` or `table/Type`; the names of DynamoDB tables have no slash ("Naming rules and data types")."""
        table, _, item_type = text.partition("/")
        return cls(table, item_type)

    def __str__(self) -> str:
        return f"{self.table}/{self.item_type}" if self.item_type else self.table


@dataclass(frozen=True, slots=True)
class StagePlacement:
    """The stage that a scope was moved to; the share of reads that DSQL serves in `shadow`, in percent; since when
    (Unix seconds) and by whom."""

    stage: Stage
    ramp: float = 0.0
    since: float = 0.0
    by: str = ""


@dataclass(frozen=True, slots=True)
class ForgottenProcesses:
    """The processes that were forgotten although they owed keys: their number, the last one's name, and when (Unix
    seconds) nothing that any of them sent can still take effect."""

    count: int = 0
    last_process: str = ""
    settled_at: float = 0.0

    def document(self) -> dict[str, Any]:
        return {"count": self.count, "process": self.last_process, "settled": self.settled_at}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        return cls(int(document["count"]), str(document["process"]), float(document["settled"]))


NO_PROCESS: Final = ForgottenProcesses()
ALL_TABLES: Final = Scope("*")
"""The scope of an era that ended for all tables; no DynamoDB table has such a name."""


@dataclass(frozen=True, slots=True)
class Era:
    """A period in which every acknowledged write to a scope reached both stores, or is in a journal to do so.

    Findings of one era prove nothing about another. `number` grows with each era of any scope; `began` is in Unix
    seconds, 0 for an era as old as the stage table; `because` says what ended the era before.
    """

    number: int = 0
    began: float = 0.0
    because: str = ""

    def document(self) -> dict[str, Any]:
        return {"number": self.number, "began": self.began, "because": self.because}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        return cls(int(document["number"]), float(document["began"]), str(document["because"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabasePairing:
    """The stage table's half of an installation: one stage table and one DSQL database that belong together."""

    installation: str
    """The id of the installation."""
    database: str = ""
    """The id of the database; "" while the pairing is under way."""
    flipped: int = 0
    """The epoch at which an authority was moved last, since they are paired; 0 if none was."""
    unrecorded: bool = False
    """Whether that was done while no process was there to record it in DSQL: the first one that comes does."""

    def document(self) -> dict[str, Any]:
        return {
            "installation": self.installation,
            "database": self.database,
            "flipped": self.flipped,
            **({"unrecorded": True} if self.unrecorded else {}),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        return cls(
            installation=str(document["installation"]),
            database=str(document["database"]),
            flipped=int(document["flipped"]),
            unrecorded=bool(document.get("unrecorded", False)),
        )


@dataclass(frozen=True, slots=True)
class StageMap:
    """All stages that were set by moves, at one epoch; the forgotten processes; and the eras that began since the stage
    table was made. A scope that is not in it has the stage of the settings. `initial_stages` are the settings' stages
    as the processes last had them, as text; `pairing` is None until a
    process has met DSQL."""

    epoch: int = 0
    placements: Mapping[Scope, StagePlacement] = field(default_factory=lambda: MappingProxyType({}))
    forgotten: ForgottenProcesses = NO_PROCESS
    eras: Mapping[Scope, Era] = field(default_factory=lambda: MappingProxyType({}))
    initial_stages: str | None = None
    pairing: DatabasePairing | None = None

    def with_move(self, scope: Scope, placed: StagePlacement, broken: Iterable[Scope] = ()) -> StageMap:
        """The map of the next epoch. A table that is moved takes its types with it. `broken` are the scopes whose era
        the move ends."""
        kept = {
            other: where for other, where in self.placements.items() if scope.item_type or other.table != scope.table
        }
        after = replace(self, epoch=self.epoch + 1, placements=MappingProxyType({**kept, scope: placed}))
        broken = tuple(broken)
        if not broken:
            return after
        return after.with_new_eras(broken, placed.since, f"it was moved to {placed.stage}")

    def with_flip(self, *, recorded: bool) -> StageMap:
        """Return the same map, which says that an authority was moved at its epoch, and whether DSQL knows."""
        if self.pairing is None:
            return self
        unrecorded = self.pairing.unrecorded or not recorded
        return replace(self, pairing=replace(self.pairing, flipped=self.epoch, unrecorded=unrecorded))

    def with_new_eras(self, scopes: Iterable[Scope], now: float, because: str, *, at_least: int = 0) -> StageMap:
        """The same stages, with a new era for each of the scopes; its number is `at_least` that."""
        number = max(at_least, max((era.number for era in self.eras.values()), default=0) + 1)
        begun = dict.fromkeys(scopes, Era(number, now, because))
        return replace(self, eras=MappingProxyType({**self.eras, **begun}))

    def era(self, table: str, item_type: str = "") -> Era:
        """The era of a type, or of the table where the type is "" or has none of its own."""
        own = self.eras.get(Scope(table, item_type)) or self.eras.get(Scope(table)) or Era()
        return max(own, self.eras.get(ALL_TABLES, Era()), key=lambda era: era.number)

    def document(self) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "placed": {
                str(scope): {"stage": str(at.stage), "ramp": at.ramp, "since": at.since, "by": at.by}
                for scope, at in sorted(self.placements.items())
            },
            **({"forgotten": self.forgotten.document()} if self.forgotten.count else {}),
            **({"eras": {str(scope): era.document() for scope, era in sorted(self.eras.items())}} if self.eras else {}),
            **({"begins": self.initial_stages} if self.initial_stages is not None else {}),
            **({"pairing": self.pairing.document()} if self.pairing is not None else {}),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for what is not such a document."""
        placed = {
            Scope.parse(text): StagePlacement(Stage(at["stage"]), float(at["ramp"]), float(at["since"]), str(at["by"]))
            for text, at in document["placed"].items()
        }
        forgotten, pairing = document.get("forgotten"), document.get("pairing")
        return cls(
            int(document["epoch"]),
            MappingProxyType(placed),
            ForgottenProcesses.from_document(forgotten) if forgotten is not None else NO_PROCESS,
            MappingProxyType(
                {Scope.parse(text): Era.from_document(era) for text, era in document.get("eras", {}).items()}
            ),
            document.get("begins"),
            DatabasePairing.from_document(pairing) if pairing is not None else None,
        )


class Stages:
    """The stages as this process knows them: those of the settings until a map is adopted.

    `types` are the item types that each mapped table declares; other types have their table's stage.
    """

    def __init__(self, settings: Settings, types: Mapping[str, Iterable[str]] | None = None) -> None:
        self._settings = settings
        self._types = {table: tuple(each) for table, each in (types or {}).items()}
        self._known: dict[tuple[str, str], StagePlacement] = {}
        self._tables: dict[str, bool] = {}
        self._reordered: dict[str, float] = {}
        # Nobody records when pinned stages were changed: at the earliest when this process was started.
        self._began = time.time() if settings.stages.table is None else 0.0
        self.map = StageMap()
        self.all_off = False
        self.authorities: frozenset[str] = frozenset()
        self.adopt(self.map)

    def adopt(self, new: StageMap) -> None:
        """Replace the stages."""
        if new is not self.map:
            self._note_reordered(new)
        self.map = new
        self._known = {}
        self._tables = {}
        stages = {Stage(each) for each in self._settings.beginnings()} | {at.stage for at in new.placements.values()}
        self.all_off = stages == {Stage.OFF}
        # Every store that is the authority of some table.
        self.authorities = frozenset(stage.authority for stage in stages)

    def stage_of(self, table: str, item_type: str = "") -> Stage:
        """The stage of an item type, or of the table where the type is "" or has none of its own."""
        return self.placement(table, item_type).stage

    def placement(self, table: str, item_type: str = "") -> StagePlacement:
        """The same, with the ramp, the time and the name."""
        known = self._known.get((table, item_type))
        if known is None:
            known = self._find(table, item_type)
            if item_type in self.types(table) and len(self._known) < 10_000:
                self._known[table, item_type] = known
        return known

    def era(self, table: str, item_type: str = "") -> Era:
        """The era of an item type, or of the table where the type is "" or has none of its own; of what concerns
        several types (`*`), the youngest of them."""
        if item_type == SEVERAL_TYPES:
            return max((self.map.era(table, each) for each in self.types(table)), key=lambda era: era.number)
        return self.map.era(table, item_type)

    def reordered_at(self, table: str) -> float:
        """When (Unix seconds) the authority or the ramp of the table, or of a type in it, was last changed, at the
        latest; 0.0 if it never was. From then on its pages may come from another store than before."""
        return self._reordered.get(table, self._began)

    def active(self, table: str) -> bool:
        """Whether the table, or any type in it, has left `off`."""
        active = self._tables.get(table)
        if active is None:
            active = any(self.stage_of(table, each) is not Stage.OFF for each in self.types(table))
            if len(self._tables) < 10_000:
                self._tables[table] = active
        return active

    def past_the_flip(self, table: str) -> bool:
        """Whether DSQL is the authority for the table, or any type in it."""
        return DSQL in self.authorities and any(
            self.stage_of(table, each).authority == DSQL for each in self.types(table)
        )

    def common_stage(self, table: str) -> Stage | None:
        """The stage that all types of the table share; None where they differ. An operation that names no type returns
        items of all."""
        stages = {self.stage_of(table, each) for each in self.types(table)}
        return stages.pop() if len(stages) == 1 else None

    def types(self, table: str) -> tuple[str, ...]:
        """ "" and the item types that may have a stage of their own."""
        here = self._settings.tables.get(table)
        moved = (scope.item_type for scope in self.map.placements if scope.table == table)
        return tuple(
            dict.fromkeys(("", *(here.types if here is not None else ()), *self._types.get(table, ()), *moved))
        )

    def covers(self, scope: Scope, table: str, item_type: str) -> bool:
        """Whether an item of the type is moved when the scope is."""
        return scope.table == table and scope.item_type in ("", item_type)

    def list_all(self, met: Iterable[str]) -> list[tuple[str, str, Stage]]:
        """(table, type, stage) of all tables that settings, mappings or moves name, and of `met`; type "" is the
        table."""
        named = (scope.table for scope in self.map.placements)
        tables = dict.fromkeys((*self._settings.tables, *self._types, *named, *met))
        return [(table, each, self.stage_of(table, each)) for table in tables for each in self.types(table)]

    def _note_reordered(self, new: StageMap) -> None:
        """What was moved before this process met its first map may have changed authority with its last move."""
        first = not self.map.epoch
        for scope in self.map.placements.keys() | new.placements.keys():
            was, now = self.placement(scope.table, scope.item_type), new.placements.get(scope)
            now = now or new.placements.get(Scope(scope.table)) or was
            if first or (was.stage.authority, was.ramp) != (now.stage.authority, now.ramp):
                self._reordered[scope.table] = max(now.since, self._reordered.get(scope.table, 0.0))

    def _find(self, table: str, item_type: str) -> StagePlacement:
        for scope in (Scope(table, item_type), Scope(table)):
            at = self.map.placements.get(scope)
            if at is not None:
                return at
        return StagePlacement(Stage(self._settings.stage_of(table, item_type or None)))
