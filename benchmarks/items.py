"""`python -m benchmarks.items [--items 100000] [--seconds 5]`: what a combined query costs in either store.

Search, dates and rating together, over a catalogue of one type: DSQL (the stand-in PostgreSQL) by one statement,
DynamoDB (ministack) by Queries with a filter and the rest applied. Printed: the median time of a first page in either,
their ratio, and the CPU time of the asking process a request. Two stand-ins on one machine: the ratio says how much
each has to do, not how fast AWS is.
"""

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import asyncpg

from proxy.dynamodb.operations import LISTING, json_of
from proxy.dynamodb.values import Item
from proxy.items.questions import asked
from proxy.stores.dynamodb import DynamoDBStore
from proxy.stores.store import Store
from tests.items.stores import BILLIO, CONFIG, MAPPING, both_stores, listing
from tests.standins.billio import TABLE, billio_table
from tests.standins.dynamodb import Ministack
from tests.standins.postgres import Postgres
from tests.story.migrations import apply

_WORDS = ("Dune", "Straße", "Middlemarch", "Odyssey", "Ὀδυσσεύς", "Wire", "Wilds", "Emma", "Ulysses", "Łódź")
_BATCH = 25
_BEGIN = 1_600_000_000_000
QUESTIONS: dict[str, dict[str, Any]] = {
    "search + dates + rating": {
        "search": "STRASSE 7",
        "startDate": "2020-10-01T00:00:00Z",
        "endDate": "2022-01-01T00:00:00Z",
        "minRating": "8",
    },
    "the same, best first": {"search": "STRASSE 7", "minRating": "8", "sortBy": "RATING"},
    "a shelf, latest first": {"shelf": "A"},
}


def catalogue(count: int) -> Iterator[Item]:
    chance = random.Random(1)
    for n in range(count):
        shelf = chance.choice("ABCD")
        yield {
            "type:id": {"S": f"Book:{n:08d}"},
            "type": {"S": "Book"},
            "id": {"S": f"{n:08d}"},
            "shelf": {"S": shelf},
            "type:shelf": {"S": f"Book:{shelf}"},
            "title": {"S": f"{chance.choice(_WORDS)} {chance.randrange(1000)}"},
            "movedAt": {"N": str(_BEGIN + chance.randrange(10**11))},
            "addedAt": {"N": str(_BEGIN + n)},
            "rating": {"N": str(chance.randrange(2, 21) / 2).removesuffix(".0")},
        }


async def fill(items: list[Item], store: DynamoDBStore, dsn: str) -> None:
    rows = []
    for item in items:
        encoded = MAPPING.encode(BILLIO.key_of(item), item)
        assert encoded.values is not None, encoded.faults
        rows.append(encoded.values)
    connection = await asyncpg.connect(dsn)
    marks = ", ".join(f"${n}" for n in range(1, len(MAPPING.columns)))
    names = ", ".join(column.name for column in MAPPING.columns)
    await connection.executemany(
        f"INSERT INTO items ({names}) VALUES ({marks}, ${len(MAPPING.columns)}::text::jsonb)", rows
    )
    await connection.execute("ANALYZE items")
    await connection.close()

    async def put(part: list[Item]) -> None:
        request = {"RequestItems": {TABLE: [{"PutRequest": {"Item": item}} for item in part]}}
        outcome = await store.call("BatchWriteItem", json_of(request))
        assert outcome.ok, outcome.document

    batches = [items[at : at + _BATCH] for at in range(0, len(items), _BATCH)]
    for at in range(0, len(batches), 8):
        await asyncio.gather(*(put(each) for each in batches[at : at + 8]))


async def timed(ask: Callable[[], Awaitable[Any]], seconds: float) -> tuple[float, float, int]:
    """Median time and mean CPU time of a request, in seconds, and how many were made."""
    await ask()
    took: list[float] = []
    cpu, until = time.process_time(), time.perf_counter() + seconds
    while time.perf_counter() < until or len(took) < 3:
        began = time.perf_counter()
        await ask()
        took.append(time.perf_counter() - began)
    return statistics.median(took), (time.process_time() - cpu) / len(took), len(took)


async def measure(endpoint: str, dsn: str, count: int, seconds: float) -> None:
    async with both_stores(endpoint, dsn) as both:
        began = time.perf_counter()
        await fill(list(catalogue(count)), both.dynamodb, dsn)
        print(f"{count} items in both stores after {time.perf_counter() - began:.0f} s")
        for name, given in QUESTIONS.items():
            request = {**asked(given, ("Book",)).requests(TABLE)["Book"], "Limit": 20}
            operation = listing(request)
            assert operation.action == LISTING
            answers, told = [], {}
            for store in (both.dsql, both.dynamodb):

                async def ask(store: Store = store, operation: Any = operation) -> Any:
                    return (await store.execute(operation)).outcome.document

                answers.append(await ask())
                told[store.name] = await timed(ask, seconds)
            assert answers[0] == answers[1]
            (sql, sql_cpu, sql_count), (dynamo, dynamo_cpu, dynamo_count) = told["dsql"], told["dynamodb"]
            print(
                f"{name}: {answers[0]['Count']} items; DSQL {sql * 1e3:.1f} ms ({sql_cpu * 1e6:.0f} µs CPU, "
                f"{sql_count} times), DynamoDB {dynamo * 1e3:.1f} ms ({dynamo_cpu * 1e6:.0f} µs CPU, "
                f"{dynamo_count} times); DynamoDB takes {dynamo / sql:.1f} times as long"
            )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.items")
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    chosen = parser.parse_args()
    with Postgres() as server, Ministack() as store:
        dsn = server.create_database()
        apply(CONFIG / "migrations", dsn)
        billio_table(store.endpoint)
        asyncio.run(measure(store.endpoint, dsn, chosen.items, chosen.seconds))


if __name__ == "__main__":
    main()
