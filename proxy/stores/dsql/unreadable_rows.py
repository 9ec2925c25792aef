"""Reports rows that pages left out because they are no items, once a minute for each column, without their keys."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from proxy.mapping.foreign_rows import UnreadableRow

log = structlog.get_logger(__name__)

_EVERY_SECONDS: Final = 60.0


class UnreadableRowLog:
    """Rate-limited: one line a minute for each table and column, with how many rows were left out since the last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: dict[tuple[str, str], int] = {}
        self._logged: dict[tuple[str, str], float] = {}

    def log(self, table: str, error: UnreadableRow) -> None:
        place = (table, error.column)
        self._counts[place] = self._counts.get(place, 0) + 1
        now = self._clock()
        if now - self._logged.get(place, float("-inf")) < _EVERY_SECONDS:
            return
        self._logged[place] = now
        log.error(
            "row_unreadable",
            table=table,
            column=error.column,
            reason=str(error),
            rows=self._counts.pop(place),
            remedy=f"run crossfade verify --table {table}: it names the rows; mend or delete them with SQL",
        )
