"""Backfill beside writers, killed and started again at random: in the end both stores are equal, from every source."""

import asyncio
import json
import random
import signal
from pathlib import Path
from typing import Any

import pytest

from tests import equality
from tests.integration.scenes import CONFIG, billio_rows, run_sql, scene, wait_until
from tests.integration.whole_tables import (
    Operator,
    billio_items,
    load,
    write_backup,
    write_export,
    write_export_lines,
)
from tests.integration.writers import BILLIO_KEYS, Writers, billio_item
from tests.standins.billio import HASH_KEY, TABLE, billio_table, dynamodb_client

ITEMS = 800
KILLS = 2
MAPPINGS = (CONFIG / "billio.toml",)


def source(kind: str, folder: Path, items: list[Any]) -> list[str]:
    """The arguments that name a source of these items."""
    if kind == "backup":
        return ["--from-backup", str(write_backup(folder / "backup", items))]
    if kind == "export":
        return ["--from-export", str(write_export(folder / "export", items))]
    return []


def ids(endpoint: str, dsn: str) -> tuple[set[str], set[str]]:
    """All keys, as each store has them."""
    pages = dynamodb_client(endpoint).get_paginator("scan").paginate(TableName=TABLE, ConsistentRead=True)
    there = {item[HASH_KEY]["S"] for page in pages for item in page["Items"]}
    rows = asyncio.run(run_sql(dsn, "SELECT type || ':' || id AS key FROM items"))
    return there, {row["key"] for row in rows}


@pytest.mark.parametrize(("kind", "seed"), [("scan", 1), ("backup", 2), ("export", 3)])
def test_backfill_beside_writers_survives_kills(
    kind: str, seed: int, dynamodb: str, database: str, dsql_database: str, tmp_path: Path
) -> None:
    billio_table(dynamodb)
    dice = random.Random(seed)
    # Half of the writers' keys are there before, so that they change and delete what is being brought over.
    before = billio_items(ITEMS)
    before += [billio_item(dice, key) for key in BILLIO_KEYS[::2]]
    load(dynamodb, billio_items(ITEMS))
    client = dynamodb_client(dynamodb)
    for item in before[ITEMS:]:
        client.put_item(TableName=TABLE, Item=item)
    hot = [*BILLIO_KEYS, *({HASH_KEY: item[HASH_KEY]} for item in dice.sample(before[:ITEMS], 60))]
    with scene(dynamodb, dsql_database, rows=database, stage="dualwrite") as here:
        operator = Operator(dynamodb, dsql_database, tmp_path, MAPPINGS)
        arguments = ["backfill", "--rate", "400", *source(kind, tmp_path, before[:ITEMS])]
        writers = Writers(here.client, seed, keys=hot, threads=2).start()
        killed = sum(operator.killed(*arguments, after=dice.uniform(1.2, 3)) for _ in range(KILLS))
        wait_until(lambda: writers.answers["ok"] > 50, 120, "writes to go through beside it")
        ran = operator.run(*arguments)
        if kind != "scan":
            # These files hold what was there when they were made, and the writers' items were not.
            ran = operator.run("backfill")
        writers.stop()
        print(killed, dict(writers.answers), ran.out, ran.err)
        assert ran.code == 0
        assert killed > 0
        here.assert_equal()
        verified = operator.run("verify", "--patience", "2")
        assert verified.code == 0, verified.out + verified.err
        assert "**The two stores are equal.**" in verified.out
    there, rows = ids(dynamodb, database)
    assert there == rows
    assert len(there) > ITEMS - 60


def test_what_goes_past_the_proxy_meanwhile_is_repaired_by_verify(
    dynamodb: str, database: str, dsql_database: str, tmp_path: Path
) -> None:
    billio_table(dynamodb)
    billio_rows(dsql_database)
    items = billio_items(600)
    load(dynamodb, items)
    operator = Operator(dynamodb, dsql_database, tmp_path, MAPPINGS)
    hot = [{HASH_KEY: item[HASH_KEY]} for item in items[:200:10]]
    writers = Writers(lambda: dynamodb_client(dynamodb), 4, keys=hot, threads=2).start()
    ran = operator.run("backfill", "--rate", "300")
    writers.stop()
    assert ran.code == 0, ran.err
    repaired = operator.run("verify", "--patience", "0", "--repair")
    assert repaired.code == 0, repaired.out + repaired.err
    assert equality.disagreements(dynamodb, database, TABLE) == []
    again = operator.run("verify", "--patience", "0")
    assert "**The two stores are equal.**" in again.out


def test_it_stops_when_asked_and_a_second_run_writes_nothing(
    dynamodb: str, database: str, dsql_database: str, tmp_path: Path
) -> None:
    billio_table(dynamodb)
    billio_rows(dsql_database)
    load(dynamodb, billio_items(300))
    operator = Operator(dynamodb, dsql_database, tmp_path, MAPPINGS)
    with operator.started("backfill", "--rate", "20") as child:
        some = "SELECT count(*) AS n FROM items"
        wait_until(lambda: asyncio.run(run_sql(database, some))[0]["n"] > 10, 120, "some items")
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=120)
    assert child.returncode == 130
    assert "items so far: " in out
    assert "stopped; run it again to resume" in err
    assert "300 items: 300 inserted, 0 already held, 0 converged" in operator.run("backfill").out, (
        "nothing counts twice"
    )
    marks = "SELECT xmin::text, id FROM items ORDER BY id"
    before = asyncio.run(run_sql(database, marks))
    assert "0 inserted, 300 already held, 0 converged" in operator.run("backfill").out
    assert asyncio.run(run_sql(database, marks)) == before
    asyncio.run(run_sql(database, "ALTER TABLE items RENAME COLUMN notes TO remarks"))
    for command in ("backfill", "verify"):
        refused = operator.run(command, "--fresh")
        assert refused.code == 1
        assert "42703 UndefinedColumnError: the SQL table lacks a column that the mapping names" in refused.err
        assert "crossfade migrate" in refused.err


def test_shares_of_a_table_make_the_whole(dynamodb: str, database: str, dsql_database: str, tmp_path: Path) -> None:
    billio_table(dynamodb)
    billio_rows(dsql_database)
    load(dynamodb, billio_items(300))
    operator = Operator(dynamodb, dsql_database, tmp_path, MAPPINGS)
    for share in ("2/2", "1/2"):
        assert operator.run("backfill", "--segment", share, "--parallel", "2").code == 0
    assert equality.disagreements(dynamodb, database, TABLE) == []
    assert "Not finished" in operator.run("verify", "--segment", "1/2").out
    assert "**The two stores are equal.**" in operator.run("verify", "--segment", "2/2").out


def test_what_refers_comes_after_what_it_refers_to(
    dynamodb: str, database: str, dsql_database: str, tmp_path: Path
) -> None:
    """A foreign key, which our own table does not have, holds at every moment."""
    billio_table(dynamodb)
    billio_rows(dsql_database)
    for statement in (
        "ALTER TABLE items ADD COLUMN series text GENERATED ALWAYS AS (left('TvSeries' || series_id, 8)) STORED",
        "ALTER TABLE items ADD CONSTRAINT refers FOREIGN KEY (series, series_id) REFERENCES items (type, id)",
    ):
        asyncio.run(run_sql(database, statement))
    items = billio_items(844)
    load(dynamodb, items)
    operator = Operator(dynamodb, dsql_database, tmp_path, MAPPINGS)
    ran = operator.run("backfill")
    assert ran.code == 0, ran.out + ran.err
    assert "844 inserted" in ran.out
    assert equality.disagreements(dynamodb, database, TABLE) == []


def test_what_cannot_be_held_is_told_and_fails_the_run(
    dynamodb: str, database: str, dsql_database: str, tmp_path: Path
) -> None:
    client = billio_table(dynamodb)
    billio_rows(dsql_database)
    load(dynamodb, billio_items(50))
    for number in range(5):
        parts = {"type": {"S": "Book"}, "id": {"S": f"{number}"}, "movedAt": {"N": "1700000000000.00001"}}
        item = {HASH_KEY: {"S": f"Book:{number}"}, **parts}
        client.put_item(TableName=TABLE, Item=item)
    operator = Operator(dynamodb, dsql_database, tmp_path, MAPPINGS)
    ran = operator.run("backfill")
    assert ran.code == 1
    assert "50 inserted" in ran.out
    assert "5 cannot be represented" in ran.out
    assert len(ran.out.splitlines()) == 4, "three examples"
    assert "movedAt: it is finer than a microsecond" in ran.out
    assert "Book:" not in ran.out
    assert '"Book:' in operator.run("backfill", "--values").out
    verified = operator.run("verify", "--patience", "0", "--json", str(tmp_path / "report.json"))
    assert verified.code == 1
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["counts"]["results"] == {"unrepresentable": 5}


def test_an_incremental_export_brings_changes_and_deletions(
    dynamodb: str, database: str, dsql_database: str, tmp_path: Path
) -> None:
    client = billio_table(dynamodb)
    billio_rows(dsql_database)
    items = billio_items(40)
    load(dynamodb, items)
    operator = Operator(dynamodb, dsql_database, tmp_path, MAPPINGS)
    assert operator.run("backfill").code == 0
    changed, deleted = items[0], items[1]
    changed["title"] = {"S": "Another"}
    load(dynamodb, [changed])
    client.delete_item(TableName=TABLE, Key={HASH_KEY: deleted[HASH_KEY]})
    at = {"WriteTimestampMicros": {"N": "1693685827463000"}}
    lines = [
        json.dumps({"Metadata": at, "Keys": {HASH_KEY: changed[HASH_KEY]}, "NewImage": changed}),
        json.dumps({"Metadata": at, "Keys": {HASH_KEY: deleted[HASH_KEY]}}),
    ]
    folder = write_export_lines(tmp_path / "export", [lines], summary={"exportType": "INCREMENTAL_EXPORT"})
    ran = operator.run("backfill", "--from-export", str(folder))
    assert ran.code == 0, ran.err
    assert "2 converged" in ran.out
    assert equality.disagreements(dynamodb, database, TABLE) == []
