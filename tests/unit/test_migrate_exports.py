"""DynamoDB's exports to S3: believed only when every checksum holds."""

import gzip
import hashlib
import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.migrate.backfill.export_source import ExportSource, S3Files, local_files, read_manifests
from proxy.migrate.table_jobs.sources import Portion, SourceError
from tests.integration.whole_tables import write_export, write_export_lines
from tests.property.mapping_cases import BILLIO

ITEMS: list[Any] = [
    {"type:id": {"S": f"Book:{n}"}, "type": {"S": "Book"}, "id": {"S": f"{n}"}, "b": {"B": "AAE="}} for n in range(1300)
]


async def source(folder: Path, share: tuple[int, int] = (1, 1)) -> ExportSource:
    files = local_files(folder)
    export = await read_manifests(files, str(folder), "billio")
    return ExportSource(export, files, BILLIO, reader=None, share=share)  # type: ignore[arg-type]  # nothing is asked


async def portions(found: ExportSource, part: str, after: Any = None) -> list[Portion]:
    return [each async for each in found.portions(part, after, None)]


async def test_every_item_comes_once(tmp_path: Path) -> None:
    found = await source(write_export(tmp_path / "export", ITEMS))
    assert found.total == len(ITEMS)
    come = [item for part in found.parts() for each in await portions(found, part) for item in each.items.values()]
    assert sorted(come, key=str) == sorted(ITEMS, key=str)


async def test_shares_divide_the_files(tmp_path: Path) -> None:
    folder = write_export(tmp_path / "export", ITEMS)
    parts = [part for n in (1, 2) for part in (await source(folder, (n, 2))).parts()]
    assert sorted(parts) == sorted((await source(folder)).parts())


async def test_reading_goes_on_after_a_portion(tmp_path: Path) -> None:
    found = await source(write_export(tmp_path / "export", ITEMS, files=1))
    [part] = found.parts()
    whole = await portions(found, part)
    assert len(whole) == 3
    rest = await portions(found, part, after=whole[0].position)
    assert [each.items for each in rest] == [each.items for each in whole[1:]]


async def test_the_summary_itself_can_be_named(tmp_path: Path) -> None:
    folder = write_export(tmp_path / "export", ITEMS[:3])
    files = local_files(folder / "manifest-summary.json")
    assert (await read_manifests(files, "here", "billio")).items == 3


async def test_deletions_of_an_incremental_export_come_as_keys(tmp_path: Path) -> None:
    lines = [json.dumps({"Metadata": {}, "Keys": {"type:id": {"S": "Book:1"}}, "OldImage": ITEMS[1]})]
    lines.append(json.dumps({"Metadata": {}, "Keys": {"type:id": {"S": "Book:2"}}, "NewImage": ITEMS[2]}))
    folder = write_export_lines(tmp_path / "export", [lines], summary={"exportType": "INCREMENTAL_EXPORT"})
    found = await source(folder)
    [portion] = await portions(found, found.parts()[0])
    assert [key.attributes for key in portion.keys_without_item] == [{"type:id": {"S": "Book:1"}}]
    assert list(portion.items.values()) == [ITEMS[2]]


def _data(folder: Path) -> Path:
    return next((folder / "data").iterdir())


def _flip(folder: Path) -> None:
    path = _data(folder)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _rewrite_summary(**changes: Any) -> Callable[[Path], None]:
    def rewrite(folder: Path) -> None:
        path = folder / "manifest-summary.json"
        text = json.dumps(json.loads(path.read_text()) | changes)
        path.write_text(text)
        checksum = b64encode(hashlib.md5(text.encode()).digest()).decode()
        (folder / "manifest-summary.checksum").write_text(checksum)

    return rewrite


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_flip, "its MD5 differs from the manifest's"),
        (lambda folder: _data(folder).unlink(), "has no data file"),
        (lambda folder: (folder / "manifest-summary.json").unlink(), "has no manifest-summary.json"),
        (lambda folder: (folder / "manifest-files.json").unlink(), "has no manifest-files.json"),
        (lambda folder: (folder / "manifest-files.json").write_text("{}\n"), "its checksum file does not match"),
        (_rewrite_summary(outputFormat="ION"), "is in the format ION: export in DynamoDB JSON"),
        (_rewrite_summary(tableArn="arn:aws:dynamodb:us-east-1:1:table/other"), "an export of table 'other'"),
    ],
)
async def test_what_is_damaged_or_another_is_refused(tmp_path: Path, damage: Any, said: str) -> None:
    folder = write_export(tmp_path / "export", ITEMS[:20], files=1)
    damage(folder)

    async def read() -> None:
        found = await source(folder)
        for part in found.parts():
            await portions(found, part)

    with pytest.raises(SourceError, match=said):
        await read()


async def test_a_file_with_fewer_items_than_promised_is_refused(tmp_path: Path) -> None:
    folder = write_export(tmp_path / "export", ITEMS[:20], files=1)
    listed = folder / "manifest-files.json"
    text = listed.read_text().replace('"itemCount": 20', '"itemCount": 21')
    listed.write_text(text)
    (folder / "manifest-files.checksum").write_text(b64encode(hashlib.md5(text.encode()).digest()).decode())
    found = await source(folder)
    with pytest.raises(SourceError, match="has 20 items, the manifest says 21"):
        await portions(found, found.parts()[0])


class Body:
    """What aioboto3 gives for an object's body."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aenter__(self) -> "Body":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._content = b""

    async def read(self, size: int = -1) -> bytes:
        some, self._content = (self._content, b"") if size < 0 else (self._content[:size], self._content[size:])
        return some


class Bucket:
    """An S3 client over a folder: the two calls that are made, as aioboto3 answers them."""

    class exceptions:  # noqa: N801
        class NoSuchKey(Exception): ...

    def __init__(self, folder: Path, etag: str | None = None) -> None:
        self._folder = folder
        self._etag = etag

    async def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        assert Bucket == "exports"
        inside = Key.removeprefix("AWSDynamoDB/01693685827463-2d8752fd/")
        path = self._folder / inside
        if not path.is_file():
            raise self.exceptions.NoSuchKey
        content = path.read_bytes()
        return {"Body": Body(content), "ETag": f'"{self._etag or hashlib.md5(content).hexdigest()}"'}


URL = "s3://exports/AWSDynamoDB/01693685827463-2d8752fd"


@pytest.mark.parametrize("url", [URL, URL + "/", URL + "/manifest-summary.json"])
async def test_an_export_is_read_from_s3(tmp_path: Path, url: str) -> None:
    files = S3Files(Bucket(write_export(tmp_path / "export", ITEMS)), url)
    export = await read_manifests(files, url, "billio")
    found = ExportSource(export, files, BILLIO, reader=None)  # type: ignore[arg-type]
    come = [item for part in found.parts() for each in await portions(found, part) for item in each.items.values()]
    assert len(come) == len(ITEMS)


async def test_an_object_that_was_replaced_in_s3_is_refused(tmp_path: Path) -> None:
    files = S3Files(Bucket(write_export(tmp_path / "export", ITEMS), etag="0" * 32), URL)
    export = await read_manifests(files, URL, "billio")
    found = ExportSource(export, files, BILLIO, reader=None)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="ETag"):
        await portions(found, found.parts()[0])


def test_the_files_written_here_are_gzip(tmp_path: Path) -> None:
    folder = write_export(tmp_path / "export", ITEMS[:2], files=1)
    with gzip.open(_data(folder), "rt") as lines:
        assert [json.loads(line)["Item"] for line in lines] == ITEMS[:2]
