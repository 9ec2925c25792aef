"""The wire and the items port of one running proxy, at once on the same items: what one writes, the other reads."""

import asyncio

import aiohttp
import pytest

from proxy.items.client import ItemsClient
from tests.items.stores import CONFIG
from tests.proxy_process import ProxyProcess
from tests.standins.billio import TABLE, dynamodb_client

ITEMS = '[items]\nlisten = "127.0.0.1:0"\ncursor_secret = "0123456789abcdef"\n'


@pytest.mark.parametrize("stage", ["off", "shadow", "live"])
async def test_what_one_writes_the_other_reads(stage: str, stores: tuple[str, str]) -> None:
    endpoint, dsn = stores
    with ProxyProcess(
        dynamodb=endpoint, dsql=dsn, stage=stage, mappings=[CONFIG / "billio.toml"], extra=ITEMS
    ) as proxy:
        wire = dynamodb_client(proxy.data)
        async with ItemsClient(proxy.items) as items:

            async def by_the_wire(n: int) -> None:
                key = f"00000000-0000-0000-0000-{n:012d}"
                made = await items.create({"type": "Book", "id": key, "shelf": "A", "title": f"Ärger {n}"})
                at = {"type:id": {"S": f"Book:{key}"}}
                held = (await asyncio.to_thread(wire.get_item, TableName=TABLE, Key=at, ConsistentRead=True))["Item"]
                assert held["type:shelf"] == {"S": "Book:A"}
                await asyncio.to_thread(
                    wire.update_item,
                    TableName=TABLE,
                    Key=at,
                    UpdateExpression="SET rating = :r, tags = :t",
                    ExpressionAttributeValues={":r": {"N": "7.25"}, ":t": {"SS": ["a", "b"]}},
                )
                changed = await items.update("Book", key, {"notes": "both"})
                assert changed == {**made, "rating": 7.25, "tags": ["a", "b"], "notes": "both"}

            await asyncio.gather(*(by_the_wire(n) for n in range(12)))
            page = await items.page("Book", search="ÄRGER", min_rating=7.25, max_rating=7.25, total=True, first=5)
            assert (page.total, len(page.items), page.has_next_page) == (12, 5, True)
            found = [item async for item in items.all("Book", shelf="A", sort_by="TITLE", first=5)]
            assert [item["title"] for item in found] == sorted(f"Ärger {n}" for n in range(12))
            queried = wire.query(
                TableName=TABLE,
                IndexName="shelf",
                KeyConditionExpression="#s = :s",
                ExpressionAttributeNames={"#s": "type:shelf"},
                ExpressionAttributeValues={":s": {"S": "Book:A"}},
            )
            assert {item["id"]["S"] for item in queried["Items"]} == {item["id"] for item in found}
        if stage != "off":
            verdicts = {each["verdict"] for each in proxy.status()["comparisons"]}
            assert verdicts <= {"agreed", "lagging", "racing"}
            assert proxy.mismatches() == []
        counted = proxy.metrics()["crossfade_items_requests_total"]
        assert {"route": "POST /items", "status": "201"} in [labels for labels, _ in counted]


async def test_the_wire_cannot_ask_for_a_listing(stores: tuple[str, str]) -> None:
    """It is an operation of Crossfade's own: to the wire it is one that DynamoDB does not know."""
    endpoint, dsn = stores
    with ProxyProcess(dynamodb=endpoint, dsql=dsn, stage="live", mappings=[CONFIG / "billio.toml"]) as proxy:
        assert proxy.items == ""
        headers = {
            "X-Amz-Target": "DynamoDB_20120810.Items.Query",
            "Content-Type": "application/x-amz-json-1.0",
            "Authorization": "AWS4-HMAC-SHA256 Credential=x",
        }
        body = {"TableName": TABLE, "IndexName": "type", "Hash": {"S": "Book"}, "Sort": "movedAt", "Limit": 1}
        async with aiohttp.ClientSession() as session, session.post(proxy.data, json=body, headers=headers) as answer:
            assert answer.status >= 400
