"""Streams of a stand-in DynamoDB, followed by real processes: what goes past the proxy converges too."""

import asyncio
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests import equality
from tests.data import catalogue
from tests.integration.scenes import CONFIG, SETTLE_SECONDS, billio_rows, run_sql, scene, wait_until
from tests.integration.writers import Writers
from tests.proxy_process import settings_text
from tests.standins.billio import TABLE, dynamodb_client, table_definition
from tests.standins.processes import LOOPBACK, Child, bare_environment, free_port

FOLLOWED = f'[stream]\ntables = ["{TABLE}"]\npoll_seconds = 0.05\ndelay_seconds = 0\n'


def table_with_stream(endpoint: str, view: str = "KEYS_ONLY") -> Any:
    client = dynamodb_client(endpoint)
    stream = {"StreamEnabled": True, "StreamViewType": view}
    client.create_table(**table_definition(), StreamSpecification=stream)
    return client


def put_all(client: Any, items: list[dict[str, Any]]) -> None:
    for start in range(0, len(items), 25):
        requests = [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]
        assert not client.batch_write_item(RequestItems={TABLE: requests})["UnprocessedItems"]


def wait_until_equal(endpoint: str, dsn: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while found := equality.disagreements(endpoint, dsn, TABLE):
        assert time.monotonic() < deadline, found[:3]
        time.sleep(0.3)


def test_what_goes_past_the_proxy_converges(dynamodb: str, database: str, dsql_database: str) -> None:
    past = table_with_stream(dynamodb)
    items = catalogue()
    with scene(dynamodb, dsql_database, rows=database, extra=FOLLOWED) as here:
        put_all(past, items)
        wait_until_equal(dynamodb, database)
        # Changed through the proxy; changed past it, and deleted as by time to live: each its own items.
        through = here.client()
        for number, item in enumerate(items[:60]):
            key = {"type:id": item["type:id"]}
            update = {"UpdateExpression": "ADD hoursPlayed :one", "ExpressionAttributeValues": {":one": {"N": "1"}}}
            (past if number % 2 else through).update_item(TableName=TABLE, Key=key, **update)
            if number % 6 == 1:
                past.delete_item(TableName=TABLE, Key=key)
        wait_until_equal(dynamodb, database)
        here.assert_equal()
        metrics = here.proxy.metrics()
        assert metrics["crossfade_stream_records_total"] == [({"table": TABLE}, len(items) + 70)]
        assert "mismatch" not in here.verdicts()


def test_killed_again_and_again_beside_writers_that_go_past(dynamodb: str, database: str, dsql_database: str) -> None:
    table_with_stream(dynamodb, "NEW_AND_OLD_IMAGES")
    dice = random.Random(3)
    with scene(dynamodb, dsql_database, rows=database, stage="dualwrite", extra=FOLLOWED) as here:
        writers = Writers(here.direct, 3).start()
        try:
            for kills in range(3):
                time.sleep(dice.uniform(0.2, 0.8))
                wait_until(lambda: writers.answers["ok"] > 40 * (kills + 1), 120, "writes to go through")  # noqa: B023
                here.proxy.kill()
                time.sleep(dice.uniform(0, 0.3))
                here.proxy.restart()
        finally:
            writers.stop()  # or they would write for ever, and the test's process never end
        assert writers.answers["ok"] > 100
        wait_until_equal(dynamodb, database)
        here.assert_equal()
        assert b"stream_gap" not in here.proxy.log_file.read_bytes()


def test_latest_leaves_what_was_there(dynamodb: str, database: str, dsql_database: str) -> None:
    past = table_with_stream(dynamodb)
    items = catalogue()[:20]
    put_all(past, items[:10])
    with scene(dynamodb, dsql_database, rows=database, extra=FOLLOWED + 'start = "latest"\n') as here:
        tried = 0

        def followed() -> bool:
            """Where the stream ended when it was found, nobody says: so something is written until it is seen."""
            nonlocal tried
            tried += 1
            past.put_item(TableName=TABLE, Item=items[10] | {"notes": {"S": str(tried)}})
            return "crossfade_stream_records_total" in here.proxy.metrics()

        wait_until(followed, 120, "records")
        put_all(past, items[10:])
        held = "SELECT type || ':' || id AS key FROM items"
        wait_until(lambda: len(asyncio.run(run_sql(database, held))) >= 10, 120, "what was written since")
        here.proxy.settle()
        rows = {row["key"] for row in asyncio.run(run_sql(database, held))}
        assert rows == {item["type:id"]["S"] for item in items[10:]}
        ((_, records),) = here.proxy.metrics()["crossfade_stream_records_total"]
        assert records <= tried + 10


def test_a_table_without_a_stream_is_told_and_harms_nothing(dynamodb: str, database: str, dsql_database: str) -> None:
    dynamodb_client(dynamodb).create_table(**table_definition())
    with scene(dynamodb, dsql_database, rows=database, extra=FOLLOWED) as here:
        wait_until(lambda: "stream_missing" in here.proxy.log_file.read_text(), 120, "the complaint")
        put_all(here.client(), catalogue()[:20])
        here.assert_equal()


@contextmanager
def stream_process(endpoint: str, dsn: str, folder: Path) -> Iterator[Child]:
    """`crossfade stream` with a journal of its own."""
    settings = folder / "stream.toml"
    text = settings_text(
        dynamodb=endpoint,
        dsql=dsn,
        journal=folder / "stream.sqlite",
        stage="dualwrite",
        mappings=[CONFIG / "billio.toml"],
        extra=FOLLOWED.replace(TABLE, "somebody-else"),
    )
    settings.write_text(text)
    command = [str(Path(sys.executable).with_name("crossfade")), "stream", "--config", str(settings), "--table", TABLE]
    settle = {f"CROSSFADE_{store}__SETTLE_SECONDS": str(SETTLE_SECONDS) for store in ("DSQL", "DYNAMODB")}
    child = Child(
        "crossfade stream",
        [*command, "--admin", f"{LOOPBACK}:{free_port()}"],
        log_file=folder / "stream.log",
        directory=folder,
        environment=bare_environment() | {"HOME": str(folder)} | settle,
    )
    try:
        child.wait_ready(lambda: f"following {TABLE}" in child.log_tail(), 120)
        yield child
    finally:
        child.stop(signal.SIGTERM, 120)


def test_a_process_of_its_own(dynamodb: str, database: str, dsql_database: str, tmp_path: Path) -> None:
    past = table_with_stream(dynamodb)
    billio_rows(dsql_database)
    items = catalogue()
    with stream_process(dynamodb, dsql_database, tmp_path) as child:
        put_all(past, items[:200])
        wait_until_equal(dynamodb, database)
        put_all(past, items[200:])
        child.kill()
    for item in items[:30]:
        past.delete_item(TableName=TABLE, Key={"type:id": item["type:id"]})
    with stream_process(dynamodb, dsql_database, tmp_path):
        wait_until_equal(dynamodb, database)
    assert "stream_gap" not in (tmp_path / "stream.log").read_text()
