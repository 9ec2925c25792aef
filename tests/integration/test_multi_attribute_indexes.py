"""Global indexes with several hash and range attributes through a proxy, beside DynamoDB and without it.

Source: developer guide, "Multi-attribute keys pattern".
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.integration.scenes import Scene, run_sql, scene
from tests.standins.billio import dynamodb_client
from tests.standins.processes import free_port

TABLE = "matches"
INDEX = "by-region"
FOLLOW = {"CROSSFADE_FOLLOW_TABLES": "true"}
MAPPING = f"""
table = "{TABLE}"
sql_table = "{TABLE}"

[key]
columns = ["id"]

[columns]
id = {{ type = "text" }}
h1 = {{ type = "text" }}
hash_two = {{ attribute = "h2", type = "text" }}
r1 = {{ type = "text" }}
r2 = {{ type = "numeric(20,4)" }}

[indexes.{INDEX}]
hash = ["h1", "h2"]
range = ["r1", "r2"]
sql_index = "matches_by_region"
"""
MAKE_TABLE = f"""
CREATE TABLE {TABLE} (
  id text PRIMARY KEY, h1 text, hash_two text, r1 text, r2 numeric(20,4), data jsonb NOT NULL DEFAULT '{{}}'
)
"""
MAKE_INDEX = f"""
CREATE INDEX matches_by_region ON {TABLE} (h1, hash_two, r1, r2, id)
WHERE h1 IS NOT NULL AND hash_two IS NOT NULL AND r1 IS NOT NULL AND r2 IS NOT NULL
"""
QUERIES: dict[str, list[str]] = {
    "h1 = :x AND h2 = :eu": ["c", "a", "e", "b", "d"],
    "r1 = :m AND h2 = :eu AND h1 = :x": ["a", "e", "b"],
    "h1 = :x AND h2 = :eu AND r1 > :m": ["d"],
    "h1 = :x AND h2 = :eu AND begins_with(r1, :m)": ["a", "e", "b"],
    "h1 = :x AND h2 = :eu AND r1 = :m AND r2 BETWEEN :two AND :nine": ["a", "e"],
    "h1 = :x AND h2 = :eu AND r1 = :m AND r2 = :nine": ["e"],
    "h1 = :x AND h2 = :us": ["f"],
}
REFUSED = (
    "h1 = :x",
    "h2 = :eu",
    "h1 = :x AND h2 = :eu AND r2 = :nine",
    "h1 = :x AND h2 = :eu AND r1 > :m AND r2 = :nine",
)


def make_table(endpoint: str) -> None:
    types = {"id": "S", "h1": "S", "h2": "S", "r1": "S", "r2": "N"}
    keys = (("h1", "HASH"), ("h2", "HASH"), ("r1", "RANGE"), ("r2", "RANGE"))
    dynamodb_client(endpoint).create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()],
        GlobalSecondaryIndexes=[
            {
                "IndexName": INDEX,
                "KeySchema": [{"AttributeName": name, "KeyType": role} for name, role in keys],
                "Projection": {"ProjectionType": "ALL"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )


def put(client: Any, key: str, **attributes: str | None) -> None:
    item = {"h1": "x", "h2": "eu", "r1": "m", "r2": "1"} | attributes
    held = {name: {"N" if name == "r2" else "S": value} for name, value in item.items() if value is not None}
    client.put_item(TableName=TABLE, Item={"id": {"S": key}, **held})


def fill(client: Any) -> None:
    put(client, "a", r2="2")
    put(client, "b", r2="10")
    put(client, "c", r1="a", r2="99")
    put(client, "d", r1="n")
    put(client, "e", r2="9")
    put(client, "f", h2="us")
    for name in ("h1", "h2", "r1", "r2"):
        put(client, f"lacks-{name}", **{name: None})


def asked(condition: str) -> dict[str, Any]:
    values = {":x": {"S": "x"}, ":eu": {"S": "eu"}, ":us": {"S": "us"}, ":m": {"S": "m"}}
    values |= {":two": {"N": "2"}, ":nine": {"N": "9"}}
    used = {name: value for name, value in values.items() if name in condition}
    return {
        "TableName": TABLE,
        "IndexName": INDEX,
        "KeyConditionExpression": condition,
        "ExpressionAttributeValues": used,
    }


def assert_as_dynamodb(client: Any) -> None:
    for condition, keys in QUERIES.items():
        found = client.query(**asked(condition))["Items"]
        assert [item["id"]["S"] for item in found] == keys, condition
        found = client.query(**asked(condition), ScanIndexForward=False)["Items"]
        assert [item["id"]["S"] for item in found] == keys[::-1], condition
    for condition in REFUSED:
        with pytest.raises(ClientError) as refused:
            client.query(**asked(condition))
        assert refused.value.response["Error"]["Code"] == "ValidationException", condition
    scanned = client.scan(TableName=TABLE, IndexName=INDEX)["Items"]
    assert sorted(item["id"]["S"] for item in scanned) == list("abcdef")
    with pytest.raises(ClientError, match="Type mismatch for Index Key h2"):
        client.put_item(TableName=TABLE, Item={"id": {"S": "wrong"}, "h2": {"N": "1"}})


def assert_pages(client: Any) -> None:
    """With cursors that the client makes of the last item."""
    whole = QUERIES["h1 = :x AND h2 = :eu"]
    for limit in (1, 2, 3):
        seen: list[str] = []
        more: dict[str, Any] = {}
        while True:
            page = client.query(**asked("h1 = :x AND h2 = :eu"), Limit=limit, **more)
            seen += [item["id"]["S"] for item in page["Items"]]
            if "LastEvaluatedKey" not in page:
                break
            last = page["Items"][-1]
            more = {"ExclusiveStartKey": {name: last[name] for name in ("id", "h1", "h2", "r1", "r2")}}
            assert page["LastEvaluatedKey"] == more["ExclusiveStartKey"]
            if len(seen) > len(whole):
                break
        assert seen == whole, limit


def assert_agreed(here: Scene) -> None:
    here.proxy.settle()
    verdicts = here.verdicts()
    assert verdicts.get("mismatch", 0) == 0, str(here.proxy.mismatches())
    assert verdicts.get("agreed", 0) > 0, verdicts


@pytest.mark.parametrize("stage", ["shadow", "live"])
def test_both_stores_answer_alike(dynamodb: str, database: str, dsql_database: str, stage: str) -> None:
    make_table(dynamodb)
    with scene(dynamodb, dsql_database, rows=database, stage=stage, billio=False, environment=FOLLOW) as here:
        fill(here.client())
        assert_as_dynamodb(here.client())
        assert_pages(here.client())
        assert_agreed(here)
        here.assert_equal(TABLE)


def test_dsql_answers_alone(dynamodb: str, database: str, dsql_database: str) -> None:
    make_table(dynamodb)
    with scene(dynamodb, dsql_database, rows=database, stage="shadow", billio=False, environment=FOLLOW) as before:
        fill(before.client())
        before.proxy.settle()
    nowhere = f"http://127.0.0.1:{free_port()}"
    with scene(nowhere, dsql_database, rows=database, stage="complete", billio=False, environment=FOLLOW) as alone:
        assert_as_dynamodb(alone.client())
        assert_pages(alone.client())
        [index] = alone.client().describe_table(TableName=TABLE)["Table"]["GlobalSecondaryIndexes"]
        assert [key["AttributeName"] for key in index["KeySchema"]] == ["h1", "h2", "r1", "r2"]


@pytest.mark.parametrize("stage", ["live", "complete"])
def test_a_column_mapping_serves_it(
    dynamodb: str, database: str, dsql_database: str, stage: str, tmp_path: Path
) -> None:
    make_table(dynamodb)
    mapping = tmp_path / "matches.toml"
    mapping.write_text(MAPPING, "utf-8")
    for statement in (MAKE_TABLE, MAKE_INDEX):
        asyncio.run(run_sql(database, statement))
    with scene(dynamodb, dsql_database, rows=database, stage=stage, mapping=mapping) as here:
        fill(here.client())
        assert_as_dynamodb(here.client())
        assert_pages(here.client())
        if stage == "live":
            assert_agreed(here)
