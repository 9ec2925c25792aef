"""What each stage does, and what it keeps its hands off: `off`, `dualwrite`, and stages of single item types."""

import asyncio
import random
from typing import Any

import pytest

from tests import equality
from tests.integration.scenes import Scene, run_sql, scene, wait_until
from tests.integration.writers import BILLIO_KEYS, Writers, billio_item
from tests.standins.billio import HASH_KEY, TABLE, billio_table
from tests.standins.processes import accepts_connections, free_port

BOOKS = [key for key in BILLIO_KEYS if key[HASH_KEY]["S"].startswith("Book:")]
GAMES = [key for key in BILLIO_KEYS if key[HASH_KEY]["S"].startswith("VideoGame:")]


def item(key: dict[str, Any], seed: int = 1) -> dict[str, Any]:
    return billio_item(random.Random(seed), key)


def use_everything(here: Scene) -> None:
    Writers(here.client, 51, threads=2, calls=30).start().join()
    client = here.client()
    client.get_item(TableName=TABLE, Key=BOOKS[0])
    client.scan(TableName=TABLE)
    client.query(
        TableName=TABLE,
        IndexName="type",
        KeyConditionExpression="#t = :t",
        ExpressionAttributeNames={"#t": "type"},
        ExpressionAttributeValues={":t": {"S": "Book"}},
    )


def test_off_sends_no_sql_and_keeps_no_journal(dynamodb: str) -> None:
    """DSQL need not even be there: whoever connected to it would be heard."""
    billio_table(dynamodb)
    nowhere = free_port()
    dsn = f"postgresql://postgres@127.0.0.1:{nowhere}/postgres"
    with scene(dynamodb, dsn, stage="off", billio=False, environment={"CROSSFADE_LOG__LEVEL": "debug"}) as here:
        use_everything(here)
        here.client().list_tables()
        status, metrics = here.proxy.status(), here.proxy.metrics()
        assert metrics["crossfade_passed_through_total"] == [({"operation": "ListTables"}, 1.0)]
        assert status["journal"]["keys"] == 0
        assert status["comparisons"] == []
        stores = {labels["store"] for labels, _ in metrics.get("crossfade_store_seconds_count", [])}
        assert stores <= {"dynamodb"}
        assert status["breaker"]["dsql"] == "closed"
    assert not accepts_connections(nowhere)


def test_a_table_that_is_off_beside_one_that_is_not_is_untouched(
    dynamodb: str, database: str, dsql_database: str
) -> None:
    billio_table(dynamodb)
    off = f'[tables.{TABLE}]\nstage = "off"\n'
    with scene(dynamodb, dsql_database, rows=database, extra=off) as here:
        use_everything(here)
        assert here.proxy.status()["journal"]["keys"] == 0
        assert here.verdicts() == {}
        assert asyncio.run(run_sql(database, "SELECT * FROM items")) == []


def test_dualwrite_compares_nothing_and_converges(dynamodb: str, database: str, dsql_database: str) -> None:
    billio_table(dynamodb)
    with scene(dynamodb, dsql_database, rows=database, stage="dualwrite") as here:
        use_everything(here)
        here.assert_equal()
        assert here.verdicts() == {}
        samples = here.proxy.metrics()["crossfade_store_seconds_count"]
        assert {labels["operation"] for labels, _ in samples if labels["store"] == "dsql"} <= {"get", "put"}
        # What a read shows to differ is nobody's business in this stage.
        asyncio.run(run_sql(database, "UPDATE items SET title = 'other'"))
        here.client().scan(TableName=TABLE)
        here.proxy.settle()
        assert here.verdicts() == {}
        assert equality.disagreements(dynamodb, database, TABLE) != []


@pytest.mark.parametrize("rest", ["off", "dualwrite"])
def test_one_item_type_is_in_shadow_and_the_rest_is_not(
    rest: str, dynamodb: str, database: str, dsql_database: str
) -> None:
    billio_table(dynamodb)
    stages = f'[tables.{TABLE}]\nstage = "{rest}"\n[tables.{TABLE}.types.Book]\nstage = "shadow"\n'
    with scene(dynamodb, dsql_database, rows=database, extra=stages) as here:
        client = here.client()
        for key in (*BOOKS, *GAMES):
            client.put_item(TableName=TABLE, Item=item(key))
        here.proxy.settle()  # a write of the same key meanwhile would make its comparison a race
        mixed = [{"Put": {"TableName": TABLE, "Item": item(key, 2)}} for key in (BOOKS[0], GAMES[0])]
        client.transact_write_items(TransactItems=mixed)
        client.batch_get_item(RequestItems={TABLE: {"Keys": [BOOKS[0], GAMES[0]]}})
        client.get_item(TableName=TABLE, Key=GAMES[0])
        client.scan(TableName=TABLE)
        query(client, "type", "type", "VideoGame")
        query(client, "category", "category", "watching")
        here.proxy.settle()
        assert here.verdicts() == {"agreed": len(BOOKS)}
        query(client, "type", "type", "Book")
        query(client, "shelf", "type:shelf", "Book:Read")
        client.get_item(TableName=TABLE, Key=BOOKS[1])
        client.batch_get_item(RequestItems={TABLE: {"Keys": BOOKS}})
        wait_until(lambda: sum(here.verdicts().values()) == len(BOOKS) + 4, 120, "the verdicts")
        assert here.verdicts() == {"agreed": len(BOOKS) + 4}
        assert {each["type"] for each in here.proxy.status()["comparisons"]} == {"Book"}
        held = {row["type"] for row in asyncio.run(run_sql(database, "SELECT type FROM items"))}
        assert held == ({"Book"} if rest == "off" else {"Book", "VideoGame"})
        unlike = equality.disagreements(dynamodb, database, TABLE)
        expected = [f"{key[HASH_KEY]['S']} is in DynamoDB only" for key in GAMES] if rest == "off" else []
        assert sorted(unlike) == sorted(expected)


def test_one_item_type_is_off_in_a_table_in_shadow(dynamodb: str, database: str, dsql_database: str) -> None:
    """What shows items of all types is not compared: the mirror has not got them all."""
    billio_table(dynamodb)
    stages = f'[tables.{TABLE}.types.Book]\nstage = "off"\n'
    with scene(dynamodb, dsql_database, rows=database, extra=stages) as here:
        client = here.client()
        for key in (*BOOKS, *GAMES):
            client.put_item(TableName=TABLE, Item=item(key))
        here.proxy.settle()
        client.scan(TableName=TABLE)
        query(client, "type", "type", "Book")
        query(client, "type", "type", "VideoGame")
        here.proxy.settle()
        assert here.verdicts() == {"agreed": len(GAMES) + 1}
        held = {row["type"] for row in asyncio.run(run_sql(database, "SELECT type FROM items"))}
        assert held == {"VideoGame"}


def query(client: Any, index: str, name: str, text: str) -> None:
    client.query(
        TableName=TABLE,
        IndexName=index,
        KeyConditionExpression="#h = :h",
        ExpressionAttributeNames={"#h": name},
        ExpressionAttributeValues={":h": {"S": text}},
    )
