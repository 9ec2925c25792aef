"""Reads a folder of JSON backups, in the form of the migration plan: one array per type (`Book.json`) of plain items.

The mapping says how plain JSON becomes items: composites are made of their parts, an ISO date becomes epoch
milliseconds where the attribute's column is a `timestamptz`, and numbers keep every digit. JSON has no sets and no
binary values, so such attributes come out differently from the table's; backfill reads the table again and corrects
them. Files are read piece by piece, whatever their size.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from proxy.dynamodb.errors import DynamoDBError
from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item, Value, canonical_number
from proxy.mapping.column_mapping import ColumnMapping
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

_PIECE: Final = 256 * 1024
_PORTION_ITEMS: Final = 500
_PORTION_CHARACTERS: Final = 1024 * 1024
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
# As ECMAScript's Date.prototype.toISOString writes it, and what ISO 8601 allows beside; finer than 1 µs is refused.
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d))?")


class _Number(str):
    """A JSON number with all its digits."""

    __slots__ = ()


_DECODER: Final = json.JSONDecoder(parse_float=_Number, parse_int=_Number)


def _content_digest(folder: Path, files: Sequence[str]) -> str:
    """Return a digest of the files' names and contents, so that a position in one backup is never used for another."""
    digest = hashlib.sha256()
    for name in files:
        digest.update(f"{name}\0".encode())
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]


class BackupSource:
    """A source that reads JSON backups from `folder`.

    A file's name is the type of its items that name no type. `share` is (I, N): the I-th of N shares of the files.
    """

    def __init__(
        self,
        folder: Path,
        mapping: ColumnMapping,
        schema: TableSchema,
        reader: TableReader,
        *,
        share: tuple[int, int] = (1, 1),
    ) -> None:
        self._folder = folder
        self._mapping = mapping
        self._schema = schema
        self._dates = frozenset(
            column.path[0]
            for column in mapping.attribute_columns
            if column.codec.sql_type == "timestamptz" and len(column.path) == 1
        )
        self._current = CurrentItemReader(reader)
        files = sorted(path.name for path in folder.glob("*.json"))
        number, shares = share
        self._files = files[number - 1 :: shares]
        if not files:
            raise SourceError(f"{folder}: contains no .json files: give the folder that the backup was written to")
        self.total = None
        self._name = f"backup/{_content_digest(folder, files)}"

    @property
    def name(self) -> str:
        return self._name

    def parts(self) -> Sequence[str]:
        return self._files

    async def portions(self, part: str, after: Position | None, only: ReferenceFilter | None) -> Portions:
        done = 0 if after is None else int(after["items"])
        path = self._folder / part
        items: dict[Key, Item] = {}
        malformed: list[MalformedEntry] = []
        size = number = 0
        for number, (found, characters) in enumerate(read_array(path), 1):
            if number <= done:
                continue
            size += characters
            try:
                item = self.to_item(found, path.stem)
                key = self._schema.key_of(item)
            except (ValueError, DynamoDBError) as error:
                # Both passes read the whole file, so only the first reports.
                if only is None or not only.referring:
                    reason = error.message if isinstance(error, DynamoDBError) else str(error)
                    malformed.append(MalformedEntry(f"{part}, item {number}", reason))
            else:
                if only is None or only.matches(item):
                    items[key] = item
            if len(items) >= _PORTION_ITEMS or size >= _PORTION_CHARACTERS:
                yield Portion(items, size, {"items": number}, malformed=malformed)
                items, malformed, size = {}, [], 0
        yield Portion(items, size, None, malformed=malformed)

    async def read_current(self, portion: Portion, keys: Sequence[Key]) -> Mapping[Key, Item]:
        return await self._current.read_current(portion, keys)

    def to_item(self, found: Any, item_type: str) -> Item:
        """Return the table's item for an object of the backup. Raises ValueError, whose text contains no value."""
        if not isinstance(found, dict):
            raise ValueError("it is not an object")
        item: Item = {}
        for name, value in found.items():
            if name in self._dates and type(value) is str:
                try:
                    item[name] = {"N": epoch_milliseconds(value)}
                except ValueError as error:
                    raise ValueError(f"{name}: {error}") from None
            else:
                item[name] = _to_value(value)
        item.setdefault(self._mapping.type_attribute, {"S": item_type})
        for name, composite in self._mapping.composites.items():
            rendered = composite.render(item)
            if rendered is not None:
                item.setdefault(name, {"S": rendered})
        return item


def epoch_milliseconds(text: str) -> str:
    """Return the exact epoch milliseconds of an ISO 8601 date, as a Number. Raises ValueError if it names no
    instant."""
    if _DATE.fullmatch(text) is None:
        raise ValueError("it is not an ISO 8601 date with a time zone (as in 2023-01-31T08:00:00.000Z)")
    if len(text) == len("2023-01-31"):
        # ECMAScript reads a date alone as midnight UTC ("Date Time String Format").
        day = date.fromisoformat(text)
        instant = datetime(day.year, day.month, day.day, tzinfo=UTC)
    else:
        instant = datetime.fromisoformat(text)
    microseconds = (instant - _EPOCH) // _MICROSECOND
    return canonical_number(format(Decimal(microseconds).scaleb(-3), "f"))


def read_array(path: Path) -> Iterator[tuple[Any, int]]:
    """Yield each element of the array in a file, with its length in characters. Raises SourceError."""
    try:
        with path.open(encoding="utf-8") as file:
            yield from _parse_array(file, path)
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error


def _parse_array(file: Any, path: Path) -> Iterator[tuple[Any, int]]:
    text = ""
    first = True
    ended = False
    while True:
        text = text.lstrip(" \t\r\n\ufeff")
        sign = text[:1]
        if first and sign:
            if sign != "[":
                raise SourceError(f"{path}: is not a JSON array: a backup is one array per type")
            first, text = False, text[1:]
            continue
        if sign == "]":
            return
        if sign == ",":
            text = text[1:]
            continue
        if sign:
            try:
                found, end = _DECODER.raw_decode(text)
            except json.JSONDecodeError as error:
                if ended:
                    raise SourceError(f"{path}: is not JSON: {error.msg}") from error
            else:
                # A number at the end of a piece may continue in the next.
                if end < len(text) or ended:
                    yield found, end
                    text = text[end:]
                    continue
        elif ended:
            raise SourceError(f"{path}: ends in the middle of the array")
        piece = file.read(max(_PIECE, len(text)))
        ended = not piece
        text += piece


def _to_value(found: Any) -> Value:
    if type(found) is str:
        return {"S": found}
    if type(found) is _Number:
        try:
            return {"N": canonical_number(format(Decimal(found), "f"))}
        except DynamoDBError:
            raise ValueError("a number is out of DynamoDB's range") from None
    if isinstance(found, bool):
        return {"BOOL": found}
    if found is None:
        return {"NULL": True}
    if isinstance(found, list):
        return {"L": [_to_value(each) for each in found]}
    if isinstance(found, dict):
        return {"M": {name: _to_value(each) for name, each in found.items()}}
    raise ValueError("it contains NaN or Infinity, which JSON does not have")
