"""Converges the keys that a batch of stream records names, at once and without a journal: the stream is the journal.

For AWS Lambda, which keeps a batch until it is told that all of it was taken, and gives the rest again. So a key counts
as taken when it has converged, or when it cannot be held and nothing but a person can change that. What the records say
beyond their keys is not looked at: duplicates and any order are alike.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from proxy.dynamodb.schema import Key, table_name
from proxy.shadow.convergence.converge import converge
from proxy.stores.error_remedies import remedy
from proxy.stores.errors import Refused, StoreError
from proxy.stores.interface import Store, Unrepresentable
from proxy.stores.table_registry import Table
from proxy.stream.records import UnreadableRecordError, key_of_row, parse_cdc_record, parse_stream_record

log = structlog.get_logger(__name__)

DYNAMODB_EVENTS: Final = "aws:dynamodb"
KINESIS_EVENTS: Final = "aws:kinesis"
_NO_TABLE: Final = "ResourceNotFoundException"
_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class DirectedStores:
    """The two stores, as one key's stage wants them."""

    authority: Store
    mirror: Store


# Which way a key converges now, None if no way (its table is off, or complete); raises StoreError if nobody can say.
Direct = Callable[[Key], DirectedStores | None]


class BatchReceiver:
    """`find` gives a DynamoDB table by its name, or None; `rows_of` are DynamoDB's names of the tables that rows of
    DSQL's may stand for; `sql_schema` is where those are."""

    def __init__(
        self,
        find: Callable[[str], Awaitable[Table | None]],
        rows_of: Iterable[str],
        direct: Direct,
        sql_schema: str = "public",
    ) -> None:
        self._find_table = find
        self._table_names = tuple(rows_of)
        self._direct = direct
        self._sql_schema = sql_schema

    async def converge_batch(self, records: Sequence[Mapping[str, Any]], seconds: float) -> list[str]:
        """The sequence numbers of the records whose keys have not converged within so many seconds, in their order."""
        wanted: dict[Key, list[str]] = {}
        failed: set[str] = set()
        numbers: list[str] = []
        for record in records:
            number = _number(record)
            numbers.append(number)
            try:
                key = await self._key_of(record)
            except UnreadableRecordError as error:
                log.error("stream_record_unreadable", why=str(error), remedy="see the batch's on-failure destination")
                failed.add(number)
            except StoreError as error:
                log.warning("stream_key_not_found_out", reason=error.reason)
                failed.add(number)
            else:
                if key is not None:
                    wanted.setdefault(key, []).append(number)
        for key in await self._converge(list(wanted), seconds):
            failed.update(wanted[key])
        return [number for number in dict.fromkeys(numbers) if number in failed]

    async def _key_of(self, record: Mapping[str, Any]) -> Key | None:
        """The key that a record names; None where it is none of ours."""
        if record.get("eventSource") == KINESIS_EVENTS:
            return await self._key_of_dsql_record(record)
        table = await self._find_table(table_name(str(record.get("eventSourceARN", ""))))
        return None if table is None else parse_stream_record(table.schema, record).key

    async def _key_of_dsql_record(self, record: Mapping[str, Any]) -> Key | None:
        try:
            data = b64decode(record["kinesis"]["data"], validate=True)
        except (KeyError, TypeError, Base64Error) as error:
            raise UnreadableRecordError(f"no record of a Kinesis stream: {type(error).__name__}") from error
        row = parse_cdc_record(data)
        if row is None or row.schema != self._sql_schema:
            return None
        for name in self._table_names:
            table = await self._find_table(name)
            if table is not None and table.mapping.sql_table == row.table:
                return key_of_row(table.mapping, table.schema, row.row)
        return None

    async def _converge(self, keys: Sequence[Key], seconds: float) -> list[Key]:
        """Those that have not converged in time."""
        if seconds <= 0:
            return list(keys)
        places = asyncio.Semaphore(_AT_ONCE)
        taken: set[Key] = set()

        async def one(key: Key) -> None:
            async with places:
                if await self._converge_key(key):
                    taken.add(key)

        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
                for key in keys:
                    group.create_task(one(key))
        except TimeoutError:
            log.warning("stream_batch_not_done", keys=len(keys) - len(taken), why="the function's time was up")
        return [key for key in keys if key not in taken]

    async def _converge_key(self, key: Key) -> bool:
        """Whether the key has converged, or never will."""
        try:
            stores = self._direct(key)
            if stores is not None:
                await converge(key, stores.authority, stores.mirror)
        except Unrepresentable as error:
            reasons = [f"{fault.field}: {fault.reason}" for fault in error.faults]
            log.error("key_not_held", table=key.table, reasons=reasons, remedy="see crossfade preflight")
        except Refused as error:
            if error.reason != _NO_TABLE:
                log.error("store_refused", table=key.table, reason=error.reason, remedy=remedy(error.reason))
                return False
        except StoreError as error:
            log.warning("key_not_converged", table=key.table, reason=error.reason)
            return False
        return True


def _number(record: Mapping[str, Any]) -> str:
    held = record.get("kinesis") or record.get("dynamodb") or {}
    return str(held.get("sequenceNumber", held.get("SequenceNumber", "")))
