"""Where the two stores are, and how they are asked: `[dynamodb]` and `[dsql]`."""

import re
from dataclasses import dataclass, field
from typing import Annotated, Final
from urllib.parse import urlsplit

from proxy.settings.validation import InRange, Seconds

MASK: Final = "********"


def shown(value: str) -> str:
    """A wrong value for a message, unless it may hold a password: an address with a user in it, or one of a database
    that is in another setting."""
    return "this" if "@" in value or value.startswith("postgres") else repr(value)


def _url(value: str) -> str | None:
    try:
        parts = urlsplit(value)
    except ValueError:
        return "this is not an endpoint: write http(s)://host:port without a path"
    if "@" in parts.netloc:
        return "this is not an endpoint: it names a user; write http(s)://host:port"
    if parts.scheme in {"http", "https"} and parts.hostname and parts.path in {"", "/"} and not parts.query:
        return None
    return f"{shown(value)} is not an endpoint: write http(s)://host:port without a path"


_UNESCAPED: Final = (
    "this PostgreSQL address cannot be divided into its parts: write each of / ? # [ ] @ : and % in a password as "
    "%2F %3F %23 %5B %5D %40 %3A %25"
)
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:]*)(:[0-9]{1,5})?").fullmatch


def _dsn(value: str) -> str | None:
    if not value.startswith(("postgresql://", "postgres://")):
        return "this is not a PostgreSQL address: write postgresql://user:password@host:5432/database"
    try:
        parts = urlsplit(value)
    except ValueError:
        return _UNESCAPED
    # Where a character of the password ends the host's part too early, the rest of it would be taken for a path, a
    # query or a port: connected to, logged, and shown.
    hosts = parts.netloc.rpartition("@")[2].split(",")
    in_order = (
        all(_HOST(host) for host in hosts)
        and "@" not in parts.path
        and parts.path.count("/") <= 1
        and not parts.fragment
        and all("=" in pair for pair in parts.query.split("&") if pair)
    )
    return None if in_order else _UNESCAPED


# "Accessing Aurora DSQL with PostgreSQL-compatible clients", user guide; private endpoints have a suffix to "dsql".
_REGION_IN_HOST = re.compile(r"\.dsql[^.]*\.([^.]+)\.on\.aws$")


def _cluster(value: str) -> str | None:
    if re.fullmatch(r"[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]+)*(:\d{1,5})?", value):
        return None
    return f"{shown(value)} is not a cluster's endpoint: write its host name, as in abc123.dsql.us-east-1.on.aws"


def _role(value: str) -> str | None:
    if re.fullmatch(r"arn:aws[\w-]*:iam::\d{12}:role/.+", value):
        return None
    return f"{value!r} is not a role: write its ARN, as in arn:aws:iam::123456789012:role/crossfade"


def _named(value: str) -> str | None:
    return None if value.strip() else "this is empty: write a name, or leave it out"


@dataclass(frozen=True, slots=True)
class DynamoDB:
    """The authority. Without `access_key_id` the AWS credential chain is used, without `endpoint_url` AWS's own."""

    endpoint_url: Annotated[str | None, _url] = None
    streams_endpoint_url: Annotated[str | None, _url] = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    connections: Annotated[int, InRange(1, 4096)] = 64
    waiting: Annotated[int, InRange(0, 100_000)] = 1024
    idle_seconds: Seconds = 15.0
    timeout_seconds: Seconds = 30.0
    connect_timeout_seconds: Seconds = 3.0
    settle_seconds: Annotated[float, InRange(0, 3600)] = 60.0

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
    pool_min: Annotated[int, InRange(0, 1000)] = 1
    pool_max: Annotated[int, InRange(1, 1000)] = 16
    connect_rate: Annotated[int, InRange(1, 1000)] = 20
    timeout_seconds: Seconds = 5.0
    settle_seconds: Annotated[float, InRange(0, 3600)] = 300.0
    max_key_bytes: Annotated[int, InRange(256, 4096)] = 1024

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
