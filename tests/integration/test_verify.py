"""Verify finds whatever differs in a large table, and nothing else: at rest, beside writers, and after a kill.

`SWEEP_ITEMS=100000` makes the large table as large as that; it is 8,000 without. ministack sorts all that it
holds for each page, so above 20,000 a server that only reads (`benchmarks.scanned`) stands for DynamoDB.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from proxy.cutover.flip.protocol import StageTableState
from proxy.cutover.stages import ALL_TABLES, ForgottenProcesses, StageMap
from proxy.settings import DSQL
from proxy.stores.dsql.connect import open_pool
from proxy.stores.dsql.system_tables.sweep_records import SweepRecords
from tests import equality
from tests.integration.scenes import CONFIG, billio_rows, run_sql, scene, wait_until
from tests.integration.test_stage_table import table_at
from tests.integration.whole_tables import Operator, billio_items, load
from tests.integration.writers import BILLIO_KEYS, Writers
from tests.standins.billio import HASH_KEY, TABLE, billio_table, dynamodb_client
from tests.standins.processes import Child, accepts_connections, free_port

ITEMS = int(os.environ.get("SWEEP_ITEMS", "3000"))
MAPPINGS = (CONFIG / "billio.toml",)
PRECISE = "0.123456789012345678901234567890123456"
LESS_PRECISE = "0.123456789012345678901234567891123456"


@pytest.fixture
def operator(dynamodb: str, dsql_database: str, tmp_path: Path) -> Operator:
    billio_table(dynamodb)
    billio_rows(dsql_database)
    return Operator(dynamodb, dsql_database, tmp_path, MAPPINGS)


def report(operator: Operator, *arguments: str) -> dict[str, Any]:
    """The JSON report of a run, with its exit status under `code` and what it printed under `out`."""
    path = operator.folder / "report.json"
    path.unlink(missing_ok=True)
    ran = operator.run("verify", "--json", str(path), *arguments)
    assert path.exists(), ran.err
    document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return {**document, "code": ran.code, "out": ran.out}


def sql(dsn: str, *statements: str) -> None:
    """Each changes one row, or something is wrong with the test."""

    async def run() -> list[str]:
        connection = await asyncpg.connect(dsn)
        try:
            return [await connection.execute(statement) for statement in statements]
        finally:
            await connection.close()

    done = asyncio.run(run())
    assert [each.split()[-1] for each in done] == ["1"] * len(statements), done


@contextmanager
def large(items: list[dict[str, Any]], folder: Path) -> Iterator[str]:
    """The endpoint of a DynamoDB that holds the items, for reads only: ministack takes half a minute for thousands."""
    path = folder / "items.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in items), "utf-8")
    port = free_port()
    server = Child(
        "scanned",
        [sys.executable, "-m", "benchmarks.scanned", str(port), str(path)],
        log_file=folder / "scanned.log",
        directory=CONFIG.parent,
        environment={"PATH": "/usr/bin:/bin"},
    )
    try:
        server.wait_ready(lambda: accepts_connections(port), 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


def of_type(items: list[dict[str, Any]], name: str) -> Iterator[str]:
    return (item["id"]["S"] for item in items if item["type"]["S"] == name)


def test_each_planted_difference_is_found_and_repaired(operator: Operator, database: str, tmp_path: Path) -> None:
    items = billio_items(ITEMS)
    items[ITEMS // 2]["precise"] = {"N": PRECISE}
    items[ITEMS // 3]["tags"] = {"SS": ["a", "b", "c"]}
    with large(items, tmp_path) as endpoint:
        operator.endpoint = endpoint
        _found_and_repaired(operator, items, endpoint, database)


def _found_and_repaired(operator: Operator, items: list[dict[str, Any]], dynamodb: str, database: str) -> None:
    assert operator.run("backfill").code == 0
    equal = report(operator)
    assert equal["result"] == "equal"
    assert equal["code"] == 0
    assert equal["counts"]["pages_unequal"] == 0
    assert equal["counts"]["items"] == equal["counts"]["rows"]

    games, films = of_type(items, "VideoGame"), of_type(items, "Feature")
    missing, moved = next(games), next(games)
    deep = next(item["id"]["S"] for item in items[1000:] if item["type"]["S"] == "Book" and "image" in item)
    set_id, precise = items[ITEMS // 3]["id"]["S"], items[ITEMS // 2]["id"]["S"]
    sql(
        database,
        f"DELETE FROM items WHERE id = '{missing}' AND type = 'VideoGame'",
        "INSERT INTO items (type, id, title) VALUES ('Book', 'nobody-knows-it', 'Extra')",
        "UPDATE items SET data = jsonb_set(data, '{image,url}', to_jsonb(data->'image'->>'url' || '.')) "
        f"WHERE id = '{deep}' AND type = 'Book'",
        f"UPDATE items SET data = jsonb_set(data, '{{precise,$N}}', '\"{LESS_PRECISE}\"') WHERE id = '{precise}'",
        f"UPDATE items SET data = jsonb_set(data, '{{tags,$SS}}', '[\"c\", \"a\", \"b\"]') WHERE id = '{set_id}'",
        f"UPDATE items SET moved_at = moved_at + interval '1 ms' WHERE id = '{moved}' AND type = 'VideoGame'",
        f"UPDATE items SET title = 'Y' WHERE id = '{next(films)}' AND type = 'Feature'",
    )
    found = report(operator, "--patience", "0.5", "--values")
    assert found["result"] == "different"
    assert found["code"] == 1
    assert found["counts"]["results"] == {"missing": 1, "extra": 1, "different": 5}
    told = {each["key"][HASH_KEY]["S"]: each for each in found["findings"]}
    assert told[f"VideoGame:{missing}"]["result"] == "missing"
    assert told["Book:nobody-knows-it"]["result"] == "extra"
    assert "`crossfade verify --repair` makes DSQL hold what DynamoDB holds." in found["out"]
    assert PRECISE in found["out"], "values were asked for"
    assert LESS_PRECISE in found["out"]
    different = [each for each in found["findings"] if each["result"] == "different"]
    # A set in another order is the same set, and not the text that this mapping writes: its page would never be equal.
    reordered = [each["key"][HASH_KEY]["S"] for each in different if not each["differences"]]
    assert [each.partition(":")[2] for each in reordered] == [set_id]
    paths = sorted(each["differences"][0]["path"] for each in different if each["differences"])
    assert paths == ["image.url", "movedAt", "precise", "title"]
    assert len(equality.disagreements(dynamodb, database, TABLE)) == 6

    hidden = report(operator, "--patience", "0")
    assert "nobody-knows-it" not in hidden["out"] + json.dumps(hidden)
    repaired = report(operator, "--patience", "0", "--repair")
    assert (repaired["result"], repaired["code"]) == ("repaired", 0)
    assert repaired["counts"]["repaired"] == 7
    assert repaired["counts"]["rows"] == repaired["counts"]["items"]
    assert equality.disagreements(dynamodb, database, TABLE) == []
    assert report(operator)["result"] == "equal"


def test_rows_that_this_mapping_did_not_write_are_named_and_written_anew(operator: Operator, database: str) -> None:
    items = billio_items(400)
    load(operator.endpoint, items)
    assert operator.run("backfill").code == 0
    books, games = of_type(items, "Book"), of_type(items, "VideoGame")
    string, array, older, rounded, null = next(books), next(books), next(books), next(books), next(games)
    sql(
        database,
        f"UPDATE items SET data = to_jsonb(data::text) WHERE id = '{string}' AND type = 'Book'",
        f"UPDATE items SET data = '[]' WHERE id = '{array}' AND type = 'Book'",
        # As a mapping without a column for it wrote it: the item is right, and an index on the column misses the row.
        "UPDATE items SET data = data || jsonb_build_object('title', title), title = NULL "
        f"WHERE id = '{older}' AND type = 'Book'",
        "UPDATE items SET data = data || '{\"x\": 0.12345678901234567890123}' "
        f"WHERE id = '{rounded}' AND type = 'Book'",
        f"UPDATE items SET data = data || '{{\"x\": {{\"$SS\": 5}}}}' WHERE id = '{null}' AND type = 'VideoGame'",
    )
    found = report(operator, "--patience", "0.5", "--values")
    assert (found["result"], found["code"]) == ("different", 1)
    told = {each["key"][HASH_KEY]["S"]: " ".join(each["reasons"]) for each in found["findings"]}
    assert told.keys() == {f"Book:{each}" for each in (string, array, older, rounded)} | {f"VideoGame:{null}"}
    assert "column data: its JSON is a string" in told[f"Book:{string}"]
    assert "column data: its JSON is an array" in told[f"Book:{array}"]
    assert "its columns are not what this mapping writes" in told[f"Book:{older}"]
    assert "column data" in told[f"VideoGame:{null}"]
    assert report(operator, "--patience", "0", "--repair")["result"] == "repaired"
    assert report(operator)["result"] == "equal"
    assert equality.disagreements(operator.endpoint, database, TABLE) == []


def test_beside_writers_nothing_is_alarming(dynamodb: str, database: str, dsql_database: str, tmp_path: Path) -> None:
    billio_table(dynamodb)
    items = billio_items(1000)
    load(dynamodb, items)
    with scene(dynamodb, dsql_database, rows=database, stage="dualwrite") as here:
        operator = Operator(dynamodb, dsql_database, tmp_path, MAPPINGS)
        assert operator.run("backfill").code == 0
        hot = [*BILLIO_KEYS, *({HASH_KEY: item[HASH_KEY]} for item in items[::40])]
        writers = Writers(here.client, 5, keys=hot, threads=2).start()
        found: list[Any] = []
        try:
            while len(found) < 2 or (writers.answers["ok"] <= 100 and len(found) < 20):  # some sweeps on a slow machine
                found.append(report(operator, "--rate", "800"))
        finally:
            writers.stop()
        assert writers.answers["ok"] > 100
        assert {each["result"] for each in found} == {"equal"}, found
        assert all(not {"missing", "extra", "different"} & set(each["counts"]["results"]) for each in found)
        here.assert_equal()


def saved(database: str, job: str, text: str) -> bool:
    """Whether work of such a job has saved such a state."""
    with contextlib.suppress(asyncpg.UndefinedTableError):
        like = f"job LIKE '{job}/%' AND state LIKE '%{text}%'"
        return bool(asyncio.run(run_sql(database, f"SELECT part FROM crossfade_checkpoints WHERE {like}")))
    return False


async def one_is_forgotten(dynamodb: str) -> str:
    """The name of a stage table that says so."""
    async with table_at(dynamodb) as table:
        await table.ensure()
        assert await table.write_state(
            StageTableState(
                0,
                StageMap(forgotten=ForgottenProcesses(1, "p1")).with_new_eras(
                    (ALL_TABLES,), 1.0, "process p1 was forgotten"
                ),
                None,
            ).next_row(None)
        )
        return table.name


def test_a_backfill_does_not_go_on_where_another_era_began(operator: Operator, dynamodb: str, database: str) -> None:
    """What was written while the table stood in `off` is in no part that is done (L4)."""
    items = billio_items(600)
    load(dynamodb, items)
    with operator.started("backfill", "--rate", "100") as child:
        wait_until(lambda: saved(database, "backfill", '"position":{'), 120, "a position to be saved")
        child.kill()
        child.communicate(timeout=60)
    held = asyncio.run(run_sql(database, "SELECT type, id FROM items LIMIT 40"))
    client = dynamodb_client(dynamodb)
    for number, (item_type, name) in enumerate(held):
        key = {HASH_KEY: {"S": f"{item_type}:{name}"}}
        if number % 2:
            client.delete_item(TableName=TABLE, Key=key)
        else:
            change = {":t": {"S": "changed in off"}}
            client.update_item(
                TableName=TABLE, Key=key, UpdateExpression="SET notes = :t", ExpressionAttributeValues=change
            )
    operator.environment["CROSSFADE_STAGES__TABLE"] = asyncio.run(one_is_forgotten(dynamodb))
    ran = operator.run("backfill")
    assert ran.code == 0, ran.err
    assert "began anew: the table has begun another era since" in ran.out
    # Deleted items that only the mirror has are a repair's: backfill reads what is there.
    left = report(operator, "--patience", "0.5")["counts"]["results"]
    assert set(left) <= {"extra"}
    assert report(operator, "--patience", "0.5", "--repair")["code"] == 0
    assert equality.disagreements(dynamodb, database, TABLE) == []


def test_a_killed_sweep_goes_on_and_is_recorded(operator: Operator, dynamodb: str, database: str) -> None:
    load(dynamodb, billio_items(3000))
    assert operator.run("backfill").code == 0
    sql(database, "DELETE FROM items WHERE id = (SELECT min(id) FROM items)")

    def killed(era: int) -> None:
        with operator.started("verify", "--rate", "150", "--patience", "0") as child:
            wait_until(lambda: saved(database, "verify", f'"eras":{{"":{era},'), 120, "something to be saved")
            assert child.poll() is None
            child.kill()
            child.communicate(timeout=60)

    killed(0)
    # What was looked at before a process was forgotten that owed keys is looked at again; what was after it is not.
    operator.environment["CROSSFADE_STAGES__TABLE"] = asyncio.run(one_is_forgotten(dynamodb))
    killed(1)
    found = report(operator, "--patience", "0")
    assert found["resumed"]
    assert set(found["basis"]["eras"].values()) == {1}
    assert found["whole"]
    assert found["counts"]["results"] == {"missing": 1}
    assert sum(found["counts"]["items"].values()) == 3000
    assert sum(found["counts"]["rows"].values()) == 2999

    async def newest() -> Any:
        pool = open_pool(DSQL(dsn=database))
        try:
            return await SweepRecords(pool, "public", seconds=60).newest(TABLE)
        finally:
            await pool.close()

    sweep = asyncio.run(newest())
    assert (sweep.table, sweep.result, sweep.authority) == (TABLE, "different", "dynamodb")
    assert sweep.began == pytest.approx(found["began"], abs=1e-3)
    assert sweep.ended == pytest.approx(found["ended"], abs=1e-3)
    assert sweep.report["counts"] == found["counts"]


def test_the_other_way_round_dsql_is_the_truth(operator: Operator, dynamodb: str, database: str) -> None:
    items = billio_items(300)
    load(dynamodb, items)
    assert operator.run("backfill").code == 0
    client = dynamodb_client(dynamodb)
    client.delete_item(TableName=TABLE, Key={HASH_KEY: items[0][HASH_KEY]})
    client.put_item(TableName=TABLE, Item={HASH_KEY: {"S": "Book:x"}, "type": {"S": "Book"}, "id": {"S": "x"}})
    load(dynamodb, [{**items[1], "title": {"S": "Changed"}}])
    before = asyncio.run(run_sql(database, "SELECT * FROM items ORDER BY type, id"))
    found = report(operator, "--authority", "dsql", "--patience", "0")
    assert found["counts"]["results"] == {"missing": 1, "extra": 1, "different": 1}
    repaired = report(operator, "--authority", "dsql", "--patience", "0", "--repair")
    assert repaired["counts"]["repaired"] == 3
    assert asyncio.run(run_sql(database, "SELECT * FROM items ORDER BY type, id")) == before
    assert equality.disagreements(dynamodb, database, TABLE) == []


def test_references_that_lead_nowhere_are_counted(operator: Operator, dynamodb: str) -> None:
    items = billio_items(400)
    lost = next(item["seriesId"]["S"] for item in items if "seriesId" in item)
    seasons = sum(item.get("seriesId", {}).get("S") == lost for item in items)
    load(dynamodb, [item for item in items if item["id"]["S"] != lost])
    assert operator.run("backfill").code == 0
    found = report(operator)
    total = sum("seriesId" in item for item in items)
    assert found["references"] == [{"attribute": "seriesId", "refer": total, "dangling": seasons}]
    assert found["result"] == "equal"
    assert f"{seasons:,} refer to an item that does not exist" in found["out"]


def test_spot_checks_hide_values_unless_they_are_asked_for(operator: Operator, dynamodb: str) -> None:
    items = billio_items(60)
    load(dynamodb, items)
    assert operator.run("backfill").code == 0
    titles = {item["title"]["S"] for item in items if len(item["title"]["S"]) > 12}
    hidden = operator.run("verify", "--spot", "60").out
    assert hidden.count("DynamoDB: {") == 60
    assert not any(title in hidden for title in titles)
    shown = operator.run("verify", "--spot", "60", "--values").out
    assert sum(json.dumps(title, ensure_ascii=False) in shown for title in titles) > len(titles) * 0.9
