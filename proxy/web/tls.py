"""The certificate that a port shows: read from PEM files, and again when they change, because certificates are renewed.

A connection keeps what it began with; a new one gets what was read last. Files that are no good are told and change
nothing: the certificate before them goes on being shown. Who may connect is not decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from proxy.settings import Settings
from proxy.settings.validation import SettingsError

if TYPE_CHECKING:  # `crossfade check` reads certificates, and logs nothing
    from structlog.typing import FilteringBoundLogger

LOOK_SECONDS: Final = 10.0

_Stamp = tuple[tuple[int, int, int], ...]


class Certificate:
    """A certificate with its chain, and its private key. `place` is how messages name its settings: "" or "admin."."""

    def __init__(self, cert: Path, key: Path, place: str = "") -> None:
        """Read both. Raises SettingsError, which names the setting, the file and what is wrong with it."""
        self._cert = cert
        self._key = key
        self._place = place
        self._asked = asyncio.Event()
        self._stamp = self._look()
        self._shown = self._read()
        self.context = self._read()
        """What a server listens with."""
        self.context.sni_callback = self._choose

    def ask(self) -> None:
        """Read both files again soon, changed or not."""
        self._asked.set()

    async def keep_fresh(self, log: FilteringBoundLogger, every: float = LOOK_SECONDS) -> None:
        """Look `every` so many seconds whether the files have changed, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await self._asked.wait()
            asked, stamp = self._asked.is_set(), self._look()
            self._asked.clear()
            if stamp == self._stamp and not asked:
                continue
            self._stamp = stamp
            try:
                self._shown = await asyncio.to_thread(self._read)
            except SettingsError as error:
                log.error("certificate_not_renewed", setting=f"{self._place}tls_cert", why=str(error))
            else:
                log.info("certificate_renewed", setting=f"{self._place}tls_cert", file=str(self._cert))

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _: ssl.SSLContext) -> None:
        """What every new connection asks, with a server's name or without: it gets what was read last, as a whole."""
        connection.context = self._shown

    def _look(self) -> _Stamp:
        """What tells that the files are others. A file that is not there now may be there at the next look."""
        stamps = []
        for path in (self._cert, self._key):
            try:
                seen = path.stat()
                stamps.append((seen.st_mtime_ns, seen.st_size, seen.st_ino))
            except OSError:
                stamps.append((0, 0, 0))
        return tuple(stamps)

    def _read(self) -> ssl.SSLContext:
        self._check("tls_cert", self._cert, "-----BEGIN CERTIFICATE-----", "a certificate")
        self._check("tls_key", self._key, "PRIVATE KEY-----", "a private key")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._cert, self._key, password=_no_password)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
                raise self._wrong("tls_key", self._key, f"this key does not belong to {self._cert}") from None
            raise self._wrong("tls_cert", self._cert, f"not to be used with {self._key}: {_reason(error)}") from None
        return context

    def _check(self, setting: str, path: Path, mark: str, what: str) -> None:
        """That there is such a thing in the file, because OpenSSL does not say which file it could not read."""
        try:
            text = path.read_text(encoding="latin-1")
        except OSError as error:
            remedy = "give the path of a file that this process may read"
            raise self._wrong(setting, path, f"{error.strerror or error}: {remedy}") from None
        if mark not in text:
            raise self._wrong(setting, path, f"there is not {what} in it: give a PEM file")
        if "ENCRYPTED" in text:
            remedy = "openssl pkey -in FILE -out NEW_FILE takes the password off"
            raise self._wrong(setting, path, f"it wants a password, which nobody can type here: {remedy}")

    def _wrong(self, setting: str, path: Path, why: str) -> SettingsError:
        return SettingsError([f"{self._place}{setting}: {path}: {why}"])


def _no_password() -> str:
    raise ValueError("it wants a password")


def _reason(error: Exception) -> str:
    return (isinstance(error, ssl.SSLError) and error.reason) or str(error)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Both ports' certificates; None: that port speaks plain HTTP."""

    data: Certificate | None
    admin: Certificate | None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Read those that the settings name. Raises SettingsError."""

        def read(cert: Path | None, key: Path | None, place: str) -> Certificate | None:
            return Certificate(cert, key, place) if cert is not None and key is not None else None

        admin = settings.admin
        return cls(read(settings.tls_cert, settings.tls_key, ""), read(admin.tls_cert, admin.tls_key, "admin."))

    def ask(self) -> None:
        """Read all files again soon."""
        for certificate in (self.data, self.admin):
            if certificate is not None:
                certificate.ask()

    @asynccontextmanager
    async def kept_fresh(self, log: FilteringBoundLogger) -> AsyncIterator[None]:
        """Look now and then whether the files have changed, while the context lasts."""
        looking = [
            asyncio.create_task(certificate.keep_fresh(log))
            for certificate in (self.data, self.admin)
            if certificate is not None
        ]
        try:
            yield
        finally:
            for task in looking:
                task.cancel()
            if looking:
                await asyncio.wait(looking)
