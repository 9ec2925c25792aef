"""What the DSQL store asks of whoever creates DSQL tables as DynamoDB's tables are created. A protocol; no code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from proxy.stores.dsql.sqlstates import MISSING
from proxy.stores.errors import Refused, Unreachable


class FollowedTables(Protocol):
    """The tables that follow DynamoDB's (`proxy.shadow.request.follow_tables`, setting `follow_tables`)."""

    async def wait(self, names: Iterable[str], /) -> None:
        """Wait until those of the tables that are followed exist in DSQL. Raises StoreError."""

    def missing(self, names: Iterable[str], /) -> bool:
        """Report that one of the tables was not there. Returns whether it is followed, and so is created again."""


class NoFollowedTables:
    """For tables that the migrations create: there is nothing to wait for, and nothing is created again."""

    async def wait(self, names: Iterable[str], /) -> None:
        """Return at once."""

    def missing(self, names: Iterable[str], /) -> bool:  # noqa: ARG002
        return False


def request_creation(followed: FollowedTables, error: Refused, tables: Iterable[str]) -> None:
    """Have a followed table created again if the error says that it is missing, or not as it was created.

    Raises Unreachable in that case, because the same request can be answered later.
    """
    if error.reason in MISSING and followed.missing(tables):
        raise Unreachable("table", "the table is missing or has changed: it is being created again") from error
