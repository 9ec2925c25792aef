"""What a simulation has in place of the stores that `proxy.app.open_stores` opens: `compose_layer` is the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from proxy.app.compose_layer import InstrumentLayer
from proxy.app.open_stores import Loop, Stores
from proxy.cutover.flip.fencing import FenceControl
from proxy.cutover.flip.participant import Participant
from proxy.dynamodb.operations import Operation
from proxy.dynamodb.schema import Key
from proxy.dynamodb.values import Item
from proxy.mapping.interface import Fault
from proxy.mapping.load import LoadedMapping
from proxy.shadow.comparison.peers import PeerMessageStore
from proxy.shadow.instrumentation import Instrumentation, VerdictSink
from proxy.shadow.verdict_record import VerdictRecord
from proxy.stores.coalescer import Batching
from proxy.stores.dsql.system_tables.sweep_records import SweepRecord
from proxy.stores.dynamodb.store import DynamoDBStore
from proxy.stores.execution import executor
from proxy.stores.execution.coalesced_rows import CoalescedRows
from proxy.stores.interface import ExecutionResult, Store, StoredItem
from proxy.stores.table_registry import Tables
from tests.simulation.stores import Dsql


class CoalescedDsql:
    """The simulated DSQL as one process has it as the mirror: asked in groups, as `proxy.stores.dsql.store` asks."""

    name = "dsql"

    def __init__(self, dsql: Dsql, batching: Batching) -> None:
        self._dsql = dsql
        self._rows = CoalescedRows(dsql, batching)
        self.loops = self._rows.loops

    async def execute(self, operation: Operation) -> ExecutionResult:
        return await executor.execute(self._rows, operation)

    async def get(self, key: Key) -> StoredItem:
        return await self._rows.get(key)

    async def put(self, key: Key, wanted: Item | None, held: StoredItem) -> StoredItem | None:
        return await self._rows.put(key, wanted, held)

    def image(self, key: Key, item: Item | None) -> tuple[Item | None, tuple[Fault, ...]]:
        return self._dsql.image(key, item)


Hear = Callable[[VerdictRecord], None]


class _NoSweeps:
    """`SweepHistory` with no sweep on record."""

    async def newest(self, table: str) -> SweepRecord | None:
        return None


async def _no_tables() -> Iterable[str]:
    return ()


def simulated_stores(
    dynamodb: DynamoDBStore,
    dsql_mirror: Store,
    dsql_authority: Store,
    tables: Tables,
    messages: PeerMessageStore,
    *,
    mappings: Mapping[str, LoadedMapping] | None = None,
    enlist: Callable[[FenceControl, str], Participant | None] = lambda _, __: None,
    loops: tuple[Loop, ...] = (),
) -> Stores:
    """`Stores` over a simulated DynamoDB and a simulated DSQL."""
    return Stores(
        mappings=mappings or {},
        tables=tables,
        dynamodb=dynamodb,
        dsql_mirror=dsql_mirror,
        dsql_authority=dsql_authority,
        control=None,
        follow=None,
        messages=messages,
        sweeps=_NoSweeps(),
        remembered_tables=_no_tables,
        on_table_deleted=lambda _: None,
        on_table_described=lambda _: None,
        on_time_to_live=lambda _: None,
        properties=None,
        remember_token=None,
        enlist=lambda fence, process, _: enlist(fence, process),
        loops=loops,
    )


class _HeardVerdicts:
    """`VerdictSink` that the simulation hears, after the layer's own has taken a verdict."""

    def __init__(self, sink: VerdictSink, hear: Hear) -> None:
        self._sink = sink
        self._hear = hear

    def record(self, record: VerdictRecord, /) -> None:
        self._sink.record(record)
        self._hear(record)


def hearing(hear: Hear) -> InstrumentLayer:
    """Instrumentation by which `hear` is called with every verdict."""

    def instrument(*_: Any) -> Instrumentation:
        return Instrumentation(verdict_sink=lambda sink: _HeardVerdicts(sink, hear))

    return instrument
