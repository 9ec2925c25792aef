"""PartiQL statements: they go to DynamoDB unread, so nobody knows which keys they write.

While one is under way, and for a while after it, a difference in a table that it names says nothing about the mirror:
what it wrote reaches the mirror by the stream or a sweep ("PartiQL" in docs/limits.md). Reads no more of a statement
than its first word and the names of tables in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import orjson

from proxy.dynamodb.outcome import Outcome
from proxy.shadow.journal.key_activity import KeyActivity
from proxy.stores.table_registry import Tables

UNREAD_SECONDS: Final = 5.0
"""How long after a statement a difference may still come of it: a stream's record is nominated within seconds."""
STATEMENTS: Final = frozenset({"ExecuteStatement", "BatchExecuteStatement", "ExecuteTransaction"})
_LISTS: Final = ("Statements", "TransactStatements")


class UnreadStatements:
    """The statements under way, as comparisons have to know them."""

    def __init__(self, activity: Callable[[], KeyActivity], tables: Tables) -> None:
        """`activity` gives the journal's, which exists once the journal is open."""
        self._activity = activity
        self._tables = tables

    async def send(self, body: bytes, send: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Send a request with statements, and note which tables it may write."""
        tables = self._written_by(body)
        activity = self._activity()
        activity.begin_unread(tables)
        try:
            return await send()
        finally:
            asyncio.get_running_loop().call_later(UNREAD_SECONDS, activity.end_unread, tables)

    def _written_by(self, body: bytes) -> list[str]:
        """Return the tables that the statements may write: those that they name; all where they name none."""
        text = " ".join(each for each in _statements(body) if not each.lstrip().lower().startswith("select"))
        if not text:
            return []
        known = self._tables.names()
        return [name for name in known if name in text] or list(known)


def _statements(body: bytes) -> Iterable[str]:
    try:
        request = orjson.loads(body)
    except orjson.JSONDecodeError:
        return
    if not isinstance(request, dict):
        return
    parts = [request]
    for name in _LISTS:
        listed = request.get(name)
        parts += [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    yield from (part["Statement"] for part in parts if isinstance(part.get("Statement"), str))
