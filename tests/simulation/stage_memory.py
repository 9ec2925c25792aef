"""DynamoDB for the stage table alone, in memory: its conditions and transactions are computed as the product does.

What goes wrong on the way is the `Line`'s business; a write may land after everyone has given up on it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, Final

from proxy.cutover.flip.protocol import StageTableState
from proxy.cutover.stage_table import StageRow, read_state
from proxy.dynamodb.operations import WRITES, decode, parse_body
from proxy.dynamodb.outcome import Outcome
from proxy.dynamodb.schema import Key, TableSchema
from proxy.dynamodb.values import Item
from proxy.stores.errors import UnknownOutcome
from proxy.stores.execution import executor
from tests.simulation.line import Line
from tests.simulation.memory import Memory, View, at_once

NAME: Final = "crossfade_stages"
DEFINITION: Final[dict[str, Any]] = {
    "TableName": NAME,
    "TableStatus": "ACTIVE",
    "KeySchema": [{"AttributeName": "scope", "KeyType": "HASH"}, {"AttributeName": "name", "KeyType": "RANGE"}],
    "AttributeDefinitions": [
        {"AttributeName": "scope", "AttributeType": "S"},
        {"AttributeName": "name", "AttributeType": "S"},
    ],
}
SCHEMA: Final = TableSchema.from_description(DEFINITION)
STATE: Final = SCHEMA.key_of({"scope": {"S": "stages"}, "name": {"S": "state"}})


class StageMemory:
    """What `StageTable` asks. `line` is the way there of whoever asks next (None: there and back at once)."""

    def __init__(
        self,
        clock: Callable[[], float],
        limit: float = 1.0,
        changed: Callable[[Key, Item | None], None] = lambda _, __: None,
    ) -> None:
        self.memory = Memory(clock, changed)
        self.asked: dict[str, int] = {}
        self._limit = limit
        self._count = itertools.count()

    def by(self, line: Line | None) -> StageAsked:
        """Over a way of one's own."""
        return StageAsked(self, line)

    @property
    def state(self) -> StageTableState:
        """The state as it is."""
        item = self.memory.rows.get(STATE)
        return StageTableState.from_row(read_state(item) if item is not None else StageRow())

    async def ask(self, action: str, body: bytes, line: Line | None) -> Outcome:
        self.asked[action] = self.asked.get(action, 0) + 1
        if action == "DescribeTable":
            return Outcome.of({"Table": DEFINITION})
        if line is None:
            return self._do(action, body)
        writes = action in WRITES
        try:
            async with asyncio.timeout(self._limit):
                return await line.ask(lambda: self._do(action, body), writes=writes, keys=(f"{next(self._count)}",))
        except TimeoutError:
            raise UnknownOutcome("timeout") from None

    def _do(self, action: str, body: bytes) -> Outcome:
        operation = decode(action, body, parse_body(body), {NAME: SCHEMA})
        return at_once(executor.execute(View(self.memory, self.memory.rows.get), operation)).outcome


class StageAsked:
    """`proxy.cutover.stage_table.DynamoDBCalls`."""

    def __init__(self, shared: StageMemory, line: Line | None) -> None:
        self._shared = shared
        self._line = line

    async def call(self, action: str, body: bytes) -> Outcome:
        return await self._shared.ask(action, body, self._line)
