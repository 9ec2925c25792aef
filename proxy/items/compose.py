"""Puts the items port together from settings: its tokens, the secret of its cursors, and the layer behind it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import structlog
from aiohttp.typedefs import Middleware

from proxy.items.catalogue import Catalogue, Executes
from proxy.items.cursors import Cursors
from proxy.items.metrics import ItemsMetrics
from proxy.items.server import ItemsServer
from proxy.metrics.registry import Metrics
from proxy.settings import Items, Settings
from proxy.version import VERSION
from proxy.web.access_control import Access
from proxy.web.bearer_tokens import BearerTokens, Role, read_token_file
from proxy.web.http_site import HTTPSite
from proxy.web.request_ids import request_ids
from proxy.web.tls import Certificates

log = structlog.get_logger(__name__)


def build_items(
    settings: Settings,
    layer: Executes,
    metrics: Metrics,
    certificates: Certificates,
    around: Sequence[Middleware] = (),
) -> ItemsServer:
    """The items port, not yet listening; `around` as `ItemsServer` has it. Raises SettingsError for a token's or a
    secret's file that holds none."""
    items = settings.items
    catalogue = Catalogue(layer, items.table, Cursors(_secret(settings)), request_ids())
    return ItemsServer(
        catalogue,
        Access(_tokens(items), strangers=items.insecure),
        ItemsMetrics(metrics.registry),
        VERSION,
        finish_seconds=settings.shutdown.finish_seconds,
        # One certificate serves the data port and this one: both are the application's.
        site=HTTPSite.of(settings, "items", metrics.connections, certificates.data),
        around=around,
    )


def _tokens(items: Items) -> BearerTokens | None:
    return BearerTokens.given(
        "items",
        (Role.READER, "read_token", items.read_token, items.read_token_file),
        (Role.OPERATOR, "write_token", items.write_token, items.write_token_file),
    )


def _secret(settings: Settings) -> bytes:
    """What cursors are signed with: the settings', or one of this process's own."""
    items = settings.items
    secret = items.cursor_secret
    if items.cursor_secret_file is not None:
        secret = read_token_file(items.cursor_secret_file, "items.cursor_secret_file")
    if secret is not None:
        return secret.encode()
    if items.listen is not None:
        remedy = "set items.cursor_secret_file, the same for all proxies, if there is more than this one"
        log.info("items_cursors_are_this_process_own", remedy=remedy)
    return secrets.token_bytes(32)
