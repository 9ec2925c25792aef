"""What one would write instead of Crossfade for a GetItem, a PutItem and a Query: both stores at once, and compare.

`python -m benchmarks.handwritten PORT ENDPOINT DSN`. It has no retries, time limits, journal or second look.
"""

import asyncio
import sys
from typing import Any

import aioboto3
import asyncpg
import uvloop
from aiohttp import web
from boto3.dynamodb.types import TypeDeserializer

SHARED = ("title", "shelf", "notes", "category")
BY_KEY = "SELECT * FROM items WHERE type = $1 AND id = $2"
BY_SHELF = "SELECT * FROM items WHERE type = $1 AND shelf = $2 ORDER BY moved_at"
UPSERT = """INSERT INTO items (type, id, shelf, title, notes, data) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (type, id) DO UPDATE SET shelf = $3, title = $4, notes = $5, data = $6"""


async def main(port: int, endpoint: str, dsn: str) -> None:
    python = TypeDeserializer().deserialize
    async with (
        aioboto3.Session().client("dynamodb", endpoint_url=endpoint) as client,
        asyncpg.create_pool(dsn, min_size=4, max_size=16) as pool,
    ):

        async def handle(request: web.Request) -> web.Response:
            asked = await request.json()
            action = request.headers["X-Amz-Target"].rpartition(".")[2]
            if action == "GetItem":
                key = asked["Key"]["type:id"]["S"].split(":", 1)
                answer, row = await asyncio.gather(client.get_item(**asked), pool.fetchrow(BY_KEY, *key))
                compare([answer["Item"]], [row])
            elif action == "Query":
                key = asked["ExpressionAttributeValues"][":shelf"]["S"].split(":", 1)
                answer, rows = await asyncio.gather(client.query(**asked), pool.fetch(BY_SHELF, *key))
                compare(answer["Items"], rows)
            else:
                put = {name: python(value) for name, value in asked["Item"].items()}
                row = [put.get(name) for name in ("type", "id", "shelf", "title", "notes")]
                answer, _ = await asyncio.gather(client.put_item(**asked), pool.execute(UPSERT, *row, "{}"))
            answer.pop("ResponseMetadata", None)
            return web.json_response(answer, content_type="application/x-amz-json-1.0")

        def compare(items: list[Any], rows: list[Any]) -> None:
            for held, row in zip(items, rows, strict=False):
                plain = {name: python(value) for name, value in held.items()}
                if any(plain.get(name) != row[name] for name in SHARED):
                    print("mismatch", plain["type:id"], flush=True)

        application = web.Application()
        application.router.add_post("/", handle)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
