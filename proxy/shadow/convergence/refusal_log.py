"""Tells an operator what a store refuses, once a minute for each table and reason: every key of a table that is not
there is refused alike.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from proxy.stores.error_remedies import remedy
from proxy.stores.errors import Refused

log = structlog.get_logger(__name__)

_SECONDS: Final = 60.0
_MOST: Final = 1000


class RefusalLog:
    """Use from one event loop."""

    def __init__(self) -> None:
        self._reported_at: dict[tuple[str, str], float] = {}

    def report(self, table: str, error: Refused) -> None:
        now = asyncio.get_running_loop().time()
        place = (table, error.reason)
        if now - self._reported_at.get(place, -_SECONDS) < _SECONDS:
            return
        if len(self._reported_at) >= _MOST:
            self._reported_at.clear()
        self._reported_at[place] = now
        log.error("store_refused", table=table, reason=error.reason, remedy=remedy(error.reason))
