"""What an operator can set, from one TOML file and `CROSSFADE_…` environment variables, as frozen dataclasses.

A variable overrides the file: `CROSSFADE_DSQL__DSN` is `dsn` in `[dsql]`, `CROSSFADE_TABLES__items__TYPES__Book__STAGE`
is `stage` in `[tables.items.types.Book]`. Paths in the file are relative to the file, paths in variables to the working
directory. Unknown keys and values out of range are refused (`proxy.checked`). Nothing here opens a connection, and
nothing here prints a secret: `repr` leaves secrets out and `shown()` masks them.
"""

import dataclasses
import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from proxy.checked import AnyOf, Between, SettingsError, read, read_part
from proxy.settings_gate import Gate
from proxy.settings_tracing import TracingSettings

PREFIX = "CROSSFADE_"
MASK = "********"
SHORTEST_TOKEN = 16
_PATHS = {
    "journal": ("path",),
    "admin": ("read_token_file", "operator_token_file", "tls_cert", "tls_key"),
    "items": ("read_token_file", "write_token_file", "cursor_secret_file"),
}

Stage: TypeAlias = Literal["off", "dualwrite", "shadow", "live", "rampdown", "complete"]

_Stage = Annotated[Stage, AnyOf(("off", "dualwrite", "shadow", "live", "rampdown", "complete"))]
_Seconds = Annotated[float, Between(0.001, 3600)]
_Level = Annotated[str, AnyOf(("debug", "info", "warning", "error"))]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: a host name or IP address, and a TCP port (0: any free one)."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `host:port` or `[ipv6]:port`; ValueError if it is neither."""
        host, colon, port = text.rpartition(":")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not colon or not host or not port.isdecimal() or int(port) > 65535 or (":" in host and "[" not in text):
            raise ValueError(f"{text!r} is not an address: write host:port, as in 127.0.0.1:8000 or [::1]:8000")
        return cls(host, int(port))

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _url(value: str) -> str | None:
    parts = urlsplit(value)
    if parts.scheme in {"http", "https"} and parts.hostname and parts.path in {"", "/"} and not parts.query:
        return None
    return f"{value!r} is not an endpoint: write http(s)://host:port without a path"


def _access_key_id(value: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_-]{1,128}", value) is not None


def _dsn(value: str) -> str | None:
    if value.startswith(("postgresql://", "postgres://")):
        return None
    return "this is not a PostgreSQL address: write postgresql://user:password@host:5432/database"


@dataclass(frozen=True, slots=True)
class AccessKey:
    """The secret of a client's access key: itself, or the file that it stands in."""

    secret_access_key: str | None = field(default=None, repr=False)
    secret_access_key_file: Path | None = None

    def __post_init__(self) -> None:
        if (self.secret_access_key is None) == (self.secret_access_key_file is None):
            raise ValueError("set either secret_access_key or secret_access_key_file")
        if self.secret_access_key == "":
            raise ValueError("secret_access_key is empty: anyone could sign with it")


@dataclass(frozen=True, slots=True)
class Auth:
    """Who may use the data port: all who reach it (`none`), or all who sign with one of `keys`, by its id (`sigv4`)."""

    mode: Annotated[str, AnyOf(("none", "sigv4"))] = "none"
    insecure: bool = False
    keys: Mapping[str, AccessKey] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if self.mode == "sigv4" and not self.keys:
            raise ValueError(
                'mode = "sigv4" needs the keys that clients sign with: set secret_access_key or secret_access_key_file '
                f'in [auth.keys."ACCESS_KEY_ID"], or {PREFIX}AUTH__KEYS__ACCESS_KEY_ID__SECRET_ACCESS_KEY'
            )
        if self.mode == "none" and self.keys:
            raise ValueError('there are keys, but mode = "none" asks for no signature: set mode = "sigv4"')
        for name in self.keys:
            if not _access_key_id(name):
                raise ValueError(f"keys: {name!r} cannot be an access key's id: use letters, digits, '_' and '-'")


def _token(value: str) -> str | None:
    if len(value) >= SHORTEST_TOKEN and value.isascii() and value.isprintable() and " " not in value:
        return None
    return f"this is no token: use {SHORTEST_TOKEN} or more visible ASCII characters, as `openssl rand -hex 32` gives"


# "Accessing Aurora DSQL with PostgreSQL-compatible clients", user guide; private endpoints have a suffix to "dsql".
_REGION_IN_HOST = re.compile(r"\.dsql[^.]*\.([^.]+)\.on\.aws$")


def _cluster(value: str) -> str | None:
    if re.fullmatch(r"[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*(:\d{1,5})?", value):
        return None
    return f"{value!r} is not a cluster's endpoint: write its host name, as in abc123.dsql.us-east-1.on.aws"


def _role(value: str) -> str | None:
    if re.fullmatch(r"arn:aws[\w-]*:iam::\d{12}:role/.+", value):
        return None
    return f"{value!r} is not a role: write its ARN, as in arn:aws:iam::123456789012:role/crossfade"


def _named(value: str) -> str | None:
    return None if value.strip() else "this is empty: write a name, or leave it out"


_Token = Annotated[str | None, _token]


def _one_each(section: Any, *names: str) -> None:
    """ValueError where a text is given both by itself and by its file."""
    for name in names:
        if getattr(section, name) is not None and getattr(section, f"{name}_file") is not None:
            raise ValueError(f"{name} and {name}_file are both set: remove one of them")


@dataclass(frozen=True, slots=True)
class AdminTokens:
    """All of `Admin` that who calls a proxy's admin port needs."""

    read_token: _Token = field(default=None, repr=False)
    operator_token: _Token = field(default=None, repr=False)
    read_token_file: Path | None = None
    operator_token_file: Path | None = None

    def __post_init__(self) -> None:
        _one_each(self, "read_token", "operator_token")


@dataclass(frozen=True, slots=True)
class Admin:
    """Health, metrics, status and stages. `values` shows item values in mismatches; without it, hashes and shapes.

    A `_file` holds the token as its only line. `metrics_need_token` asks scrapers of /metrics for the read token too.
    """

    listen: Address = Address("127.0.0.1", 8001)
    insecure: bool = False
    values: bool = False
    mismatches_kept: Annotated[int, Between(0, 100_000)] = 1000
    read_token: _Token = field(default=None, repr=False)
    operator_token: _Token = field(default=None, repr=False)
    read_token_file: Path | None = None
    operator_token_file: Path | None = None
    metrics_need_token: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def __post_init__(self) -> None:
        _one_each(self, "read_token", "operator_token")
        if self.read_token is not None and self.read_token == self.operator_token:
            raise ValueError("read_token and operator_token are the same: who may read could then move stages")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: set both, or neither")
        if not self.listen.loopback and not self.insecure and not self.guarded:
            raise ValueError(
                f"listen = {str(self.listen)!r} can be reached from other machines, and no token is asked for: set "
                "operator_token_file, or use 127.0.0.1, or set insecure = true if your network keeps strangers out"
            )

    @property
    def guarded(self) -> bool:
        """Whether callers need a token."""
        given = (self.read_token, self.operator_token, self.read_token_file, self.operator_token_file)
        return any(each is not None for each in given)


@dataclass(frozen=True, slots=True)
class Items:
    """The items port; without `listen` there is none. `cursor_secret` signs cursors: proxies that have the same take
    each other's. A `_file` holds its text as its only line. TLS is the data port's."""

    listen: Address | None = None
    insecure: bool = False
    table: str = "billio"
    read_token: _Token = field(default=None, repr=False)
    write_token: _Token = field(default=None, repr=False)
    cursor_secret: _Token = field(default=None, repr=False)
    read_token_file: Path | None = None
    write_token_file: Path | None = None
    cursor_secret_file: Path | None = None

    def __post_init__(self) -> None:
        _one_each(self, "read_token", "write_token", "cursor_secret")
        if self.read_token is not None and self.read_token == self.write_token:
            raise ValueError("read_token and write_token are the same: who may read could then write")
        if self.listen is not None and not self.listen.loopback and not self.insecure and not self.guarded:
            raise ValueError(
                f"listen = {str(self.listen)!r} can be reached from other machines, and no token is asked for: set "
                "write_token_file, or use 127.0.0.1, or set insecure = true if your network keeps strangers out"
            )

    @property
    def guarded(self) -> bool:
        """Whether callers need a token."""
        given = (self.read_token, self.write_token, self.read_token_file, self.write_token_file)
        return any(each is not None for each in given)


@dataclass(frozen=True, slots=True)
class DynamoDB:
    """The authority. Without `access_key_id` the AWS credential chain is used, without `endpoint_url` AWS's own."""

    endpoint_url: Annotated[str | None, _url] = None
    streams_endpoint_url: Annotated[str | None, _url] = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    connections: Annotated[int, Between(1, 4096)] = 64
    waiting: Annotated[int, Between(0, 100_000)] = 1024
    idle_seconds: _Seconds = 15.0
    timeout_seconds: _Seconds = 30.0
    connect_timeout_seconds: _Seconds = 3.0
    settle_seconds: Annotated[float, Between(0, 3600)] = 60.0

    def __post_init__(self) -> None:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key belong together: set both, or neither")
        if self.session_token is not None and self.access_key_id is None:
            raise ValueError("session_token belongs to an access_key_id: set access_key_id and secret_access_key too")


@dataclass(frozen=True, slots=True)
class DSQL:
    """The mirror: `endpoint` is a cluster's host name, with tokens from IAM; `dsn` any PostgreSQL's address."""

    endpoint: Annotated[str | None, _cluster] = None
    dsn: Annotated[str | None, _dsn] = field(default=None, repr=False)
    region: str | None = None
    user: Annotated[str, _named] = "admin"
    database: Annotated[str, _named] = "postgres"
    profile: Annotated[str | None, _named] = None
    role_arn: Annotated[str | None, _role] = None
    schema: str = "public"
    pool_min: Annotated[int, Between(0, 1000)] = 1
    pool_max: Annotated[int, Between(1, 1000)] = 16
    connect_rate: Annotated[int, Between(1, 1000)] = 20
    timeout_seconds: _Seconds = 5.0
    settle_seconds: Annotated[float, Between(0, 3600)] = 300.0

    def __post_init__(self) -> None:
        if self.pool_min > self.pool_max:
            raise ValueError(f"pool_min ({self.pool_min}) is above pool_max ({self.pool_max}): lower it")
        if self.endpoint is not None and self.dsn is not None:
            raise ValueError("endpoint and dsn both say where DSQL is: keep endpoint for a cluster, dsn for PostgreSQL")
        if self.endpoint is None:
            given = {"region": self.region, "profile": self.profile, "role_arn": self.role_arn}
            for name in (name for name, value in given.items() if value is not None):
                raise ValueError(f"{name} goes with endpoint, which is not set: set endpoint, or remove {name}")
        elif self.region_of_endpoint is None:
            raise ValueError(f"{self.endpoint} names no region: set region too, as in us-east-1")

    @property
    def given(self) -> bool:
        """Whether it is said where DSQL is."""
        return self.endpoint is not None or self.dsn is not None

    @property
    def region_of_endpoint(self) -> str | None:
        """The region that is set, or the one in the cluster's host name."""
        if self.region is not None or self.endpoint is None:
            return self.region
        named = _REGION_IN_HOST.search(self.endpoint.partition(":")[0])
        return named[1] if named is not None else None


@dataclass(frozen=True, slots=True)
class Journal:
    """The durable set of keys. `synchronous`, SQLite's: `full` survives a power cut, `normal` a killed process."""

    path: Path = Path(".crossfade/journal.sqlite")
    synchronous: Annotated[str, AnyOf(("normal", "full"))] = "normal"


@dataclass(frozen=True, slots=True)
class Breaker:
    """When the mirror is left alone: after so many failures on end, for so long."""

    failures: Annotated[int, Between(1, 10_000)] = 10
    reset_seconds: _Seconds = 5.0


@dataclass(frozen=True, slots=True)
class Mirror:
    """What the mirror may cost: mirror calls at a time, keys waiting to converge in memory, comparisons waiting, and
    how long a turn of the event loop may take while comparisons are begun."""

    concurrency: Annotated[int, Between(1, 1024)] = 16
    queue: Annotated[int, Between(1, 1_000_000)] = 10_000
    comparisons_queue: Annotated[int, Between(1, 1_000_000)] = 2_000
    max_turn_seconds: Annotated[float, Between(0.001, 60)] = 0.01
    rehearse_timeout_seconds: _Seconds = 5.0
    alone: bool = False
    breaker: Breaker = Breaker()


@dataclass(frozen=True, slots=True)
class Shutdown:
    """How long a stop may take: for requests under way, then for keys to converge. The rest stays in the journal."""

    finish_seconds: Annotated[float, Between(0, 600)] = 10.0
    converge_seconds: Annotated[float, Between(0, 600)] = 10.0


@dataclass(frozen=True, slots=True)
class TypeSettings:
    """One item type of a table."""

    stage: _Stage | None = None


@dataclass(frozen=True, slots=True)
class TableSettings:
    """One table: its starting stage, and its types'. What is not set is inherited."""

    stage: _Stage | None = None
    types: Mapping[str, TypeSettings] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Stream:
    """The DynamoDB streams to follow, by their tables: what is written past the proxies then converges too. `start`:
    where a stream begins that was never read; `delay_seconds`: how old a record is to be before its key is nominated.
    """

    tables: tuple[str, ...] = ()
    start: Annotated[Literal["trim_horizon", "latest"], AnyOf(("trim_horizon", "latest"))] = "trim_horizon"
    poll_seconds: Annotated[float, Between(0.01, 60)] = 1.0
    delay_seconds: Annotated[float, Between(0, 60)] = 2.0


def _dynamodb_table(value: str) -> str | None:
    if re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", value):
        return None
    return f"{value!r} cannot be a DynamoDB table: use 3 to 255 letters, digits, '_', '-' and '.'"


@dataclass(frozen=True, slots=True)
class StagesSettings:
    """Where stages live once they can be moved: a DynamoDB table, which is made if it is not there. Without `table` the
    stages are pinned: those of the settings, and moved by nobody."""

    table: Annotated[str | None, _dynamodb_table] = None
    lease_seconds: Annotated[float, Between(1, 300)] = 10.0
    poll_seconds: Annotated[float, Between(0.05, 60)] = 1.0
    hold_seconds: Annotated[float, Between(0.1, 60)] = 2.0

    def __post_init__(self) -> None:
        if self.poll_seconds > self.lease_seconds / 3:
            raise ValueError(
                f"poll_seconds ({self.poll_seconds:g}) must be a third of lease_seconds ({self.lease_seconds:g}) at "
                "most: a lease is to outlive a poll that fails"
            )


@dataclass(frozen=True, slots=True)
class Log:
    """What is logged, and how."""

    level: _Level = "info"
    format: Annotated[str, AnyOf(("json", "console"))] = "json"


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it. A table that no file of `mappings` is for has the document mapping."""

    listen: Address = Address("127.0.0.1", 8000)
    tls_cert: Path | None = None
    tls_key: Path | None = None
    auth: Auth = field(default_factory=Auth)
    stage: _Stage = "off"
    stages: StagesSettings = StagesSettings()
    follow_tables: bool = False
    mappings: tuple[Path, ...] | None = None
    admin: Admin = Admin()
    items: Items = Items()
    dynamodb: DynamoDB = DynamoDB()
    dsql: DSQL = DSQL()
    journal: Journal = Journal()
    mirror: Mirror = Mirror()
    shutdown: Shutdown = Shutdown()
    stream: Stream = Stream()
    gate: Gate = field(default_factory=Gate)
    tables: Mapping[str, TableSettings] = field(default_factory=lambda: MappingProxyType({}))
    log: Log = Log()
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
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: set both, or neither")
        if not self.listen.loopback and self.auth.mode == "none" and not self.auth.insecure:
            raise ValueError(
                f"listen = {str(self.listen)!r} can be reached from other machines, and whoever reaches it acts with "
                'the proxy\'s AWS credentials: set mode = "sigv4" and keys in [auth], or use 127.0.0.1, or set '
                f"insecure = true in [auth] ({PREFIX}AUTH__INSECURE=true) if your network keeps strangers out"
            )
        if not self.dsql.given and (self.stages.table is not None or self.beginnings() != {"off"}):
            raise ValueError(
                "a stage other than off needs the mirror: set endpoint or dsn in [dsql], or "
                f"{PREFIX}DSQL__ENDPOINT or {PREFIX}DSQL__DSN, or the stage to off (and no table in [stages])"
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


def load(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """Settings from the TOML file at `path` (None: defaults) and the `CROSSFADE_…` variables of `environ`.

    Raises SettingsError for a file that cannot be read, is not TOML, or has settings that are wrong.
    """
    return read(Settings, _table(path), _place(path), environ, PREFIX)


def load_admin_tokens(path: Path | None, environ: Mapping[str, str]) -> AdminTokens:
    """The admin port's tokens alone, from where `load` has them. All else may be wrong here, but for its names: whoever
    calls a proxy need not have the proxy's files and its mirror's address.

    Raises SettingsError.
    """
    return read_part(AdminTokens, "admin", Settings, _table(path), _place(path), environ, PREFIX)


def _place(path: Path | None) -> str:
    return str(path or "settings")


def _table(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return _beside(tomllib.loads(path.read_text(encoding="utf-8")), path)
    except OSError as error:
        raise SettingsError([f"{path}: {error.strerror or error}: give the path of a readable file"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError([f"{path}: this is not TOML: {error}"]) from None


def without_password(dsn: str) -> str:
    """A PostgreSQL address with its password masked, in the user part and in the query."""
    parts = urlsplit(dsn)
    user, at, host = parts.netloc.rpartition("@")
    if ":" in user:
        user = f"{user.partition(':')[0]}:{MASK}"
    query = "&".join(
        f"{name}={MASK}" if name.lower() in {"password", "sslpassword", "passfile"} else f"{name}{equals}{value}"
        for name, equals, value in (pair.partition("=") for pair in parts.query.split("&"))
    )
    return parts._replace(netloc=f"{user}{at}{host}", query=query).geturl()


def _beside(table: dict[str, Any], path: Path) -> dict[str, Any]:
    """`table` with its paths made relative to the file they stand in. What is not a path is left to be refused."""
    table = dict(table)
    mappings = table.get("mappings")
    if isinstance(mappings, list):
        table["mappings"] = [str(path.parent / name) if isinstance(name, str) else name for name in mappings]
    for name in ("tls_cert", "tls_key"):
        if isinstance(table.get(name), str):
            table[name] = str(path.parent / table[name])
    for section, names in _PATHS.items():
        for name in names:
            _move(table, section, name, path.parent)
    auth = table.get("auth")
    if isinstance(auth, dict) and isinstance(auth.get("keys"), dict):
        keys = dict(auth["keys"])
        for access_key_id in keys:
            _move(keys, access_key_id, "secret_access_key_file", path.parent)
        table["auth"] = auth | {"keys": keys}
    return table


def _move(table: dict[str, Any], section: str, name: str, folder: Path) -> None:
    """The path at `name` in `section`, if there is one, is one in `folder`."""
    inside = table.get(section)
    if isinstance(inside, dict) and isinstance(inside.get(name), str):
        table[section] = inside | {name: str(folder / inside[name])}


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
