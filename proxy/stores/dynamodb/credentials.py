"""The proxy's own AWS credentials, renewed before they expire and never on a request's way.

Found by aioboto3's chain (environment, profile, web identity, container, instance) unless the settings give a fixed
key. Nothing here signs, and nothing here logs a secret.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, Self

import structlog
from botocore.exceptions import BotoCoreError

from proxy.stores.dynamodb.sigv4 import Credential
from proxy.stores.errors import CredentialsError

# The session renews temporary credentials from 15 minutes before they expire, so that looking once a minute is enough.
RENEW_SECONDS: Final = 60.0

_REMEDY: Final = (
    "give the proxy credentials as any AWS SDK takes them (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile, a "
    "role), or set access_key_id and secret_access_key in [dynamodb]; a local stand-in takes any value"
)


class CredentialSession(Protocol):
    """What is used of `aioboto3.Session`."""

    async def get_credentials(self) -> Any:
        """The credentials that the chain finds, or None."""


class Credentials:
    """`current` is the credential to sign with now. `keep_fresh()` renews it for as long as it runs."""

    __slots__ = ("_fetch", "current")

    def __init__(self, current: Credential, fetch: Callable[[], Awaitable[Credential]] | None = None) -> None:
        self.current = current
        self._fetch = fetch

    @classmethod
    async def from_chain(cls, session: CredentialSession) -> Self:
        """From the AWS credential chain; raises CredentialsError."""
        try:
            found = await session.get_credentials()
        except BotoCoreError as error:
            raise CredentialsError(f"AWS credentials: {error}: {_REMEDY}") from error
        if found is None:
            raise CredentialsError(f"no AWS credentials found: {_REMEDY}")

        async def fetch() -> Credential:
            return _frozen(await found.get_frozen_credentials())

        try:
            return cls(await fetch(), fetch)
        except BotoCoreError as error:
            raise CredentialsError(f"AWS credentials: {error}: {_REMEDY}") from error

    async def keep_fresh(self, every: float = RENEW_SECONDS) -> None:
        """Ask the session every `every` seconds; it renews what expires soon. Returns at once where nothing expires."""
        if self._fetch is None:
            return
        log = structlog.get_logger()
        while True:
            await asyncio.sleep(every)
            try:
                self.current = await self._fetch()
            except (BotoCoreError, OSError, TimeoutError) as error:
                # The credential in hand is good for a while yet: say so, keep it, and ask again.
                log.warning("credentials_not_renewed", error=str(error))


def _frozen(found: Any) -> Credential:
    return Credential(found.access_key, found.secret_key, found.token)
