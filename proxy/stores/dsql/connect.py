"""How one connection to DSQL is made: by an address with a password, or by an endpoint with a token from IAM.

Tokens are made by AWS's own connector (aurora-dsql-python-connector), a fresh one for each connection: DSQL looks at it
only when it connects ("Generating an authentication token in Amazon Aurora DSQL", user guide). Making one is blocking
code that may ask STS or a metadata service, so it runs in a thread. TLS to an endpoint is verified in full, with SNI.
How many connections there are, and when they are made, is the pool's business.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import asyncpg
import botocore.session
from botocore.credentials import AssumeRoleCredentialFetcher, CredentialProvider, DeferredRefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from dsql_core.connection_properties import build_application_name
from dsql_core.token_manager import TokenManager

from proxy.settings import DSQL
from proxy.stores.attempts import Backoff
from proxy.stores.dsql.conflicts import retry_conflicts
from proxy.stores.dsql.connect_errors import ConnectError, Target, explained, is_waking_up
from proxy.stores.dsql.pool import Connect, Pool, PoolObserver
from proxy.stores.dsql.sqlstates import DRIVER_ERRORS

# As long as DSQL's own default: a token is used at once, but this machine's clock may be some minutes slow.
TOKEN_SECONDS: Final = 900
WAKE_SECONDS: Final = 60.0
"""For how long a connect is repeated while the cluster says that it is waking up."""
_WAKE_BACKOFF: Final = Backoff(0.2, 3.0, min_share=0.5)
_STATEMENTS: Final = 512  # prepared statements that each connection keeps
# Letters of both cases, punctuation and accents: a collation of any language gets one of these wrong.
_SESSION: Final = """
SELECT current_setting('server_encoding'), current_setting('transaction_isolation'),
'B'::text < 'a'::text AND '-b'::text < 'a'::text AND 'z'::text < chr(233) AND 'a b'::text < 'aa'::text
"""
_ISOLATED: Final = ("repeatable read", "serializable")
_ISOLATE: Final = "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ"
_TEMPLATE: Final = "TEMPLATE template0; dsn in [dsql] names the database"
_SESSION_NAME: Final = "crossfade"
_NOWHERE: Final = "postgresql://nobody@127.0.0.1:1/nothing"
_PORT: Final = 5432


class ConnectWatch(PoolObserver, Protocol):
    """What is told of a pool, and of the tokens that its connections are made with."""

    def dsql_token_made(self, seconds: float) -> None: ...


def open_pool(settings: DSQL, watch: ConnectWatch | None = None) -> Pool:
    """A pool as the settings want it, not yet started. With neither endpoint nor dsn it must not be asked."""
    made = None if watch is None else watch.dsql_token_made
    return Pool(
        connecting(settings, made),
        settings.pool_max,
        minimum=settings.pool_min,
        connects_a_second=settings.connect_rate,
        target=target_of(settings),
        watch=watch,
    )


async def connect_once(settings: DSQL) -> asyncpg.Connection:
    """A single connection, for a command that needs no pool. Raises NotConnected."""
    try:
        return await connecting(settings)()
    except DRIVER_ERRORS as error:
        raise explained(error, target_of(settings)) from error


def target_of(settings: DSQL) -> Target:
    """What the settings lead to, as remedies name it."""
    if settings.endpoint is None:
        return Target("dsn in [dsql]")
    action = "dsql:DbConnectAdmin" if settings.user == "admin" else "dsql:DbConnect"
    return Target("endpoint in [dsql]", settings.user, action, settings.region_of_endpoint or "")


def connecting(settings: DSQL, token_made: Callable[[float], None] | None = None) -> Connect:
    """What makes one connection each time it is called, and waits for a cluster that is waking up.

    `token_made` hears how many seconds a token took.
    """
    connect = _connect_once(settings, token_made)

    async def when_awake() -> asyncpg.Connection:
        clock = asyncio.get_running_loop().time
        deadline = clock() + WAKE_SECONDS
        retry = 0
        while True:
            try:
                return await connect()
            except asyncpg.PostgresError as error:
                if not is_waking_up(error) or clock() > deadline:
                    raise
            retry += 1
            await _WAKE_BACKOFF.pause(retry)

    return when_awake


def _connect_once(settings: DSQL, token_made: Callable[[float], None] | None) -> Connect:
    if settings.endpoint is None:
        dsn = settings.dsn or _NOWHERE

        async def by_dsn() -> asyncpg.Connection:
            connection = await asyncpg.connect(dsn, timeout=settings.timeout_seconds, statement_cache_size=_STATEMENTS)
            try:
                await _make_alike(connection, settings.timeout_seconds)
            except BaseException:
                connection.terminate()
                raise
            return connection

        return by_dsn

    host, _, port = settings.endpoint.partition(":")
    tokens = IAMTokenSource(settings)
    trust = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE") or None)

    async def by_token() -> asyncpg.Connection:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(settings.timeout_seconds):
            token = await tokens.token()
        if token_made is not None:
            token_made(loop.time() - began)
        return await asyncpg.connect(
            host=host,
            port=int(port or _PORT),
            user=settings.user,
            database=settings.database,
            password=token,
            ssl=trust,
            timeout=settings.timeout_seconds,
            statement_cache_size=_STATEMENTS,
            server_settings={"application_name": build_application_name("asyncpg", "crossfade")},
        )

    return by_token


async def _make_alike(connection: asyncpg.Connection, seconds: float) -> None:
    """Make a session of any PostgreSQL behave as DSQL's do, or refuse it.

    DSQL has one isolation level, repeatable read, one collation, C, and one encoding, UTF-8 ("Considerations for
    working with Amazon Aurora DSQL", user guide). Under read committed, reads of several items would be torn; under
    another collation, pages would come in an order that is not DynamoDB's. Raises ConnectError.
    """
    # A session hears of another's DDL (OC001) at whatever it asks first, and that may be this.
    encoding, isolation, by_bytes = await retry_conflicts(lambda: connection.fetchrow(_SESSION, timeout=seconds))
    if encoding != "UTF8":
        raise ConnectError(
            "setup", f"create a database with ENCODING 'UTF8' ({_TEMPLATE})", f"its encoding is {encoding}"
        )
    if not by_bytes:
        remedy = f"create a database with LC_COLLATE 'C' and LC_CTYPE 'C' ({_TEMPLATE})"
        raise ConnectError("setup", remedy, "its collation does not sort text by its bytes, as DynamoDB does")
    if isolation not in _ISOLATED:
        await retry_conflicts(lambda: connection.execute(_ISOLATE, timeout=seconds))


class IAMTokenSource:
    """IAM tokens for an endpoint: signed by the credentials that any AWS SDK finds, a profile's, or an assumed role's.

    Credentials are looked up once and renewed by botocore, not looked up for each token: a pool that connects again
    would otherwise ask STS or the metadata service as often as it connects.
    """

    def __init__(self, settings: DSQL) -> None:
        self._settings = settings
        self._provider = _Provider(settings)
        # Threads of its own: one that hangs must not take the default executor's, which resolve names.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="dsql-token")
        # It tells failures in words of its own, beside ours.
        logging.getLogger("dsql_core.token_manager").setLevel(logging.CRITICAL)

    async def token(self) -> str:
        """A fresh token. Raises NotConnected with the reason `credentials`."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self.make)
        except (BotoCoreError, ClientError) as error:
            raise ConnectError("credentials", _remedy(self._settings, error), f"{error}") from error

    def make(self) -> str:
        """The same, blocking; raises botocore's errors."""
        settings = self._settings
        assert settings.endpoint is not None
        found: str = TokenManager.get_token(
            {
                "host": settings.endpoint.partition(":")[0],
                "region": settings.region_of_endpoint,
                "user": settings.user,
                "token_duration_secs": TOKEN_SECONDS,
                "custom_credentials_provider": self._provider,
            }
        )
        return found


class _Provider(CredentialProvider):  # type: ignore[misc]
    """Hands botocore the credentials that were found once. It comes before botocore's own chain."""

    METHOD = "crossfade"
    CANONICAL_NAME = "crossfade"

    def __init__(self, settings: DSQL) -> None:
        super().__init__()
        self._settings = settings

    def load(self) -> Any:
        return self._found

    @functools.cached_property
    def _found(self) -> Any:
        session = botocore.session.Session(profile=self._settings.profile)
        found = session.get_credentials()
        if found is None:
            raise NoCredentialsError
        if self._settings.role_arn is None:
            return found
        fetcher = AssumeRoleCredentialFetcher(
            functools.partial(session.create_client, region_name=self._settings.region_of_endpoint),
            found,
            self._settings.role_arn,
            extra_args={"RoleSessionName": _SESSION_NAME},
        )
        return DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")


def _remedy(settings: DSQL, error: Exception) -> str:
    if settings.role_arn is not None and isinstance(error, ClientError):
        return "role_arn in [dsql] cannot be assumed: see its trust policy, and sts:AssumeRole of the identity here"
    where = f"profile {settings.profile!r} (see profile in [dsql])" if settings.profile else "the environment"
    return (
        f"no AWS credentials from {where} to make a token with: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
        "or profile or role_arn in [dsql], or run where a role is given"
    )
