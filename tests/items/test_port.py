"""The items port by its client: what it answers, to whom, and in which words it refuses."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from gql import Client, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportQueryError
from graphql import print_schema
from prometheus_client import CollectorRegistry

from proxy.items import client
from proxy.items.client import ItemsClient, ItemsError
from proxy.items.errors import ItemsAPIError
from proxy.items.graphql_schema import schema
from proxy.web.bearer_tokens import BearerTokens, Role
from tests.items.catalogues import RunningLayer, catalogue_of, layer_at
from tests.items.ports import port

READ, WRITE = "read-0123456789abcdef", "write-0123456789abcdef"
DOCS = Path(__file__).parents[2] / "docs" / "items.md"
SDL = Path(__file__).with_name("schema.graphql")


@pytest_asyncio.fixture
async def layer(stores: tuple[str, str], tmp_path: Path) -> AsyncIterator[RunningLayer]:
    async with layer_at("shadow", *stores, tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def url(layer: RunningLayer) -> AsyncIterator[str]:
    async with port(layer) as at:
        yield at


async def refused(call: Any) -> ItemsError:
    with pytest.raises(ItemsError) as error:
        await call
    return error.value


async def test_an_item_s_life_by_the_client(url: str) -> None:
    async with ItemsClient(url) as items:
        book = await items.create(
            {"type": "Book", "shelf": "Reading", "title": "Über-Dune", "rating": 8.5, "mine": {"a": [1, None]}}
        )
        assert (book["rating"], book["mine"]) == (8.5, {"a": [1, None]})
        assert await items.get("Book", book["id"]) == book
        moved = await items.update("Book", book["id"], {"shelf": "Read", "rating": None})
        assert moved == {
            **{n: v for n, v in book.items() if n != "rating"},
            "shelf": "Read",
            "movedAt": moved["movedAt"],
        }
        page = await items.page(
            "Book", shelf="Read", search="ÜBER", start_date=datetime(2020, 1, 1, tzinfo=UTC), total=True
        )
        assert (page.items, page.total, page.has_next_page) == ([moved], 1, False)
        assert (await refused(items.create({**book, "title": "again"}))).code == "EXISTS"
        assert (await items.create({**book, "title": "again"}, overwrite=True))["title"] == "again"
        await items.delete("Book", book["id"])
        assert await items.get("Book", book["id"]) is None
        assert (await refused(items.delete("Book", book["id"]))).status == 404


@pytest.mark.parametrize("text", [DOCS.read_text("utf-8").partition("## In Python")[2], client.__doc__ or ""])
async def test_the_documented_examples_run(text: str, url: str) -> None:
    code = re.search(r"^    async with.*?^            \.\.\.$", text, re.MULTILINE | re.DOTALL)
    assert code is not None
    run: dict[str, Any] = {"ItemsClient": ItemsClient, "token": WRITE}
    exec(f"async def example():\n{code[0].replace('http://127.0.0.1:8002', url)}\n    return book", run)
    book = await run["example"]()
    assert (book["type"], book["title"]) == ("Book", "Dune")


async def test_watching_seasons_and_external_ids_by_the_client(url: str) -> None:
    async with ItemsClient(url) as items:
        series = await items.create({"type": "TvSeries", "shelf": "s", "title": "Dark", "externalId": "tmdb/1 ?"})
        await items.create({"type": "Feature", "shelf": "s", "title": "Dune"})
        for number in (11, 2):
            season = {"type": "TvSeason", "shelf": "s", "title": "Dark", "seriesId": series["id"]}
            await items.create({**season, "seasonNumber": number})
        assert [each["seasonNumber"] for each in (await items.seasons(series["id"])).items] == [2, 11]
        assert await items.with_external_id("tmdb/1 ?") == [series]
        assert [each["title"] async for each in items.all("watching", sort_by="TITLE", first=1)] == ["Dark", "Dune"]


async def test_refusals_name_field_and_rule(url: str) -> None:
    async with ItemsClient(url) as items:
        told = await refused(items.create({"type": "Book", "title": "x", "rating": 12}))
        assert (told.status, told.code) == (400, "INVALID")
        assert told.errors == (
            ("rating", "a number from 0 to 10, with at most 3 decimals"),
            ("shelf", "must be given"),
        )
        assert (await refused(items.page("Book", after="made-up"))).code == "CURSOR"
    async with aiohttp.ClientSession(url) as session:
        for method, path, status in (
            ("GET", "/items?type=Book&type=Feature", 400),
            ("GET", "/items?colour=red&type=Book", 400),
            ("GET", "/nowhere", 404),
            ("PUT", "/items", 405),
            ("POST", "/items", 415),
        ):
            async with session.request(method, path) as answer:
                assert (answer.status, answer.content_type) == (status, "application/problem+json"), path
        for body in (b"{", b"[" * 100_000, b"\xff", b'{"type": NaN}', b"1" * 5000):
            headers = {"Content-Type": "application/json"}
            async with session.post("/items", data=body, headers=headers) as answer:
                assert answer.status == 400, body[:10]


async def test_a_table_that_is_not_there_is_named(layer: RunningLayer) -> None:
    with pytest.raises(
        ItemsAPIError, match=r"there is no table elsewhere, or it lacks an index: see table in \[items\]"
    ):
        await catalogue_of(layer, "elsewhere").with_id("Book", "00000000-0000-4000-8000-000000000000")


async def test_tokens_say_who_reads_and_who_writes(layer: RunningLayer) -> None:
    registry = CollectorRegistry()
    tokens = BearerTokens([(Role.READER, READ), (Role.OPERATOR, WRITE)])
    book = {"type": "Book", "shelf": "s", "title": "t"}
    async with port(layer, tokens, registry) as url:
        async with ItemsClient(url, token=WRITE) as writer, ItemsClient(url, token=READ) as reader:
            item = await writer.create(book)
            assert await reader.get("Book", item["id"]) == item
            for call in (
                reader.create(book),
                reader.update("Book", item["id"], {}),
                reader.delete("Book", item["id"]),
            ):
                assert (await refused(call)).code == "FORBIDDEN"
        async with aiohttp.ClientSession(url) as session:
            for path in ("/items?type=Book", f"/items/Book/{item['id']}", "/watching", "/series/1/seasons"):
                async with session.get(path) as answer:
                    assert answer.status == 401
            query = {"query": 'mutation { deleteItem(type: Book, id: "1") }'}
            async with session.post("/graphql", json=query) as answer:
                assert answer.status == 401
            headers = {"Authorization": f"Bearer {READ}"}
            async with session.post("/graphql", json=query, headers=headers) as answer:
                assert (await answer.json())["errors"][0]["extensions"] == {"code": "FORBIDDEN"}
            async with session.get("/items?type=Book", headers={**headers, "Origin": "http://evil.example"}) as answer:
                assert answer.status == 403
    counted = registry.get_sample_value(
        "crossfade_items_requests_total", {"route": "GET /items/{type}/{id}", "status": "200"}
    )
    assert counted == 1


async def test_nobody_comes_in_another_way(layer: RunningLayer) -> None:
    """With what the data port takes, a wrong token, or the token where none is looked for."""
    body = {"type": "Book", "shelf": "s", "title": "t"}
    signed = (
        "AWS4-HMAC-SHA256 Credential=local/20261123/us-east-1/dynamodb/aws4_request, "
        f"SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
    )
    credentials: tuple[tuple[dict[str, str], str], ...] = (
        ({}, ""),
        ({"Authorization": signed}, ""),
        ({"Authorization": f"Basic {WRITE}"}, ""),
        ({"Authorization": f"Bearer {WRITE}x"}, ""),
        ({"Authorization": "Bearer "}, ""),
        ({"Cookie": f"token={WRITE}", "X-Amz-Security-Token": WRITE}, ""),
        ({}, f"?token={WRITE}&access_token={WRITE}"),
    )
    async with port(layer, BearerTokens([(Role.OPERATOR, WRITE)])) as url, aiohttp.ClientSession(url) as session:
        for headers, query in credentials:
            for method, path in (
                ("GET", "/items"),
                ("POST", "/items"),
                ("GET", "/items/Book/1"),
                ("PATCH", "/items/Book/1"),
                ("DELETE", "/items/Book/1"),
                ("GET", "/series/1/seasons"),
                ("GET", "/watching"),
                ("POST", "/graphql"),
            ):
                sent = body if method in ("POST", "PATCH") else None
                async with session.request(method, path + query, json=sent, headers=headers) as answer:
                    assert answer.status == 401, (method, path, headers)
                    assert "Bearer" in answer.headers["WWW-Authenticate"]
            wire = {**headers, "X-Amz-Target": "DynamoDB_20120810.PutItem"}
            async with session.post("/" + query, data=b"{}", headers=wire) as answer:
                assert answer.status == 405
    # Where no token is set, a page that had its name point here is turned away whatever it asks.
    async with port(layer) as url, aiohttp.ClientSession(url) as session:
        for path in ("/items?type=Book", "/", "/openapi.json"):
            async with session.get(path, headers={"Host": "evil.example"}) as answer:
                assert answer.status == 403


async def test_bodies_and_questions_have_their_limits(url: str) -> None:
    async with aiohttp.ClientSession(url) as session:
        for headers in ({}, {"Content-Encoding": "gzip"}):
            data = b'{"type": "Book", "notes": "' + b"x" * (1024 * 1024) + b'"}'
            packed = gzip.compress(data) if headers else data
            json_headers = {"Content-Type": "application/json", **headers}
            async with session.post("/items", data=packed, headers=json_headers) as answer:
                assert (answer.status, answer.content_type) == (413, "application/problem+json")
    async with ItemsClient(url) as items:
        # The longest of everything: a cursor with a title in it, a search and a shelf, all percent-encoded.
        shelf, title = "\N{EARTH GLOBE EUROPE-AFRICA}" * 100, "\N{EARTH GLOBE EUROPE-AFRICA}" * 250
        for kind in ("Feature", "TvSeries", "Feature"):
            await items.create({"type": kind, "shelf": shelf, "title": title})
        found = [item async for item in items.all("watching", first=1, shelf=shelf, search=title, sort_by="TITLE")]
        assert [item["type"] for item in found] == ["Feature", "Feature", "TvSeries"]


async def test_the_descriptions_are_served_and_need_nobody_else(url: str) -> None:
    async with aiohttp.ClientSession(url) as session:
        async with session.get("/") as answer:
            text = await answer.text()
            assert answer.status == 200
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "http://" not in text
        assert "https://" not in text
        assert "hoursPlayed" in text
        async with session.get("/openapi.json") as answer:
            assert (await answer.json())["openapi"] == "3.1.0"
        async with session.get("/schema.graphql") as answer:
            assert await answer.text() == SDL.read_text(encoding="utf-8")


def test_the_schema_in_the_repository_has_not_drifted() -> None:
    assert SDL.read_text(encoding="utf-8") == print_schema(schema()) + "\n"


async def test_graphql_by_a_real_client(url: str) -> None:
    transport = AIOHTTPTransport(f"{url}/graphql")
    async with Client(transport=transport, fetch_schema_from_transport=True) as session:

        async def ask(text: str, **variables: Any) -> dict[str, Any]:
            query = gql(text)
            query.variable_values = variables
            found: dict[str, Any] = await session.execute(query)
            return found

        create = """mutation ($item: BookInput!) { createBook(item: $item) { id title rating movedAt extra } }"""
        made = []
        for n, title in enumerate(("Dune", "DUNE Messiah", "Emma")):
            item = {"shelf": "Read", "title": title, "rating": 8 + n / 2, "extra": {"n": n}}
            made.append((await ask(create, item=item))["createBook"])
        assert [(each["rating"], each["extra"]) for each in made] == [(8.0, {"n": 0}), (8.5, {"n": 1}), (9.0, {"n": 2})]
        listing = """query ($filter: ItemFilterInput, $after: String) {
            items(type: Book, shelf: "Read", filter: $filter, first: 1, after: $after) {
                total hasNextPage nextPageCursor
                items { __typename title ... on Book { author reread } }
            } }"""
        filters = {"searchTerm": "dune", "minRating": 8, "startDate": "2020-01-01T00:00:00Z", "sortBy": "RATING"}
        one = (await ask(listing, filter=filters))["items"]
        assert (one["total"], one["hasNextPage"]) == (2, True)
        assert one["items"] == [{"__typename": "Book", "title": "DUNE Messiah", "author": None, "reread": None}]
        two = (await ask(listing, filter=filters, after=one["nextPageCursor"]))["items"]
        assert [each["title"] for each in two["items"]] == ["Dune"]
        assert (two["hasNextPage"], two["nextPageCursor"]) == (False, None)
        update = """mutation ($id: ID!, $changes: BookChanges!) {
            updateBook(id: $id, changes: $changes) { shelf rating author image { url width } } }"""
        changes = {"rating": None, "author": "Frank Herbert", "image": {"url": "u", "width": 3}}
        changed = (await ask(update, id=made[0]["id"], changes=changes))["updateBook"]
        assert changed == {
            "shelf": "Read",
            "rating": None,
            "author": "Frank Herbert",
            "image": {"url": "u", "width": 3},
        }
        both = """query ($id: ID!) { item(type: Book, id: $id) { title } watching { items { id } total } }"""
        assert await ask(both, id=made[0]["id"]) == {"item": {"title": "Dune"}, "watching": {"items": [], "total": 0}}
        assert (await ask(both, id="none"))["item"] is None
        delete = """mutation ($id: ID!) { deleteItem(type: Book, id: $id) }"""
        assert (await ask(delete, id=made[0]["id"]))["deleteItem"] == made[0]["id"]
        for text, variables, code in (
            (delete, {"id": made[0]["id"]}, "NOT_FOUND"),
            (create, {"item": {"shelf": "s", "title": ""}}, "INVALID"),
            (listing, {"after": "x"}, "CURSOR"),
        ):
            with pytest.raises(TransportQueryError) as error:
                await ask(text, **variables)
            assert error.value.errors is not None
            assert error.value.errors[0]["extensions"]["code"] == code


async def test_graphql_has_limits(url: str) -> None:
    async with aiohttp.ClientSession(url) as session:
        for query in (
            "{" + " ".join(f"a{n}: item(type: Book, id: 1) {{ id }}" for n in range(11)) + "}",
            "{" + "item " * 3000 + "}",
            "{ nothing }",
            "{",
            "fragment f on Query { watching { total } } query { ...f }",
        ):
            async with session.post("/graphql", json={"query": query}) as answer:
                told = await answer.json()
                assert (answer.status, told["data"]) == (200, None)
                assert told["errors"][0]["extensions"]["code"] == "GRAPHQL"


async def test_many_writers_of_one_item_lose_nothing(url: str) -> None:
    async with ItemsClient(url) as items:
        item = await items.create({"type": "Book", "shelf": "s", "title": "t", "marks": {"at": {}}})
        changes = [{"marks": {"at": {f"m{n}": n}}} for n in range(8)]
        await asyncio.gather(*(items.update("Book", item["id"], each) for each in changes))
        held = await items.get("Book", item["id"])
        assert held is not None
        assert held["marks"] == {"at": {f"m{n}": n for n in range(8)}}
