"""Where backfill takes its items from: the words, and the first source, a parallel Scan.

A source is parts, each a sequence of portions with a position after each, so that reading can go on after any portion.
What a source gives is only what to try first: what the table holds is asked of the table again once it is written. No
source writes anything.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item
from proxy.migrate.table_jobs.table_reader import TableReader

Position = Mapping[str, Any]
Portions: TypeAlias = "AsyncGenerator[Portion, None]"

# From this share of a page on, one consistent Scan of the page costs less than its items one by one: a Scan pays for
# 4 KB, a BatchGetItem for each item ("Capacity unit consumption").
_FEW: Final = 8


@dataclass(frozen=True, slots=True)
class ReferenceFilter:
    """Which items a pass takes: those with one of these attributes (`wanted`), or those with none of them."""

    attributes: tuple[str, ...]
    referring: bool

    def matches(self, item: Item) -> bool:
        return any(name in item for name in self.attributes) is self.referring


@dataclass(frozen=True, slots=True)
class MalformedEntry:
    """Something in a file that is no item; `place` says where, without its content."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Portion:
    """Some items of a part, by their keys. `position` is where to go on after them, None at the end.

    `bare` are keys without an item (a deletion in an incremental export): what they hold is the table's to say.
    """

    items: Mapping[Key, Item]
    size: int
    position: Position | None
    keys_without_item: Sequence[Key] = ()
    malformed: Sequence[MalformedEntry] = ()
    source_state: Any = field(default=None, repr=False)
    """The source's own note of how it was read."""


class Source(Protocol):
    """See the module."""

    @property
    def name(self) -> str:
        """What checkpoints know it by: another name is other work."""

    @property
    def total(self) -> int | None:
        """How many items there are to come, as far as is known."""

    def parts(self) -> Sequence[str]: ...

    def portions(self, part: str, after: Position | None, only: ReferenceFilter | None) -> Portions:
        """The rest of a part. Raises StoreError, and SourceError where a file is not what it should be."""

    async def read_current(self, portion: Portion, keys: Sequence[Key]) -> Mapping[Key, Item]:
        """What the table holds for these keys of a portion, at or after this call; a key without an item is left out.

        May give other keys too.
        """


class SourceError(Exception):
    """A file is not what it should be; the text names the file and the remedy."""


class ScanSource:
    """A parallel Scan of the table. `of` is (I, N): the I-th (from 1) of N shares, each of `parallel` segments."""

    def __init__(
        self,
        reader: TableReader,
        schema: TableSchema,
        *,
        total: int | None,
        of: tuple[int, int] = (1, 1),
        parallel: int = 4,
        limit: int = 1000,
    ) -> None:
        self._reader = reader
        self._schema = schema
        self._limit = limit
        share, shares = of
        self._segments = parallel * shares
        self._own_segments = range((share - 1) * parallel, share * parallel)
        self.total = None if total is None else total // shares

    @property
    def name(self) -> str:
        return f"scan/{self._segments}"

    def parts(self) -> Sequence[str]:
        return [f"{segment}/{self._segments}" for segment in self._own_segments]

    def parts_of_all_shares(self) -> Sequence[str]:
        """The parts of all shares."""
        return [f"{segment}/{self._segments}" for segment in range(self._segments)]

    async def portions(self, part: str, after: Position | None, only: ReferenceFilter | None) -> Portions:
        segment = int(part.partition("/")[0])
        having = only.attributes if only is not None and only.referring else ()
        lacking = only.attributes if only is not None and not only.referring else ()
        start = None if after is None else dict(after)
        while True:
            page = await self._reader.scan_page(
                segment, self._segments, start, self._limit, having=having, lacking=lacking
            )
            items = {self._schema.key_of(item): item for item in page.items}
            asked = (segment, start, having, lacking, page)
            yield Portion(items, len(page.body), page.next, source_state=asked)
            if page.next is None:
                return
            start = page.next

    async def read_current(self, portion: Portion, keys: Sequence[Key]) -> Mapping[Key, Item]:
        if len(keys) * _FEW < len(portion.items) or portion.source_state is None:
            return await self._reader.get_many(keys)
        segment, start, having, lacking, first = portion.source_state
        page = await self._reader.scan_page(
            segment, self._segments, start, max(1, first.scanned), having=having, lacking=lacking, before=first
        )
        if page is first:
            return portion.items
        return {self._schema.key_of(item): item for item in page.items}


class CurrentItemReader:
    """`Source.now` for what does not come from the table itself."""

    def __init__(self, reader: TableReader) -> None:
        self._reader = reader

    async def read_current(self, portion: Portion, keys: Sequence[Key]) -> Mapping[Key, Item]:  # noqa: ARG002
        return await self._reader.get_many(keys)
