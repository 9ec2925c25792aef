"""A cutover that is worth looking at: load, a mismatch, an item that cannot be held, a backfill, a ramp and a flip."""

import asyncio
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.integration.scenes import CONFIG, Scene, run_sql, scene, swept, wait_until
from tests.integration.whole_tables import Operator, billio_items, load
from tests.integration.writers import BILLIO_KEYS, Writers
from tests.observed.prometheus import Prometheus
from tests.standins.billio import HASH_KEY, TABLE, billio_table
from tests.standins.processes import LOOPBACK, free_port

SETTINGS = """
[stages]
table = "crossfade_stages"
lease_seconds = 30.0
poll_seconds = 0.2
hold_seconds = 30.0

[gate]
min_comparisons = 3
min_pattern_comparisons = 1
"""
SHOWN = "Book:shown"
UNHELD = "Feature:unheld"


@dataclass
class Scenery:
    """A running scene and the Prometheus that watches it. `act` runs the acts, `told` says what has happened."""

    here: Scene
    prometheus: Prometheus
    operator: Operator
    job_port: int
    told: list[str] = field(default_factory=list)

    def act(self, seconds: float) -> None:
        """Load throughout, and in its course all that the dashboards have panels for. Takes about so many seconds."""
        client = self.here.client()
        with self._load():
            self._differ(client)
            client.put_item(
                TableName=TABLE,
                Item={
                    **_key(UNHELD),
                    "type": {"S": "Feature"},
                    "id": {"S": "unheld"},
                    "movedAt": {"N": "1700000000000.00001"},
                },
            )
            self.told.append("an item that the mapping cannot hold")
            with self._backfill():  # over before the ramp, under which no backfill may run
                self._seen("count_over_time(crossfade_job_items[2m]) >= 3")
            time.sleep(seconds * 0.3)
            self.move("VideoGame", "shadow", ramp=50)
            time.sleep(seconds * 0.2)
            self.move("VideoGame", "live")
            self._seen('crossfade_stage{type="VideoGame", stage="live"} == 1')
            time.sleep(seconds * 0.5)
            # It speaks of operations asked sixty times and more: a slow machine needs longer for that.
            self._seen("crossfade:p99:factor5m")

    def _seen(self, query: str) -> None:
        """Wait until Prometheus has seen it: how fast things go here is the machine's affair."""
        wait_until(lambda: bool(self.prometheus.now(query)), 180, query)

    def move(self, item_type: str, stage: str, ramp: float | None = None) -> None:
        """A move by force: what the gate says is looked at, and not heeded."""
        body: dict[str, Any] = {"stage": stage, "by": "observer", "force": True, "because": "to look at it"}
        if ramp is not None:
            body["ramp"] = ramp
        request = urllib.request.Request(
            f"{self.here.proxy.admin}/v1/stages/{TABLE}/{item_type}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method="PUT",
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            moved = json.load(answer)
        assert moved["outcome"] == "moved", moved
        self.told.append(f"{item_type} went to {stage}")

    def _differ(self, client: Any) -> None:
        """A row changed behind everybody's back: the next read of it is a mismatch."""
        client.put_item(
            TableName=TABLE,
            Item={**_key(SHOWN), "type": {"S": "Book"}, "id": {"S": "shown"}, "title": {"S": "Solaris"}},
        )
        self._converged(SHOWN)
        asyncio.run(run_sql(self.here.dsn, "UPDATE items SET title = 'Eden' WHERE type = 'Book' AND id = 'shown'"))
        client.get_item(TableName=TABLE, Key=_key(SHOWN))
        self.told.append("a row that differs")

    def _converged(self, key: str) -> None:
        kind, _, identity = key.partition(":")
        query = "SELECT 1 FROM items WHERE type = $1 AND id = $2"
        wait_until(lambda: bool(asyncio.run(run_sql(self.here.dsn, query, kind, identity))), 120, f"{key} in DSQL")

    @contextmanager
    def _load(self) -> Iterator[None]:
        writers = Writers(self.here.client, seed=1, threads=2).start()
        stop = threading.Event()
        reader = threading.Thread(target=_read, args=(self.here.client, stop))
        reader.start()
        try:
            yield
        finally:
            stop.set()
            reader.join()
            writers.stop()
            self.told.append(f"{writers.total} writes")

    @contextmanager
    def _backfill(self) -> Iterator[None]:
        with self.operator.started("backfill", "--rate", "10", "--metrics", f"{LOOPBACK}:{self.job_port}") as child:
            try:
                yield
            finally:
                child.terminate()
                child.communicate(timeout=120)


def _read(make: Callable[[], Any], stop: threading.Event) -> None:
    client = make()
    number = 0
    while not stop.is_set():
        key = BILLIO_KEYS[number % len(BILLIO_KEYS)]
        number += 1
        try:
            client.get_item(TableName=TABLE, Key=key)
            if number % 10 == 0:
                client.query(
                    TableName=TABLE,
                    IndexName="type",
                    KeyConditionExpression="#t = :t",
                    ExpressionAttributeNames={"#t": "type"},
                    ExpressionAttributeValues={":t": {"S": "Book"}},
                )
        except (ClientError, BotoCoreError):
            time.sleep(0.05)  # writes and reads wait or fail for a moment while the authority moves
        time.sleep(0.01)


def _key(text: str) -> dict[str, dict[str, str]]:
    return {HASH_KEY: {"S": text}}


@contextmanager
def scenery(dynamodb: str, database: str, dsql: str, folder: Path) -> Iterator[Scenery]:
    """Stores with some items, a proxy over them with movable stages, and Prometheus."""
    billio_table(dynamodb)
    load(dynamodb, billio_items(400))
    with ExitStack() as stack:
        swept(dsql)
        here = stack.enter_context(scene(dynamodb, dsql, rows=database, extra=SETTINGS))
        job_port = free_port()
        targets = [here.proxy.admin.removeprefix("http://"), f"{LOOPBACK}:{job_port}"]
        prometheus = stack.enter_context(Prometheus(targets))
        stages = {"CROSSFADE_STAGES__TABLE": "crossfade_stages", "CROSSFADE_STAGES__LEASE_SECONDS": "30"}
        operator = Operator(dynamodb, dsql, folder, (CONFIG / "billio.toml",), stages)
        yield Scenery(here, prometheus, operator, job_port)
