"""All settings together: what the parts may not say at once, and how they are shown."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from proxy.settings.gate import GateSettings
from proxy.settings.ports import PREFIX, Address, Admin, Auth, Connections, Items, tls_pair
from proxy.settings.shadow import (
    CompareSettings,
    ExpirySettings,
    JournalSettings,
    Mirror,
    Shutdown,
    Stage,
    StageName,
    StagesSettings,
    Stream,
    TableSettings,
)
from proxy.settings.stores import DSQL, MASK, DynamoDB, without_password
from proxy.settings.tracing import TracingSettings
from proxy.settings.validation import AnyOf

_Level = Annotated[str, AnyOf(("debug", "info", "warning", "error"))]


@dataclass(frozen=True, slots=True)
class Log:
    """What is logged, and how."""

    level: _Level = "info"
    format: Annotated[str, AnyOf(("json", "console"))] = "json"


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it. A table that no file of `mappings` is for has the document mapping."""

    listen: Address = field(default_factory=lambda: Address("127.0.0.1", 8000))
    tls_cert: Path | None = None
    tls_key: Path | None = None
    auth: Auth = field(default_factory=Auth)
    stage: StageName = "off"
    stages: StagesSettings = field(default_factory=StagesSettings)
    follow_tables: bool = False
    control_plane: Annotated[str, AnyOf(("dynamodb", "dsql"))] = "dynamodb"
    mappings: tuple[Path, ...] | None = None
    admin: Admin = field(default_factory=Admin)
    items: Items = field(default_factory=Items)
    connections: Connections = field(default_factory=Connections)
    dynamodb: DynamoDB = field(default_factory=DynamoDB)
    dsql: DSQL = field(default_factory=DSQL)
    journal: JournalSettings = field(default_factory=JournalSettings)
    mirror: Mirror = field(default_factory=Mirror)
    compare: CompareSettings = field(default_factory=CompareSettings)
    expiry: ExpirySettings = field(default_factory=ExpirySettings)
    shutdown: Shutdown = field(default_factory=Shutdown)
    stream: Stream = field(default_factory=Stream)
    gate: GateSettings = field(default_factory=GateSettings)
    tables: Mapping[str, TableSettings] = field(default_factory=lambda: MappingProxyType({}))
    log: Log = field(default_factory=Log)
    tracing: TracingSettings = field(default_factory=TracingSettings)

    def __post_init__(self) -> None:
        if self.listen == self.admin.listen and self.listen.port:
            raise ValueError(f"listen and admin.listen are both {self.listen}: give each a port of its own")
        if self.items.listen is not None and self.items.listen.port:
            for name, other in (("listen", self.listen), ("admin.listen", self.admin.listen)):
                if self.items.listen == other:
                    raise ValueError(f"items.listen and {name} are both {other}: give each a port of its own")
        if (
            self.items.listen is not None
            and self.auth.mode == "sigv4"
            and not (self.items.guarded or self.items.insecure)
        ):
            raise ValueError(
                "the data port asks for signatures, and items.listen would let who is on this machine write without: "
                "set items.write_token_file, or insecure = true in [items] if nobody else is"
            )
        tls_pair(self.tls_cert, self.tls_key)
        if not self.listen.loopback and self.auth.mode == "none" and not self.auth.insecure:
            raise ValueError(
                f"listen = {str(self.listen)!r} can be reached from other machines, and every client acts "
                'with the proxy\'s AWS credentials: set mode = "sigv4" and keys in [auth], or use 127.0.0.1, or set '
                f"insecure = true in [auth] ({PREFIX}AUTH__INSECURE=true) if your network keeps strangers out"
            )
        if not self.dsql.given and (self.stages.table is not None or self.beginnings() != {"off"}):
            raise ValueError(
                "a stage other than off needs the mirror: set endpoint or dsn in [dsql], or "
                f"{PREFIX}DSQL__ENDPOINT or {PREFIX}DSQL__DSN, or the stage to off (and no table in [stages])"
            )
        if self.control_plane == "dsql" and self.needs_dynamodb:
            raise ValueError(
                'control_plane = "dsql" lets clients make tables on DSQL alone: it needs every table to be pinned in '
                '"complete", with no table in [stages]; while there is a DynamoDB, tables are made there'
            )
        past = self.beginnings() & {"live", "rampdown", "complete"}
        if self.stages.table is not None and past:
            raise ValueError(
                f"stage {min(past)!r} cannot be where a table begins when stages can be moved: begin with off, "
                "dualwrite or shadow and move it (crossfade stage), or set no table in [stages], which pins the stages"
            )

    def stage_of(self, table: str, item_type: str | None = None) -> Stage:
        """The starting stage of a table, or of one item type in it: the nearest that is set."""
        here = self.tables.get(table)
        if here is None:
            return self.stage
        of_type = here.types.get(item_type) if item_type is not None else None
        return (of_type and of_type.stage) or here.stage or self.stage

    def beginnings(self) -> set[Stage]:
        """Every stage that some table or type starts in."""
        found = {self.stage}
        for table in self.tables.values():
            found |= {stage for stage in (table.stage, *(of.stage for of in table.types.values())) if stage}
        return found

    @property
    def needs_dynamodb(self) -> bool:
        """Whether there must be a DynamoDB: not when every table is `complete`, and nobody can move it."""
        return self.stages.table is not None or self.beginnings() != {"complete"}

    def shown(self) -> dict[str, Any]:
        """All settings as JSON-able values, secrets masked."""
        shown: dict[str, Any] = _plain(self)
        for section, key in (
            ("dynamodb", "secret_access_key"),
            ("dynamodb", "session_token"),
            ("admin", "read_token"),
            ("admin", "operator_token"),
            ("items", "read_token"),
            ("items", "write_token"),
            ("items", "cursor_secret"),
        ):
            if shown[section][key] is not None:
                shown[section][key] = MASK
        for access_key in shown["auth"]["keys"].values():
            if access_key["secret_access_key"] is not None:
                access_key["secret_access_key"] = MASK
        if self.dsql.dsn is not None:
            shown["dsql"]["dsn"] = without_password(self.dsql.dsn)
        return shown


def _plain(value: Any) -> Any:
    if isinstance(value, Address | Path):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: _plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return value
