"""Reports to the operator what a store refuses: once a minute for each table and reason.

All keys of a table that is not there are refused alike, and one line about them is enough.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from proxy.stores.error_remedies import remedy
from proxy.stores.errors import Refused

log = structlog.get_logger(__name__)

_SECONDS: Final = 60.0
_MAX_REPORTED: Final = 1000


class RefusalLog:
    """The rate-limited log of refusals. Use it from one event loop."""

    def __init__(self) -> None:
        self._reported_at: dict[tuple[str, str], float] = {}

    def report(self, table: str, error: Refused) -> None:
        """Log the refusal, unless the same was logged for this table in the last minute."""
        now = asyncio.get_running_loop().time()
        place = (table, error.reason)
        if now - self._reported_at.get(place, -_SECONDS) < _SECONDS:
            return
        if len(self._reported_at) >= _MAX_REPORTED:
            self._reported_at.clear()
        self._reported_at[place] = now
        log.error("store_refused", table=table, reason=error.reason, remedy=remedy(error.reason))
