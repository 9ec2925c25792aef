"""(g) search, dates and rating together, of 100,000 items: either store by itself, and a request to the items port.

Asked by themselves: DSQL (the stand-in PostgreSQL) by one statement, DynamoDB (`benchmarks.indexed`) by Queries with a
filter and the rest applied to what they give. Two stand-ins on one machine, so the times say little of AWS; what each
had to read, and how often it was asked, is the same there.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from typing import Any, Final
from urllib.parse import urlencode

import asyncpg
import orjson

from benchmarks import crossfade
from benchmarks.cost import Say, Subject, interleave
from benchmarks.documents import Request
from benchmarks.measure import pin
from benchmarks.shelves import MAPPING, books, fill
from proxy.dynamodb.listing import read_listing
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.sizes import item_size
from proxy.items.queries import asked
from proxy.stores.dsql.sql.listing_statements import page_statement
from proxy.stores.dsql.sql.statements import Statements
from proxy.stores.dynamodb.listing_query import gather
from proxy.stores.dynamodb.store import DynamoDBStore
from tests.items.stores import both_stores, listing
from tests.standins.billio import TABLE
from tests.standins.postgres import Postgres
from tests.standins.processes import free_port

FIRST: Final = 20
STAGES: Final = ("off", "shadow", "live")
_ITEMS_PORT: Final = '[items]\nlisten = "127.0.0.1:0"\ncursor_secret = "0123456789abcdef"\n'
_DATES: Final = {"startDate": "2020-10-01T00:00:00Z", "endDate": "2022-01-01T00:00:00Z"}
QUESTIONS: Final[dict[str, dict[str, str]]] = {
    "search + dates + rating": {"search": "STRASSE 7", **_DATES, "minRating": "8"},
    "the same, few titles match": {"search": "STRASSE 77", **_DATES, "minRating": "8"},
    "the same, best first": {"search": "STRASSE 7", **_DATES, "minRating": "8", "sortBy": "RATING"},
    "a shelf, latest first": {"shelf": "A"},
}
# By HTTP: name → connections. The combined one asks DynamoDB for a thousand times what the other does.
_BY_HTTP: Final = {"search + dates + rating": 1, "a shelf, latest first": 16}


def combine(say: Say, server: Postgres, count: int, passes: int, seconds: float) -> dict[str, Any]:
    """What the questions took and read in either store, and CPU time a request by HTTP in each stage."""
    dsn = crossfade.migrated(server)
    asyncio.run(fill(dsn, count))
    crossfade.copy_for_dsql(server, dsn)
    port = free_port()
    with crossfade.program("indexed", str(port), str(count)):
        upstream = f"127.0.0.1:{port}"
        stores = asyncio.run(_by_themselves(say, f"http://{upstream}", dsn, seconds))
        return {"items": count, "stores": stores, "http": _by_http(say, upstream, dsn, passes, seconds)}


# -- each store by itself ----------------------------------------------------------------------------------------------


async def _by_themselves(say: Say, endpoint: str, dsn: str, seconds: float) -> dict[str, Any]:
    size = statistics.mean(item_size(item) for item in books(1000))
    found: dict[str, Any] = {}
    async with both_stores(endpoint, dsn) as both:
        for name, given in QUESTIONS.items():
            operation = listing({**asked(given, ("Book",)).requests(TABLE)["Book"], "Limit": FIRST})
            trips = _Trips(both.dynamodb)
            wanted = (await gather(trips.query, operation, 60)).document
            assert (await both.dsql.execute(operation)).outcome.document == wanted, name
            dsql = await _milliseconds(lambda o=operation: both.dsql.execute(o), seconds)  # type: ignore[misc]
            dynamodb = await _milliseconds(lambda o=operation: both.dynamodb.execute(o), seconds)  # type: ignore[misc]
            found[name] = {
                "count": wanted["Count"],
                "dsql": {"ms": dsql, "read": await _rows_read(dsn, operation)},
                "dynamodb": {
                    "ms": dynamodb,
                    "read": trips.read,
                    "trips": trips.made,
                    # Half a unit for each 4 KB that is read, where that may be old ("Capacity unit consumption").
                    "units": trips.read * size / 8192,
                },
            }
            say(f"{name:<28} DSQL {dsql:8.1f} ms, DynamoDB {dynamodb:8.1f} ms, {trips.read} items read")
    return found


class _Trips:
    """A DynamoDB that counts how often it is asked, and what it looks at."""

    def __init__(self, store: DynamoDBStore) -> None:
        self._store = store
        self.made = 0
        self.read = 0

    async def query(self, request: dict[str, Any]) -> Outcome:
        outcome = await self._store.call("Query", orjson.dumps(request))
        self.made += 1
        self.read += outcome.document["ScannedCount"]
        return outcome


async def _milliseconds(ask: Callable[[], Awaitable[Any]], seconds: float) -> float:
    """The median, of three at least."""
    took: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(took) < 3:
        began = time.perf_counter()
        await ask()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3


async def _rows_read(dsn: str, operation: Operation) -> int:
    """How many rows the statement looks at, those among them that it throws away."""
    statement = page_statement(
        Statements("public", MAPPING), read_listing(operation.schema, operation.request), FIRST + 1
    )
    assert statement is not None
    connection = await asyncpg.connect(dsn)
    try:
        told = await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.sql}", *statement.parameters)
    finally:
        await connection.close()
    return round(_looked_at(json.loads(told)[0]["Plan"]))


def _looked_at(node: dict[str, Any]) -> float:
    inner = node.get("Plans", ())
    if inner:
        return sum(map(_looked_at, inner))
    thrown = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return float((node["Actual Rows"] + thrown) * node["Actual Loops"])


# -- by HTTP -----------------------------------------------------------------------------------------------------------


def _by_http(say: Say, upstream: str, dsn: str, passes: int, seconds: float) -> dict[str, Any]:
    """Question → stage → figures. Each question has proxies of its own, whose verdicts are its own then."""
    found: dict[str, Any] = {}
    for name, connections in _BY_HTTP.items():
        with ExitStack() as stack:
            subjects = []
            for stage in STAGES:
                running = stack.enter_context(crossfade.proxy(upstream, dsn, stage, _ITEMS_PORT))
                pin(running.child.pid, 0)
                address = running.items.removeprefix("http://")
                subjects.append(Subject(stage, address, running.child.pid, running, connections))
            interleave(say, name, subjects, _requests(QUESTIONS[name]), passes, seconds)
            found[name] = {subject.name: subject.result() for subject in subjects}
    return found


def _requests(given: dict[str, str]) -> Sequence[Request]:
    return [Request("", path=f"/items?{urlencode({'type': 'Book', 'first': FIRST, **given})}")]
