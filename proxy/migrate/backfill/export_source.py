"""Reads a DynamoDB export, full or incremental, from S3 or from a copy in a folder.

The manifests name the files and their MD5; a file is used only if its MD5 matches. Format: "DynamoDB table export
output format" (developer guide). The deletions of an incremental export become keys without items. Only DynamoDB JSON
is read; Ion is refused. No value is converted.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

import orjson

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.schema import Key, TableSchema, table_name
from proxy.dynamodb.values import Item
from proxy.migrate.table_jobs.sources import (
    CurrentItemReader,
    MalformedEntry,
    Portion,
    Portions,
    Position,
    ReferenceFilter,
    SourceError,
)
from proxy.migrate.table_jobs.table_reader import TableReader

SUMMARY: Final = "manifest-summary.json"
FILES: Final = "manifest-files.json"
_PORTION_ITEMS: Final = 500
_PORTION_BYTES: Final = 1024 * 1024
_BLOCK: Final = 1024 * 1024


class ExportFiles(Protocol):
    """Where the files of an export are. `bucket` is None for a copy in a folder."""

    @property
    def bucket(self) -> str | None: ...

    async def read(self, name: str) -> bytes | None:
        """Read a small file beside the manifests; None if there is no such file."""

    async def fetch(self, key: str, to: Path) -> tuple[Path, str | None]:
        """Return a data file's local path, and its ETag if it came from S3. A download goes into `to`."""


@dataclass(frozen=True, slots=True)
class DataFile:
    """A line of manifest-files.json."""

    key: str
    items: int
    md5: str
    etag: str


@dataclass(frozen=True, slots=True)
class Export:
    """An export, as its manifests describe it."""

    export_id: str
    bucket: str
    incremental: bool
    items: int
    files: tuple[DataFile, ...]


async def read_manifests(files: ExportFiles, where: str, table: str) -> Export:
    """Read and check the manifests of an export.

    Raises SourceError if there is no export, or if it is damaged, is in Ion, or is of another table.
    """
    text = await files.read(SUMMARY)
    if text is None:
        raise SourceError(f"{where}: has no {SUMMARY}: give the folder AWSDynamoDB/<export id> of a finished export")
    await _check_manifest_md5(files, SUMMARY, text, where)
    summary = _parse_object(text, f"{where}/{SUMMARY}")
    if summary.get("outputFormat") != "DYNAMODB_JSON":
        raise SourceError(f"{where}: is in the format {summary.get('outputFormat')}: export in DynamoDB JSON")
    exported = table_name(str(summary.get("tableArn", "")))
    if exported != table:
        raise SourceError(f"{where}: is an export of table {exported!r}, not of {table!r}: see --table")
    listed = await files.read(FILES)
    if listed is None:
        raise SourceError(f"{where}: has no {FILES}: the export is not complete")
    await _check_manifest_md5(files, FILES, listed, where)
    data = []
    for line in listed.splitlines():
        if line.strip():
            each = _parse_object(line, f"{where}/{FILES}")
            data.append(DataFile(each["dataFileS3Key"], int(each["itemCount"]), each["md5Checksum"], each["etag"]))
    export_id = str(summary.get("exportArn", where)).rpartition("/")[2]
    incremental = summary.get("exportType") == "INCREMENTAL_EXPORT"
    bucket = str(summary.get("s3Bucket", ""))
    return Export(export_id, bucket, incremental, int(summary.get("itemCount", 0)), tuple(data))


class ExportSource:
    """A source that reads an export. A part is a data file; `share` is (I, N): the I-th of N shares of the files."""

    def __init__(
        self,
        export: Export,
        files: ExportFiles,
        schema: TableSchema,
        reader: TableReader,
        *,
        share: tuple[int, int] = (1, 1),
    ) -> None:
        self._export = export
        self._files = files
        self._schema = schema
        self._current = CurrentItemReader(reader)
        number, shares = share
        # An empty partition produces a file without items.
        mine = [each for each in export.files if each.items][number - 1 :: shares]
        self._parts = {each.key.rpartition("/")[2]: each for each in mine}
        self.total = sum(each.items for each in mine)

    @property
    def name(self) -> str:
        return f"export/{self._export.export_id}"

    def parts(self) -> Sequence[str]:
        return list(self._parts)

    async def portions(self, part: str, after: Position | None, only: ReferenceFilter | None) -> Portions:
        file = self._parts[part]
        done = 0 if after is None else int(after["lines"])
        with TemporaryDirectory(prefix="crossfade-export-") as directory:
            path, etag = await self._files.fetch(file.key, Path(directory))
            # Objects copied to another bucket were uploaded differently, so their ETags differ.
            if self._files.bucket == self._export.bucket and etag is not None and etag.strip('"') != file.etag:
                raise SourceError(f"{file.key}: was changed in S3 after the export (its ETag differs): export again")
            if await asyncio.to_thread(_file_md5, path) != file.md5:
                raise SourceError(
                    f"{file.key}: is damaged (its MD5 differs from the manifest's): fetch or export it again"
                )
            for portion in _read_portions(path, done, only, self._schema, file):
                yield portion

    async def read_current(self, portion: Portion, keys: Sequence[Key]) -> Mapping[Key, Item]:
        return await self._current.read_current(portion, keys)


@dataclass(frozen=True, slots=True)
class LocalFiles:
    """A copy of an export in a folder: the manifests, with the data files in `data` or beside the manifests."""

    folder: Path

    @property
    def bucket(self) -> None:
        return None

    async def read(self, name: str) -> bytes | None:
        path = self.folder / name
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SourceError(f"{path}: cannot be read: {error.strerror}") from error

    async def fetch(self, key: str, to: Path) -> tuple[Path, str | None]:  # noqa: ARG002
        name = key.rpartition("/")[2]
        # The data of incremental exports is one folder up, shared by all exports of a prefix.
        for folder in (self.folder / "data", self.folder, self.folder.parent / "data"):
            if (folder / name).is_file():
                return folder / name, None
        raise SourceError(f"{self.folder}: has no data file {name}: copy the whole export, with data/")


class S3Files:
    """An export in S3. `client` is an aioboto3 client; `url` is s3://bucket/…/AWSDynamoDB/<export id>."""

    def __init__(self, client: Any, url: str) -> None:
        parts = urlsplit(url)
        self._client = client
        self.bucket = parts.netloc
        self._prefix = parts.path.strip("/").removesuffix(SUMMARY).rstrip("/")

    async def read(self, name: str) -> bytes | None:
        key = f"{self._prefix}/{name}"
        try:
            answer = await self._client.get_object(Bucket=self.bucket, Key=key)
            async with answer["Body"] as body:
                content: bytes = await body.read()
                return content
        except self._client.exceptions.NoSuchKey:
            return None

    async def fetch(self, key: str, to: Path) -> tuple[Path, str | None]:
        path = to / "data.json.gz"
        answer = await self._client.get_object(Bucket=self.bucket, Key=key)
        async with answer["Body"] as body:
            with path.open("wb") as file:
                while block := await body.read(_BLOCK):
                    file.write(block)
        return path, answer["ETag"]


def local_files(path: Path) -> LocalFiles:
    """Return the files of an export, from the path of its folder or of its summary manifest."""
    return LocalFiles(path.parent if path.name == SUMMARY else path)


def _read_portions(
    path: Path, done: int, only: ReferenceFilter | None, schema: TableSchema, file: DataFile
) -> Iterator[Portion]:
    items: dict[Key, Item] = {}
    keys: list[Key] = []
    malformed: list[MalformedEntry] = []
    size = number = 0
    try:
        with gzip.open(path, "rb") as unpacked:
            for line in unpacked:
                number += 1
                if number <= done:
                    continue
                size += len(line)
                try:
                    item, key = _parse_line(line, schema)
                except (ValueError, KeyError, TypeError, AttributeError, DynamoDBError):
                    if only is None or not only.referring:
                        malformed.append(
                            MalformedEntry(f"{path.name}, line {number}", "it is not an item of an export")
                        )
                else:
                    if item is None:
                        if only is None or not only.referring:
                            keys.append(key)
                    elif only is None or only.matches(item):
                        items[key] = item
                if len(items) + len(keys) >= _PORTION_ITEMS or size >= _PORTION_BYTES:
                    yield Portion(items, size, {"lines": number}, keys, malformed)
                    items, keys, malformed, size = {}, [], [], 0
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path.name}: cannot be unpacked: {error}") from error
    if number != file.items:
        raise SourceError(f"{file.key}: has {number} items, the manifest says {file.items}: export again")
    yield Portion(items, size, None, keys, malformed)


def _parse_line(line: bytes, schema: TableSchema) -> tuple[Item | None, Key]:
    """Return a line's item and key. A full export has `Item`; an incremental one has `NewImage`, or only `Keys`."""
    found = orjson.loads(line)
    item: Item | None = found["Item"] if "Item" in found else found.get("NewImage")
    if item is None and "Keys" not in found:
        raise KeyError("Item")
    return item, schema.key_of(found["Keys"] if item is None else item)


async def _check_manifest_md5(files: ExportFiles, name: str, content: bytes, where: str) -> None:
    """Check a manifest against the file beside it that holds its MD5 in base64."""
    checksum = await files.read(name.replace(".json", ".checksum"))
    found = b64encode(hashlib.md5(content, usedforsecurity=False).digest())
    if checksum is not None and checksum.strip() != found:
        raise SourceError(f"{where}/{name}: is damaged (its checksum file does not match): fetch it again")


def _file_md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return b64encode(digest.digest()).decode()


def _parse_object(text: bytes, where: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SourceError(f"{where}: is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise SourceError(f"{where}: is not a JSON object")
    return found
