"""What the demo's story is told of: the catalogue. The story itself is told in test_through_proxy."""

from tests.data import catalogue
from tests.standins.billio import INDEXES


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
