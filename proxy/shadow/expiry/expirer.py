"""Time to live where DSQL is the authority: deletes the items that DynamoDB would have deleted.

While DynamoDB is the authority, it expires its items itself. Past the flip one process at a time, by a lease for each
table, reads the table in slices at a limited rate and deletes what has expired, on the condition that it still has when
it is deleted. Such a delete is a write like any other: journalled, and repeated on the mirror. It is not rehearsed,
because DynamoDB may have expired the item by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson
import structlog

from proxy.cutover.flip.fencing import ServingLease
from proxy.cutover.stages import DSQL, Stages
from proxy.dynamodb.operations import decode
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key
from proxy.dynamodb.tables.time_to_live import bounds
from proxy.dynamodb.values import Item
from proxy.shadow.call import Call
from proxy.shadow.expiry.attributes import ExpiryAttributes
from proxy.shadow.instrumentation import Execute
from proxy.shadow.request.item_type import item_type_of
from proxy.shadow.request.routing import KeyStages
from proxy.stores.errors import StoreError, Unreachable
from proxy.stores.interface import Store
from proxy.stores.table_registry import Table

log = structlog.get_logger(__name__)

_SLICE: Final = 200
_AT_ONCE: Final = 8
_LEASE_SECONDS: Final = 60.0
_EXPIRED: Final = "#t BETWEEN :oldest AND :now"


class ExpiryLeases(Protocol):
    """Lets one process at a time expire a table's items (`proxy.stores.dsql.system_tables.table_properties`)."""

    async def claim_expiry(self, table: str, process: str, seconds: float, /) -> bool:
        """Take or renew a table's lease. Returns False while another process has it. Raises StoreError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expirer:
    """Expires the items of the tables for which DSQL is the authority."""

    attributes: ExpiryAttributes
    """By which attribute items expire."""
    leases: ExpiryLeases
    """Lets one process at a time expire a table's items."""
    process: str
    """The name of this process."""
    stages: Stages
    """The stages of this process."""
    key_stages: KeyStages
    """The stage of each key."""
    lease: ServingLease
    """The lease without which nothing is written."""
    find_table: Callable[[str], Awaitable[Table | None]]
    """Returns a table by its name. Raises StoreError."""
    dsql: Store
    """DSQL, which is read."""
    write: Execute
    """The path of writes."""
    count_expired: Callable[[str, int], None]
    """Counts a table's items that were deleted."""
    every_seconds: float
    """How long to rest after all tables have been looked at."""
    rate: float
    """How many items to look at in a second, at most."""
    wall: Callable[[], float] = time.time
    """The clock that items expire by."""

    async def run(self) -> None:
        """Look at all tables once, and rest: for a loop."""
        try:
            await self.attributes.refresh()
            for table in self.attributes.tables():
                if self.stages.past_the_flip(table):
                    await self.expire(table)
        except StoreError as error:
            log.warning("expiry_interrupted", reason=error.reason, detail=str(error))
        await asyncio.sleep(self.every_seconds)

    async def expire(self, name: str) -> int:
        """Delete what has expired of a table, and return how many items that was: 0 where another process does it.

        Raises StoreError.
        """
        table, deleted, start = await self.find_table(name), 0, None
        while table is not None and self._may_expire(name) and await self._claim(name):
            attribute = self.attributes.of(name)
            if attribute is None:
                break
            scanned, keys, start = await self._expired_keys(table, attribute, start)
            mine = [key for key in keys if self.key_stages.stage_of(key).authority == DSQL]
            for first in range(0, len(mine), _AT_ONCE):
                some = mine[first : first + _AT_ONCE]
                gone = sum(await asyncio.gather(*(self._delete(table, attribute, key) for key in some)))
                self.count_expired(name, gone)
                deleted += gone
            if start is None:
                break
            await asyncio.sleep(scanned / self.rate)
        if deleted:
            log.info("items_expired", table=name, items=deleted)
        return deleted

    def _may_expire(self, table: str) -> bool:
        return self.lease.valid and self.stages.past_the_flip(table)

    async def _claim(self, table: str) -> bool:
        return await self.leases.claim_expiry(table, self.process, _LEASE_SECONDS)

    async def _expired_keys(
        self, table: Table, attribute: str, start: Item | None
    ) -> tuple[int, Sequence[Key], Item | None]:
        """Return how many items a slice has, the keys of those that have expired, and where the next slice starts."""
        names = {f"#k{number}": name for number, name in enumerate(table.schema.key_names)}
        request: dict[str, Any] = {
            "TableName": table.name,
            "Limit": _SLICE,
            "FilterExpression": _EXPIRED,
            "ProjectionExpression": ", ".join(names),
            "ExpressionAttributeNames": {"#t": attribute, **names},
            "ExpressionAttributeValues": self._limits(),
        }
        if start is not None:
            request["ExclusiveStartKey"] = start
        operation = decode("Scan", b"", request, {table.name: table.schema})
        outcome = (await self.dsql.execute(operation)).outcome
        _refuse_failure(outcome)
        page = outcome.document
        return page["ScannedCount"], [table.schema.key_of(item) for item in page["Items"]], page.get("LastEvaluatedKey")

    async def _delete(self, table: Table, attribute: str, key: Key) -> bool:
        """Return whether the item had still expired, and was deleted."""
        request: dict[str, Any] = {
            "TableName": table.name,
            "Key": key.attributes,
            "ConditionExpression": _EXPIRED,
            "ExpressionAttributeNames": {"#t": attribute},
            "ExpressionAttributeValues": self._limits(),
        }
        operation = decode("DeleteItem", orjson.dumps(request), request, {table.name: table.schema})
        tables = {table.name: table}
        call = Call(operation, tables, item_type_of(operation, tables), "", internal=True)
        outcome = await self.write(call)
        if outcome.error_code == "ConditionalCheckFailedException":
            return False
        _refuse_failure(outcome)
        return True

    def _limits(self) -> dict[str, Any]:
        oldest, now = bounds(self.wall())
        return {":oldest": {"N": oldest}, ":now": {"N": now}}


def _refuse_failure(outcome: Outcome) -> None:
    if not outcome.ok:
        raise Unreachable(outcome.error_code or "unknown", "DSQL gave no answer")
