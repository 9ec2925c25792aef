"""Billio's own client, Dynamoose on AWS SDK v2, and both SDKs as they come, gets what it always got.

Each session is played at one endpoint and its answers checked for what they must be; test modules that have a proxy
running play the same session there and compare: import `play` and `smoke`.
"""

from typing import Any

import pytest

from tests.data import catalogue
from tests.node_clients import dynamoose, sdk_smoke
from tests.standins.billio import TABLE, billio_table

_BOOKS = [item for item in catalogue() if item["type"]["S"] == "Book"][:14]
_SERIES = next(item for item in catalogue() if item["title"]["S"] == "Avatar: The Last Airbender")
_SEASONS = [item for item in catalogue() if item.get("seriesId") == _SERIES["id"]]
_FILM = next(item for item in catalogue() if item["title"]["S"] == "Playtime")


def plain(value: dict[str, Any]) -> Any:
    """An attribute value as a JavaScript application would write it."""
    tag, content = next(iter(value.items()))
    if tag == "N":
        return float(content) if "." in content else int(content)
    if tag == "L":
        return [plain(element) for element in content]
    if tag == "M":
        return {name: plain(inner) for name, inner in content.items()}
    return content


def document(item: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {name: plain(value) for name, value in item.items()}


def key(item: dict[str, dict[str, Any]]) -> str:
    return str(item["type:id"]["S"])


def session() -> list[dict[str, Any]]:
    """What Billio's data layer does in a day: create, update, delete, eight indexes, counts, batches, transactions."""
    first, second, third, *rest = _BOOKS
    by_type = [["type", "eq", "Book"]]
    on_shelf = [["type:shelf", "eq", "Book:Read"]]
    series = _SERIES["id"]["S"]
    return [
        *({"do": "create", "item": document(item)} for item in (first, second, third, _FILM)),
        {"do": "create", "item": document(first)},
        {"do": "batchPut", "items": [document(item) for item in rest]},
        {"do": "transaction", "actions": [{"create": document(item)} for item in (_SERIES, *_SEASONS)]},
        {"do": "get", "key": key(first)},
        {"do": "get", "key": key(first), "consistent": False},
        {"do": "get", "key": "Book:nowhere"},
        {
            "do": "update",
            "key": key(first),
            "change": {"rating": 8.5, "notes": "é 🎉", "image": {"url": "u", "width": 1}},
        },
        {"do": "update", "key": key(first), "change": {"$REMOVE": ["notes"], "$ADD": {"rating": 0.5}}},
        {"do": "update", "key": key(first), "change": {"rating": 3}, "only": [["rating", "gt", 9.5]]},
        {
            "do": "update",
            "key": key(second),
            "change": {"shelf": "Read", "type:shelf": "Book:Read", "movedAt": 1_800_000_000_000},
        },
        {"do": "get", "key": key(second)},
        {"do": "delete", "key": key(third), "only": [["shelf", "eq", "nonesuch"]]},
        {"do": "delete", "key": key(third), "only": [["type:id", "exists"]]},
        {"do": "delete", "key": key(third), "only": [["type:id", "exists"]]},
        {"do": "count", "index": "type", "where": by_type},
        {"do": "page", "index": "type", "where": by_type, "sort": "descending", "limit": 5},
        {"do": "pages", "index": "type", "where": by_type, "sort": "descending", "limit": 4},
        {"do": "pages", "index": "type-addedAt", "where": by_type, "sort": "ascending", "limit": 4},
        {"do": "pages", "index": "title", "where": [*by_type, ["title", "beginsWith", "T"]], "limit": 2},
        {"do": "count", "index": "shelf", "where": on_shelf, "filter": [["rating", "ge", 7]]},
        {"do": "pages", "index": "shelf", "where": on_shelf, "sort": "descending", "limit": 3},
        {"do": "pages", "index": "shelf-addedAt", "where": on_shelf, "filter": [["rating", "ge", 7]], "limit": 3},
        {"do": "page", "index": "category", "where": [["category", "eq", "watching"]], "sort": "descending"},
        {"do": "page", "index": "seriesId", "where": [["seriesId", "eq", series]], "sort": "ascending"},
        {"do": "pages", "index": "seriesId", "where": [["seriesId", "eq", series]], "limit": 2},
        {"do": "page", "index": "externalId", "where": [["externalId", "eq", _SERIES["externalId"]["S"]]]},
        {"do": "scan", "filter": [["type", "eq", "TvSeason"]]},
        {"do": "scan", "segments": 3},
        {"do": "batchGet", "keys": [key(item) for item in rest]},
        {
            "do": "transaction",
            "actions": [
                {"update": key(first), "change": {"rating": 10}},
                {"check": key(second), "only": [["shelf", "eq", "nonesuch"]]},
            ],
        },
        {"do": "transaction", "actions": [{"update": key(first), "change": {"rating": 10}}, {"delete": key(second)}]},
        {"do": "transaction", "actions": [{"get": key(first)}, {"get": key(_FILM)}]},
        {"do": "batchDelete", "keys": [key(item) for item in rest[:5]]},
        {"do": "count", "index": "type", "where": by_type},
    ]


def play(endpoint: str) -> list[dict[str, Any]]:
    """The session's answers at an endpoint that has no table yet."""
    billio_table(endpoint)
    return dynamoose(endpoint, TABLE, session())


def smoke(endpoint: str, version: str) -> list[tuple[str, dict[str, Any]]]:
    """The SDK smoke test's answers at an endpoint that has no table yet."""
    billio_table(endpoint)
    return sdk_smoke(endpoint, TABLE, version)


def test_billios_data_layer_works_on_the_stand_in(dynamodb: str) -> None:
    asked = session()
    answers = play(dynamodb)
    assert len(answers) == len(asked)
    failed = {position: answer["error"] for position, answer in enumerate(answers) if "error" in answer}
    commands = {position: asked[position]["do"] for position in failed}
    assert sorted(zip(commands.values(), failed.values(), strict=True)) == [
        ("create", "ConditionalCheckFailedException"),
        ("delete", "ConditionalCheckFailedException"),
        ("delete", "ConditionalCheckFailedException"),
        ("transaction", "TransactionCanceledException"),
        ("update", "ConditionalCheckFailedException"),
    ]
    counts = [answer["ok"]["count"] for command, answer in zip(asked, answers, strict=True) if command["do"] == "count"]
    assert counts[0] == len(_BOOKS) - 1
    assert counts[-1] == len(_BOOKS) - 2 - 5
    pages = next(answer["ok"] for command, answer in zip(asked, answers, strict=True) if command["do"] == "pages")
    assert [len(page) for page in pages] == [4, 4, 4, 1]
    asked_for = {"do": "page", "index": "seriesId"}
    seasons = next(a["ok"]["items"] for c, a in zip(asked, answers, strict=True) if asked_for.items() <= c.items())
    assert [season["seasonNumber"] for season in seasons] == [1, 2, 3]


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_the_sdks_work_on_the_stand_in(dynamodb: str, version: str) -> None:
    answers = smoke(dynamodb, version)
    errors = [(operation, answer["error"]) for operation, answer in answers if "error" in answer]
    assert errors == [
        ("PutItem", "ConditionalCheckFailedException"),
        ("TransactWriteItems", "TransactionCanceledException"),
        ("DescribeTable", "ResourceNotFoundException"),
    ]
    updated = next(answer["Attributes"] for operation, answer in answers if operation == "UpdateItem")
    assert updated["rating"] == {"N": "9"}
    assert sorted(updated["tags"]["SS"]) == ["a", "b", "c"]
    assert [answer["Count"] for operation, answer in answers if operation == "Query"] == [3, 1, 4]
    assert [answer["Count"] for operation, answer in answers if operation == "Scan"] == [3]
