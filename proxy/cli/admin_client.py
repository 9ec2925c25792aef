"""The stage client over a proxy's admin port. It needs the port's address and a token, and no other setting.

It imports no store and no server, so that the command starts quickly.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp
import orjson

from proxy.cli.stage_client import ReportProgress
from proxy.cutover.move_request import MoveRequest
from proxy.cutover.stages import Scope, Stage
from proxy.problems import Problem
from proxy.settings import AdminTokens
from proxy.settings.validation import SettingsError
from proxy.web.bearer_tokens import read_token_file

_CONNECT_SECONDS: Final = 5.0
# A move ends within its own limits; this limit is for a proxy that hangs.
_SILENT_SECONDS: Final = 120.0


class AdminAPIClient:
    """A `StageClient` on an admin port, with a token if the port requires one."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str | None, tls: ssl.SSLContext | None) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        self._tls: ssl.SSLContext | bool = tls if tls is not None else True

    async def stages(self) -> Mapping[str, Any]:
        return await self._ask("GET", "/v1/stages")

    async def gate(self, scope: Scope, to: Stage | None) -> Mapping[str, Any]:
        return await self._ask("GET", f"/v1/gate/{_path(scope)}", {"to": str(to)} if to is not None else {})

    async def preview(self, request: MoveRequest) -> Mapping[str, Any]:
        return await self._ask("PUT", f"/v1/stages/{_path(request.scope)}", body={**_change(request), "dry_run": True})

    async def move(self, request: MoveRequest) -> AsyncIterator[Mapping[str, Any]]:
        path = f"/v1/stages/{_path(request.scope)}"
        async with self._asked("PUT", path, {}, _change(request), "application/x-ndjson") as answer:
            async for line in answer.content:
                yield orjson.loads(line)

    async def history(self, limit: int) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = (await self._ask("GET", "/v1/history", {"limit": str(limit)}))["history"]
        return found

    async def forget(self, process: str, by: str, because: str, report: ReportProgress) -> str:
        text = "the proxy watches whether it renews its lease, for as long as a lease lasts"
        report({"phase": "watching", "seconds": 0.0, "text": text, "processes": []})
        path = f"/v1/processes/{quote(process, safe='')}"
        return str((await self._ask("DELETE", path, {"by": by, "because": because})).get("follows", ""))

    async def parked(self) -> Mapping[str, Any]:
        """Return the proxy's parked keys."""
        return await self._ask("GET", "/v1/parked", {"limit": "1000"})

    async def retry_parked(self, key_id: str) -> Mapping[str, Any]:
        """Have a parked key tried again; with "", all of them."""
        return await self._ask("POST", f"/v1/parked/{quote(key_id, safe='')}/retry" if key_id else "/v1/parked/retry")

    async def drop_parked(self, key_id: str, by: str, because: str) -> Mapping[str, Any]:
        """Give a parked key up."""
        return await self._ask("DELETE", f"/v1/parked/{quote(key_id, safe='')}", {"by": by, "because": because})

    async def _ask(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        async with self._asked(method, path, query or {}, body, "application/json") as answer:
            document: Mapping[str, Any] = orjson.loads(await answer.read())
            return document

    @asynccontextmanager
    async def _asked(
        self, method: str, path: str, query: Mapping[str, str], body: Mapping[str, Any] | None, accept: str
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request. Raises Problem for every answer that is no success, and where there is none."""
        headers = {**self._headers, "Accept": accept, "Content-Type": "application/json"}
        data = orjson.dumps(body) if body is not None else None
        try:
            async with self._session.request(
                method, self._url + path, params=query, data=data, headers=headers, ssl=self._tls, allow_redirects=False
            ) as answer:
                if answer.status != 200:
                    raise await _problem(answer)
                yield answer
        except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError) as error:
            why = str(error) or type(error).__name__
            raise Problem(503, f"{self._url}: {why}: is this a proxy's admin port, and does it run?") from error


@asynccontextmanager
async def open_admin_api(url: str, token: str | None, authorities: Path | None) -> AsyncIterator[AdminAPIClient]:
    """`authorities` is a PEM file of those that the port's certificate is believed of. Raises SettingsError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
        raise SettingsError([f"--admin {url}: write http(s)://host:port, as the proxy says it on its first line"])
    try:
        tls = ssl.create_default_context(cafile=str(authorities)) if authorities is not None else None
    except OSError as error:
        why = error.strerror or error
        raise SettingsError([f"--ca {authorities}: {why}: give a PEM file of certificates"]) from error
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENT_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield AdminAPIClient(session, url, token, tls)


def token_of(asking: AdminTokens, file: Path | None) -> str | None:
    """What to show the port: the token in `file` (--token-file), else the one that the settings have, an operator's
    before a reader's; None where there is none. Raises SettingsError for a file that holds none."""
    token = asking.operator_token or asking.read_token
    for setting, each in (
        ("--token-file", file),
        ("admin.operator_token_file", asking.operator_token_file),
        ("admin.read_token_file", asking.read_token_file),
    ):
        if each is not None and (token is None or setting == "--token-file"):
            return read_token_file(each, setting)
    return token


def _path(scope: Scope) -> str:
    return "/".join(quote(each, safe="") for each in (scope.table, scope.item_type) if each)


def _change(request: MoveRequest) -> dict[str, Any]:
    members = {
        "stage": str(request.to),
        "ramp": request.ramp,
        "because": request.because or None,
        "by": request.by or None,
        "force": request.force,
    }
    return {name: value for name, value in members.items() if value is not None}


async def _problem(answer: aiohttp.ClientResponse) -> Problem:
    try:
        document: dict[str, Any] = orjson.loads(await answer.read())
        detail = str(document.pop("detail"))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return Problem(answer.status, f"the answer was {answer.status} {answer.reason}: is this a proxy's admin port?")
    members = {name: value for name, value in document.items() if name not in ("type", "title", "status")}
    return Problem(answer.status, detail, **members)
