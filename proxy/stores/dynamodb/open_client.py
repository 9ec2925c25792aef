"""The connection to DynamoDB that the settings describe: where it leads, and with whose credentials.

Apart from what serves, because every command that asks DynamoDB opens it, and the servers take longer to load than most
commands to run. What is asked over it is not known here.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import structlog
from botocore.exceptions import BotoCoreError

from proxy.settings import PREFIX, Address, DynamoDB, Settings
from proxy.settings.validation import SettingsError
from proxy.stores.dynamodb.client import DynamoDBClient
from proxy.stores.dynamodb.connection_pool import ConnectionLimits, Endpoint
from proxy.stores.dynamodb.credentials import Credentials
from proxy.stores.dynamodb.null_client import NullDynamoDBClient
from proxy.stores.dynamodb.sigv4 import Credential
from proxy.version import VERSION


@asynccontextmanager
async def open_upstream(
    settings: Settings, environ: Mapping[str, str], headers: Callable[[], bytes] | None = None
) -> AsyncIterator[DynamoDBClient]:
    """The connection to DynamoDB that the settings describe, with credentials kept fresh while it is open. `headers` as
    in DynamoDBClient."""
    dynamodb = settings.dynamodb
    if not settings.needs_dynamodb:
        region = dynamodb.region or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""
        # It has the interface of a client, and sends nothing.
        yield cast("DynamoDBClient", NullDynamoDBClient(region))
        return
    # Where the settings are complete, AWS's own configuration is not read.
    complete = None not in (dynamodb.region, dynamodb.endpoint_url, dynamodb.access_key_id, dynamodb.secret_access_key)
    session = None if complete else _session(dynamodb)
    found: str | None = dynamodb.region or (None if session is None else session.region_name)
    if found is None:
        raise SettingsError([f"no AWS region: set region in [dynamodb], or {PREFIX}DYNAMODB__REGION, or AWS_REGION"])
    region = found
    credentials = await _credentials(dynamodb, session)
    url, streams_url = await _endpoints(dynamodb, session, region)
    _refuse_itself(settings, url)
    upstream = DynamoDBClient(
        url,
        region=region,
        credentials=credentials,
        streams_endpoint_url=streams_url,
        limits=ConnectionLimits(
            connections=dynamodb.connections,
            waiting=dynamodb.waiting,
            idle_seconds=dynamodb.idle_seconds,
            connect_timeout=dynamodb.connect_timeout_seconds,
        ),
        ssl_context=ssl.create_default_context(cafile=environ.get("AWS_CA_BUNDLE") or None),
        user_agent=f"crossfade/{VERSION}",
        headers=headers,
    )
    renewal = asyncio.create_task(credentials.keep_fresh())
    renewal.add_done_callback(_log_failure)
    try:
        yield upstream
    finally:
        renewal.cancel()
        await asyncio.wait([renewal])
        await upstream.close()


def _session(dynamodb: DynamoDB) -> Any:
    """The session that finds what the settings leave to AWS's own configuration."""
    import aioboto3  # brings aiohttp's client: a quarter of what a command loads

    try:
        return aioboto3.Session(region_name=dynamodb.region)
    except BotoCoreError as error:  # it reads the profile that AWS_PROFILE names
        raise SettingsError([f"AWS configuration: {error}: see AWS_PROFILE and the AWS configuration files"]) from error


def _log_failure(renewal: asyncio.Task[None]) -> None:
    """Log the end of the renewal of credentials: without it, an outage follows hours later."""
    if not renewal.cancelled() and (error := renewal.exception()) is not None:
        structlog.get_logger().error("credentials_no_longer_renewed", error=repr(error))


async def _credentials(dynamodb: DynamoDB, session: Any) -> Credentials:
    if dynamodb.access_key_id is None or dynamodb.secret_access_key is None:
        return await Credentials.from_chain(session)
    return Credentials(Credential(dynamodb.access_key_id, dynamodb.secret_access_key, dynamodb.session_token))


async def _endpoints(dynamodb: DynamoDB, session: Any, region: str) -> tuple[str, str | None]:
    """DynamoDB's and its Streams' endpoint. One that is set serves for both, as stand-ins do, unless both are set."""
    if dynamodb.endpoint_url is not None:
        return dynamodb.endpoint_url, dynamodb.streams_endpoint_url
    found = []
    for service in ("dynamodb", "dynamodbstreams"):
        async with session.client(service, region_name=region) as client:
            found.append(client.meta.endpoint_url)
    return found[0], dynamodb.streams_endpoint_url or found[1]


def _refuse_itself(settings: Settings, url: str) -> None:
    """AWS_ENDPOINT_URL, set for the application and inherited here, would have the proxy call itself for ever."""
    endpoint = Endpoint.of(url)
    there = Address(endpoint.host, endpoint.port)
    if there.port == settings.listen.port and (there.loopback or there.host == settings.listen.host):
        problem = f"DynamoDB's endpoint {url} is the proxy's own data port {settings.listen}"
        raise SettingsError([f"{problem}: set endpoint_url in [dynamodb], and see whether AWS_ENDPOINT_URL is set"])
