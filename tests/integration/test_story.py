"""The demo's story, told to the stand-in alone: it must be the same every time, and leave nothing out."""

from tests.data import catalogue
from tests.standins.billio import INDEXES, TABLE, billio_table
from tests.standins.dynamodb import Ministack
from tests.story.chapters import CHAPTERS, Narrator

OPERATIONS = {
    "put_item",
    "get_item",
    "update_item",
    "delete_item",
    "query",
    "scan",
    "batch_get_item",
    "batch_write_item",
    "transact_get_items",
    "transact_write_items",
}


def told(ministack: Ministack) -> Narrator:
    ministack.reset()
    billio_table(ministack.endpoint)
    story = Narrator(ministack.endpoint, TABLE)
    for chapter in CHAPTERS.values():
        chapter(story)
    return story


def test_the_story_is_the_same_every_time_and_uses_all_of_the_api(ministack: Ministack) -> None:
    first, second = told(ministack), told(ministack)
    assert first.answers == second.answers
    assert set(first.calls) == OPERATIONS
    assert sum(first.calls.values()) > 1000
    errors = {answer["error"] for _, answer in first.answers if "error" in answer}
    assert errors == {
        "ConditionalCheckFailedException",
        "TransactionCanceledException",
        "ResourceNotFoundException",
        "ValidationException",
    }


def test_the_catalogue_has_the_oddities_it_promises() -> None:
    items = catalogue()
    keys = [item["type:id"]["S"] for item in items]
    assert len(set(keys)) == len(keys) > 400
    for item in items:
        assert item["type:id"]["S"] == f"{item['type']['S']}:{item['id']['S']}"
        assert item["type:shelf"]["S"] == f"{item['type']['S']}:{item['shelf']['S']}"
    ids = [item["id"]["S"] for item in items]
    series = {item["id"]["S"] for item in items if item["type"]["S"] == "TvSeries"}
    assert len(ids) - len(set(ids)) == 2
    assert any(id_ != id_.lower() for id_ in ids)
    assert any(len(item["title"]["S"]) > 500 for item in items)
    assert {item["seriesId"]["S"] for item in items if item["type"]["S"] == "TvSeason"} == series
    assert {"0", "10"} <= {item["seasonNumber"]["N"] for item in items if "seasonNumber" in item}
    assert any(item["rating"] == {"NULL": True} for item in items if "rating" in item)
    for hash_key, range_key, kind in INDEXES.values():
        assert any(kind in item[range_key] for item in items if hash_key in item and range_key in item)
