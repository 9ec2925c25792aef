"""Follows a table's DynamoDB stream and nominates every key that was changed, by whomever.

So what went past the proxy converges too: other writers, DynamoDB's own deletions by time to live, what another process
acknowledged and did not live to converge. Records only say *that* a key changed. What it holds is read from the
authority when it converges, so that records may come twice, late, or in any order, and their images are not looked at
(a stream of keys only is enough).

A position is saved after the keys stand in the journal, never before. A stream keeps its records for a day. Whoever was
behind it for longer may have missed some: that is told, with the remedy, a sweep. Whoever was not has missed none, even
where a position is no longer there to go on from: such a shard is read from its oldest record.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, Protocol

import structlog

from proxy.dynamodb.schema import Key, TableSchema
from proxy.stores.dynamodb.streams import EXPIRED, NOT_THERE, TRIMMED, Shard, StreamRecords, Streams
from proxy.stores.errors import Refused, StoreError
from proxy.stream.positions import ShardPosition, StreamPositions
from proxy.stream.records import ItemChange, UnreadableRecordError, parse_stream_record
from proxy.stream.shards import lost_shards, readable_shards

log = structlog.get_logger(__name__)

Start = Literal["trim_horizon", "latest"]
REMEDY: Final = "run a sweep of the table: crossfade verify --repair"
# A stream keeps its records for 24 hours ("DynamoDB Streams"); an hour of that is margin.
KEPT_SECONDS: Final = 23 * 3600.0
_LOOK_SECONDS: Final = 10.0
_AGAIN_SECONDS: Final = 5.0
_AT_ONCE: Final = 16
_LONGEST_DELAY: Final = 60.0


class PollResult(Enum):
    """What a look into a shard gave: `MORE` says that there may be more at once."""

    MORE = "more"
    NOTHING = "nothing"
    FAILED = "failed"


class StreamObserver(Protocol):
    """What is counted."""

    def stream_records(self, table: str, records: int) -> None: ...

    def stream_lag(self, table: str, seconds: float) -> None:
        """How old the newest record was when it was nominated."""

    def stream_gap(self, table: str) -> None: ...


@dataclass(frozen=True, slots=True)
class StreamedTable:
    """A table as DescribeTable tells it: its schema, and its stream's ARN (None: it has none)."""

    schema: TableSchema
    stream: str | None


@dataclass(frozen=True, slots=True)
class FollowerOptions:
    """How a stream is followed. `start`: where one begins that was never read. `poll_seconds`: the pause when there is
    nothing new. `delay_seconds`: how old a record is to be before its key is nominated, so that the proxy that wrote it
    has compared and converged it by then, undisturbed."""

    start: Start = "trim_horizon"
    poll_seconds: float = 1.0
    delay_seconds: float = 2.0


class Follower:
    """Call `turn` for ever, from one task. `describe` gives the table, None if there is none; `nominate` returns when
    the keys stand in the journal."""

    def __init__(
        self,
        table: str,
        describe: Callable[[str], Awaitable[StreamedTable | None]],
        streams: Streams,
        positions: StreamPositions,
        nominate: Callable[[Sequence[Key]], Awaitable[None]],
        watch: StreamObserver,
        manner: FollowerOptions = FollowerOptions(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._describe = describe
        self._streams = streams
        self._positions = positions
        self._enqueue_keys = nominate
        self._observer = watch
        self._options = manner
        self._clock = clock
        self._source: StreamedTable | None = None
        self._shards: list[Shard] = []
        self._iterators: dict[str, str] = {}
        self._read_from_end: set[str] = set()
        self._saved_at = float("-inf")
        self._gap_reported = False
        self._reconciled = False
        self._refreshed_at = float("-inf")
        self._reads = asyncio.Semaphore(_AT_ONCE)
        self._reported = ""

    async def poll(self) -> None:
        """Read each shard that may be read once. Waits where there is nothing new, or nothing to read."""
        if not await self._refresh_shards():
            await asyncio.sleep(_AGAIN_SECONDS)
            return
        assert self._source is not None
        assert self._source.stream is not None
        stream = self._source.stream
        known = self._positions.by_shard(self._table, stream)
        shards = readable_shards(self._shards, known)
        async with asyncio.TaskGroup() as group:
            reading = [
                group.create_task(self._read(self._source, stream, shard, known.get(shard.name))) for shard in shards
            ]
        found = {each.result() for each in reading}
        if found <= {PollResult.NOTHING}:
            self._note_caught_up(stream)
        if PollResult.MORE not in found:
            await asyncio.sleep(self._options.poll_seconds)

    # -- where to read ------------------------------------------------------------------------------------------------

    async def _refresh_shards(self) -> bool:
        """Learn what shards there are, now and then. Gives whether there is a stream to read."""
        now = asyncio.get_running_loop().time()
        if now - self._refreshed_at < _LOOK_SECONDS:
            return True
        try:
            source = await self._describe(self._table)
            if source is None or source.stream is None:
                missing = "the table has no stream" if source is not None else "there is no such table"
                self._report_once("stream_missing", missing, "enable one on the table (KEYS_ONLY is enough)")
                return False
            self._shards = await self._streams.shards(source.stream)
        except StoreError as error:
            self._report_once(
                "stream_not_read", f"{error.reason}: {error}", "allow dynamodb:DescribeStream and DescribeTable"
            )
            return False
        self._reported = ""
        self._refreshed_at = now
        if self._source is not None and self._source.stream != source.stream:
            self._iterators.clear()
        self._source = source
        self._reconcile_positions(source.stream)
        return True

    def _reconcile_positions(self, stream: str) -> None:
        """Mark what is new, and what is gone, against what was read."""
        if self._positions.forget_others(self._table, stream):
            self._report_gap("its stream is another one now; what was written in between is in neither")
        known = self._positions.by_shard(self._table, stream)
        if known and not self._reconciled:
            self._report_gap_if_late(stream, "it was not followed, or not to its end, for a day")
        self._reconciled = True
        for name in lost_shards(self._shards, known):
            self._report_gap_if_late(stream, f"shard {name} is gone, and was not read to its end")
            self._positions.forget(self._table, stream, name)
        there = {shard.name for shard in self._shards}
        for name in known.keys() - there:
            self._positions.forget(self._table, stream, name)
        if not known and self._options.start == "latest":
            # What is closed is over. What is open is read from its end on, and after a restart from its beginning:
            # there is no number yet to go on from, and to nominate too much does no harm.
            for shard in self._shards:
                self._save(stream, shard, ShardPosition(None, done=shard.closed))
                self._read_from_end.add(shard.name)

    # -- reading ------------------------------------------------------------------------------------------------------

    async def _read(
        self, source: StreamedTable, stream: str, shard: Shard, position: ShardPosition | None
    ) -> PollResult:
        """The next records of a shard."""
        async with self._reads:
            try:
                iterator = self._iterators.pop(shard.name, None)
                if iterator is None:
                    iterator = await self._open_iterator(stream, shard, position)
                page = await self._streams.records(iterator)
            except Refused as error:
                return self._refused(stream, shard, position, error)
            except StoreError as error:
                return self._failed(error)
            try:
                return await self._process_page(source, stream, shard, position, page)
            except StoreError as error:
                # Nothing was nominated, so no position was saved: the records are read again.
                return self._failed(error)

    async def _open_iterator(self, stream: str, shard: Shard, position: ShardPosition | None) -> str:
        if position is not None and position.after is not None:
            return await self._streams.iterator(stream, shard.name, "AFTER_SEQUENCE_NUMBER", position.after)
        iterator = await self._streams.iterator(
            stream, shard.name, "LATEST" if shard.name in self._read_from_end else "TRIM_HORIZON"
        )
        self._read_from_end.discard(shard.name)
        return iterator

    async def _process_page(
        self, source: StreamedTable, stream: str, shard: Shard, position: ShardPosition | None, page: StreamRecords
    ) -> PollResult:
        seen = []
        for record in page.records:
            try:
                seen.append(parse_stream_record(source.schema, record))
            except UnreadableRecordError as error:
                self._report_gap(f"a record of shard {shard.name} cannot be read: {error}")
        await self._enqueue(seen)
        after = seen[-1].sequence_number if seen else position.after if position is not None else None
        ended = page.iterator is None
        if seen or ended:
            self._save(stream, shard, ShardPosition(after, done=ended))
        if page.iterator is not None:
            self._iterators[shard.name] = page.iterator
        else:
            # Its children may be read now, and there may be new ones.
            self._refreshed_at = float("-inf")
        return PollResult.MORE if seen or ended else PollResult.NOTHING

    async def _enqueue(self, seen: Sequence[ItemChange]) -> None:
        if not seen:
            return
        newest = max(each.created for each in seen)
        delay = min(newest + self._options.delay_seconds - self._clock(), _LONGEST_DELAY)
        if delay > 0:
            await asyncio.sleep(delay)
        keys = list(dict.fromkeys(each.key for each in seen if each.key is not None))
        if any(each.key is None for each in seen):
            log.warning("stream_record_of_another_table", table=self._table, why="its keys are not the table's")
        if keys:
            await self._enqueue_keys(keys)
        self._observer.stream_records(self._table, len(seen))
        self._observer.stream_lag(self._table, max(0.0, self._clock() - newest))

    def _failed(self, error: StoreError) -> PollResult:
        log.info("stream_retried", table=self._table, reason=error.reason)
        return PollResult.FAILED

    def _refused(self, stream: str, shard: Shard, position: ShardPosition | None, error: Refused) -> PollResult:
        if error.reason == EXPIRED:
            return PollResult.MORE  # an iterator lives for 15 minutes; the position is kept
        if error.reason in (TRIMMED, NOT_THERE):
            self._report_gap_if_late(stream, f"records of shard {shard.name} are gone before they were read")
            self._save(stream, shard, ShardPosition(None, done=error.reason == NOT_THERE))
            self._refreshed_at = float("-inf")
            return PollResult.MORE if error.reason == TRIMMED and position is not None else PollResult.FAILED
        self._report_once("stream_not_read", error.reason, "allow dynamodb:GetShardIterator and dynamodb:GetRecords")
        return PollResult.FAILED

    def _save(self, stream: str, shard: Shard, position: ShardPosition) -> None:
        """A position that cannot be saved is only read again after a restart."""
        try:
            self._positions.save(self._table, stream, shard.name, position)
        except sqlite3.Error as error:
            self._report_once("stream_position_not_saved", str(error), "free the disk, or move journal.path")

    # -- telling ------------------------------------------------------------------------------------------------------

    def _note_caught_up(self, stream: str) -> None:
        now = self._clock()
        self._gap_reported = False
        if now - self._saved_at >= _LOOK_SECONDS:
            self._saved_at = now
            try:
                self._positions.save_caught_up(self._table, stream, now)
            except sqlite3.Error as error:
                self._report_once("stream_position_not_saved", str(error), "free the disk, or move journal.path")

    def _report_gap_if_late(self, stream: str, what: str) -> None:
        """Nothing is missed of what a stream still kept when all had been read. Told once until all has been again."""
        caught_up = self._positions.caught_up_at(self._table, stream)
        if not self._gap_reported and (caught_up is None or self._clock() - caught_up > KEPT_SECONDS):
            self._gap_reported = True
            self._report_gap(what)

    def _report_gap(self, what: str) -> None:
        self._observer.stream_gap(self._table)
        log.error("stream_gap", table=self._table, what=what, remedy=REMEDY)

    def _report_once(self, event: str, why: str, remedy: str) -> None:
        """Once, until it is well again."""
        if self._reported != event + why:
            self._reported = event + why
            log.error(event, table=self._table, why=why, remedy=remedy)
