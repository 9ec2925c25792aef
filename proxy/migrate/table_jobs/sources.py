"""Where backfill reads its items: the protocol of a source, and the first source, a parallel Scan.

A source consists of parts. A part is a sequence of portions with a position after each, so that reading can continue
after any portion. A source's items are only a first attempt: once they are written, the table itself is read again. No
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

# From one eighth of a page upwards, a consistent Scan of the page costs less than reading the items one by one: a Scan
# is charged by 4 KB, a BatchGetItem by item ("Capacity unit consumption").
_FEW: Final = 8


@dataclass(frozen=True, slots=True)
class ReferenceFilter:
    """Which items a pass reads: those that have one of the attributes (`referring`), or those that have none of
    them."""

    attributes: tuple[str, ...]
    referring: bool

    def matches(self, item: Item) -> bool:
        return any(name in item for name in self.attributes) is self.referring


@dataclass(frozen=True, slots=True)
class MalformedEntry:
    """An entry of a file that is not an item. `place` says where it is, without its content."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Portion:
    """Some items of a part, by key. `size` is in bytes. `position` is where to continue; None at the end of the part.

    `keys_without_item` come from deletions in an incremental export. What the table holds for them now, only the table
    can say.
    """

    items: Mapping[Key, Item]
    size: int
    position: Position | None
    keys_without_item: Sequence[Key] = ()
    malformed: Sequence[MalformedEntry] = ()
    source_state: Any = field(default=None, repr=False)
    """How the source read the portion; opaque to everyone else."""


class Source(Protocol):
    """A source of items, divided into parts."""

    @property
    def name(self) -> str:
        """The name under which checkpoints are kept; work under another name is other work."""

    @property
    def total(self) -> int | None:
        """How many items there are to read, if that is known."""

    def parts(self) -> Sequence[str]:
        """The names of the parts, in the order in which to read them."""

    def portions(self, part: str, after: Position | None, only: ReferenceFilter | None) -> Portions:
        """Read the part from a position on; `only` restricts the items. Raises StoreError, and SourceError for a bad
        file."""

    async def read_current(self, portion: Portion, keys: Sequence[Key]) -> Mapping[Key, Item]:
        """Read what the table holds, at or after this call, for these keys of a portion.

        A key without an item is left out. The result may contain other keys too.
        """


class SourceError(Exception):
    """A file of the source is missing, damaged or of the wrong kind; the text names the file and the remedy."""


class ScanSource:
    """A parallel Scan of the table. `share` is (I, N): the I-th of N shares, from 1, each of `parallel` segments."""

    def __init__(
        self,
        reader: TableReader,
        schema: TableSchema,
        *,
        total: int | None,
        share: tuple[int, int] = (1, 1),
        parallel: int = 4,
        limit: int = 1000,
    ) -> None:
        self._reader = reader
        self._schema = schema
        self._limit = limit
        number, shares = share
        self._segments = parallel * shares
        self._own_segments = range((number - 1) * parallel, number * parallel)
        self.total = None if total is None else total // shares

    @property
    def name(self) -> str:
        return f"scan/{self._segments}"

    def parts(self) -> Sequence[str]:
        return [f"{segment}/{self._segments}" for segment in self._own_segments]

    def parts_of_all_shares(self) -> Sequence[str]:
        """The parts of all N shares."""
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
            source_state = (segment, start, having, lacking, page)
            yield Portion(items, len(page.body), page.next, source_state=source_state)
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
    """`Source.read_current` for sources that do not read the table itself."""

    def __init__(self, reader: TableReader) -> None:
        self._reader = reader

    async def read_current(self, portion: Portion, keys: Sequence[Key]) -> Mapping[Key, Item]:  # noqa: ARG002
        return await self._reader.get_many(keys)
