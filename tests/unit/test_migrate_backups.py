"""The plan's JSON backups as items: dates to the millisecond, numbers digit by digit, files a piece at a time."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.migrate.backfill import backup_source as backups
from proxy.migrate.backfill.backup_source import BackupSource, epoch_milliseconds, read_array
from proxy.migrate.table_jobs.sources import Portion, ReferenceFilter, SourceError
from tests.property.mapping_cases import BILLIO, BILLIO_MAPPING

BOOK: dict[str, Any] = {
    "id": "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    "type": "Book",
    "shelf": "Read",
    "title": "Dune – Ä 雪",
    "movedAt": "2023-11-14T22:13:20.123Z",
    "addedAt": 1_600_000_000_000,
    "reread": False,
    "image": {"url": "https://e.x/a", "width": 300},
    "tags": ["a", None],
}


def source(folder: Path) -> BackupSource:
    return BackupSource(folder, BILLIO_MAPPING, BILLIO, reader=None)  # type: ignore[arg-type]  # nothing is asked


async def portions(folder: Path, part: str, after: Any = None, only: ReferenceFilter | None = None) -> list[Portion]:
    return [each async for each in source(folder).portions(part, after, only)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1970-01-01T00:00:00.000Z", "0"),
        ("2023-11-14T22:13:20.123Z", "1700000000123"),
        ("2023-11-14T22:13:20Z", "1700000000000"),
        ("2023-11-14T23:13:20.001+01:00", "1700000000001"),
        ("2023-11-14", "1699920000000"),
        ("1969-12-31T23:59:59.999Z", "-1"),
        ("0001-01-01T00:00:00.000Z", "-62135596800000"),
        ("9999-12-31T23:59:59.999Z", "253402300799999"),
        ("2023-11-14T22:13:20.123456Z", "1700000000123.456"),
    ],
)
def test_an_instant_is_exact(text: str, wanted: str) -> None:
    assert epoch_milliseconds(text) == wanted


@pytest.mark.parametrize("text", ["2023-11-14T22:13:20", "yesterday", "", "2023-11-14T22:13:20.1234567Z", "2023-13-01"])
def test_what_names_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        epoch_milliseconds(text)


@given(st.integers(-62_135_596_800_000, 253_402_300_799_999))
def test_every_millisecond_survives_javascript(epoch: int) -> None:
    from datetime import UTC, datetime, timedelta

    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=epoch)
    assert epoch_milliseconds(at.isoformat(timespec="milliseconds").replace("+00:00", "Z")) == str(epoch)


async def test_an_object_becomes_the_item_it_was(tmp_path: Path) -> None:
    path = tmp_path / "Book.json"
    path.write_text(
        json.dumps([BOOK], ensure_ascii=False)[:-1].replace("300", '300, "ratio": 0.1234567890123456789') + "]"
    )
    [portion] = await portions(tmp_path, "Book.json")
    [(key, item)] = portion.items.items()
    assert key.attributes == {"type:id": {"S": f"Book:{BOOK['id']}"}}
    assert item == {
        "id": {"S": BOOK["id"]},
        "type": {"S": "Book"},
        "type:id": {"S": f"Book:{BOOK['id']}"},
        "shelf": {"S": "Read"},
        "type:shelf": {"S": "Book:Read"},
        "title": {"S": "Dune – Ä 雪"},
        "movedAt": {"N": "1700000000123"},
        "addedAt": {"N": "1600000000000"},
        "reread": {"BOOL": False},
        "image": {"M": {"url": {"S": "https://e.x/a"}, "width": {"N": "300"}, "ratio": {"N": "0.1234567890123456789"}}},
        "tags": {"L": [{"S": "a"}, {"NULL": True}]},
    }


async def test_the_file_gives_the_type_where_the_object_does_not(tmp_path: Path) -> None:
    (tmp_path / "Book.json").write_text('[{"id": "x"}]')
    [portion] = await portions(tmp_path, "Book.json")
    [item] = portion.items.values()
    assert item == {"id": {"S": "x"}, "type": {"S": "Book"}, "type:id": {"S": "Book:x"}}


async def test_what_is_no_item_is_told_by_its_place_and_not_its_content(tmp_path: Path) -> None:
    bad = [{**BOOK, "movedAt": "soon, at Bob's"}, 7, {"title": "no id"}, BOOK]
    (tmp_path / "Book.json").write_text(json.dumps(bad))
    [portion] = await portions(tmp_path, "Book.json")
    assert len(portion.items) == 1
    assert [each.place for each in portion.malformed] == [f"Book.json, item {n}" for n in (1, 2, 3)]
    assert "movedAt" in portion.malformed[0].reason
    assert "Bob" not in str(portion.malformed)
    second = await portions(tmp_path, "Book.json", only=ReferenceFilter(("seriesId",), referring=True))
    assert not second[0].items
    assert not second[0].malformed


async def test_reading_goes_on_after_any_portion(tmp_path: Path) -> None:
    many = [{**BOOK, "id": str(number)} for number in range(1203)]
    (tmp_path / "Book.json").write_text(json.dumps(many))
    all_of_it = await portions(tmp_path, "Book.json")
    assert [len(each.items) for each in all_of_it] == [500, 500, 203]
    rest = await portions(tmp_path, "Book.json", after=all_of_it[0].position)
    assert [each.items for each in rest] == [each.items for each in all_of_it[1:]]


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.sampled_from(["],[", '"', "\\", "é"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=8,
)


@given(st.lists(_JSON, max_size=8), st.integers(1, 7), st.sampled_from([None, 1]))
def test_an_array_is_read_whole_however_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, found: list[Any], piece: int, indent: int | None
) -> None:
    path = tmp_path_factory.mktemp("backup") / "x.json"
    path.write_text(json.dumps(found, indent=indent, ensure_ascii=False), "utf-8")
    before = backups._PIECE
    backups._PIECE = piece  # type: ignore[misc]
    try:
        read = [json.loads(json.dumps(each), parse_int=str) for each, _ in read_array(path)]
    finally:
        backups._PIECE = before  # type: ignore[misc]
    assert read == json.loads(json.dumps(found), parse_int=str)


@pytest.mark.parametrize("text", ["", "{}", "[1, 2", '[{"a": }]', "[1,"])
def test_what_is_no_array_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "Book.json"
    path.write_text(text)
    with pytest.raises(SourceError, match=r"Book\.json"):
        list(read_array(path))


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"contains no \.json files"):
        source(tmp_path)


def test_checkpoints_know_a_backup_by_its_content(tmp_path: Path) -> None:
    """A position in one backup says nothing of another, be it in the same folder (L4)."""
    one, same, other, renamed = (tmp_path / name for name in ("one", "same", "other", "renamed"))
    for folder, name, titles in (
        (one, "Book.json", ["a", "b"]),
        (same, "Book.json", ["a", "b"]),
        (other, "Book.json", ["a", "c"]),
        (renamed, "Feature.json", ["a", "b"]),
    ):
        folder.mkdir()
        (folder / name).write_text(json.dumps([BOOK | {"title": title} for title in titles]), "utf-8")
    assert source(one).name == source(same).name
    assert len({source(folder).name for folder in (one, other, renamed)}) == 3
    before = source(one).name
    (one / "Book.json").write_text((other / "Book.json").read_text("utf-8"), "utf-8")
    assert source(one).name == source(other).name != before
