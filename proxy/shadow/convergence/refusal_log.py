"""Reports to the operator what a store refuses: once a minute for each table and reason.

All keys of a table that is not there are refused alike, and one line about them is enough.
"""

from __future__ import annotations

import asyncio

import structlog

from proxy.logs import LogThrottle
from proxy.stores.error_remedies import remedy
from proxy.stores.errors import Refused

log = structlog.get_logger(__name__)


class RefusalLog:
    """The rate-limited log of refusals. Use it from one event loop."""

    def __init__(self) -> None:
        self._throttle = LogThrottle(clock=lambda: asyncio.get_running_loop().time())

    def report(self, table: str, error: Refused) -> None:
        """Log the refusal, unless the same was logged for this table in the last minute."""
        if self._throttle.allows((table, error.reason)):
            log.error("store_refused", table=table, reason=error.reason, remedy=remedy(error.reason))
