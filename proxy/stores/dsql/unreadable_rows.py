"""Logs rows that pages left out because they cannot be read as items, without their keys or values."""

from __future__ import annotations

import structlog

from proxy.logs import LogThrottle
from proxy.mapping.foreign_rows import UnreadableRow

log = structlog.get_logger(__name__)


class UnreadableRowLog:
    """One line a minute for each table and column, with the number of rows left out since the line before."""

    def __init__(self) -> None:
        self._throttle = LogThrottle()
        self._counts: dict[tuple[str, str], int] = {}

    def log(self, table: str, error: UnreadableRow) -> None:
        """Count a row of `table`, and log the count unless that was done in the last minute."""
        place = (table, error.column)
        self._counts[place] = self._counts.get(place, 0) + 1
        if self._throttle.allows(place):
            log.error(
                "row_unreadable",
                table=table,
                column=error.column,
                reason=str(error),
                rows=self._counts.pop(place),
                remedy=f"run crossfade verify --table {table}: it names the rows; mend or delete them with SQL",
            )
