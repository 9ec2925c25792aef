"""Aurora DSQL, or PostgreSQL in its place, as a store, on asyncpg.

DynamoDB's operations are executed by `proxy.stores.execution` on the rows (`proxy.stores.dsql.rows`). Every failure is
one of the seam's errors: nothing happened (Unreachable), the outcome is unknown (UnknownOutcome), it will never work
(Refused), or no row can hold the item (Unrepresentable). The caller bounds the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from proxy.dynamodb.operations import LISTING, Operation
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.interface import Fault
from proxy.stores.coalescer import Batching
from proxy.stores.dsql.followed_tables import FollowedTables, NoFollowedTables, request_creation
from proxy.stores.dsql.pool import Pool
from proxy.stores.dsql.rows import DSQLRowStore, MappingOf
from proxy.stores.dsql.sqlstates import NO_TABLE
from proxy.stores.dsql.statement_runner import StatementRunner
from proxy.stores.dsql.system_tables.authority_guarantees import AuthorityGuarantees
from proxy.stores.errors import Refused
from proxy.stores.execution import executor
from proxy.stores.execution.coalesced_rows import CoalescedRows
from proxy.stores.interface import ExecutionResult, StoredItem


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOptions:
    """How a store's calls are made."""

    acquire_seconds: float | None = None
    """Bounds the wait for a connection, which has no effect in DSQL. The caller's own limit covers it too, but leaves
    the outcome unknown."""
    batching: Batching | None = None
    """Makes reads and writes of single keys go in groups; None makes each by itself."""


class DSQLStore:
    """DSQL as a `Store`.

    `mapping_of` gives the mapping of a DynamoDB table; `followed` are the tables that follow DynamoDB's. With
    `guarantees` the store is asked as the authority, and its answers are for clients; without, it is a mirror. One of
    each may use the same pool. `on_retry` is called with the reason of each retry, `observe` with the seconds that an
    operation took.
    """

    name = "dsql"

    def __init__(
        self,
        pool: Pool,
        mapping_of: MappingOf,
        *,
        schema: str = "public",
        followed: FollowedTables | None = None,
        on_retry: Callable[[str], None] = lambda _: None,
        observe: Callable[[str, float], None] = lambda _, __: None,
        guarantees: AuthorityGuarantees | None = None,
        calls: CallOptions = CallOptions(),
    ) -> None:
        self._followed = followed if followed is not None else NoFollowedTables()
        self._guarantees = guarantees
        self._observe = observe
        runner = StatementRunner(pool, on_retry=on_retry, acquire_seconds=calls.acquire_seconds)
        self.rows = DSQLRowStore(runner, mapping_of, schema, self._followed, guarantees)
        """The rows beneath the store, for those who read or write many of them."""
        self._coalesced = CoalescedRows(self.rows, calls.batching) if calls.batching is not None else None
        self.loops = self._coalesced.loops if self._coalesced is not None else ()
        """What must run for as long as the store is used."""

    async def execute(self, operation: Operation) -> ExecutionResult:
        started = time.perf_counter()
        await self._followed.wait(operation.tables)
        try:
            if self._guarantees is None:
                rows = self.rows if self._coalesced is None or operation.action == LISTING else self._coalesced
                return await executor.execute(rows, operation)
            await self._guarantees.ensure_tables()
            return await executor.execute_for_client(self.rows, operation)
        except Refused as error:
            if self._guarantees is not None and error.reason == NO_TABLE:
                self._guarantees.forget_tables()
            request_creation(self._followed, error, operation.tables)
            raise
        finally:
            self._observe(operation.action, time.perf_counter() - started)

    async def get(self, key: Key) -> StoredItem:
        return await (self._coalesced or self.rows).get(key)

    async def put(self, key: Key, wanted: Item | None, stored: StoredItem) -> StoredItem | None:
        return await (self._coalesced or self.rows).put(key, wanted, stored)

    def image(self, key: Key, item: Item | None) -> tuple[Item | None, tuple[Fault, ...]]:
        return self.rows.image(key, item)
