"""The two ways in which the stores can stand to each other: DynamoDB the authority, or DSQL.

Everything between them is made once for each, and the stage of a table or type says which is meant. Nothing here
decides; it only looks up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy.cutover.stages import Stage, Stages
from proxy.dynamodb.schema import Key
from proxy.shadow.convergence.converger import Direction
from proxy.shadow.instrumentation import ReadComparer, WriteRehearser
from proxy.stores.circuit_breaker import CircuitBreaker
from proxy.stores.interface import Store
from proxy.stores.table_registry import Tables


@dataclass(frozen=True, slots=True)
class Route:
    """A direction, with what compares in it. `asked` is the mirror, as rehearsals, reads and the ramp ask it. `failed`
    is told (table, reason) of what DSQL failed to answer a client."""

    direction: Direction
    mirror: Store
    rehearsal: WriteRehearser
    comparison: ReadComparer
    on_failure: Callable[[str, str], None]


class Routes:
    """`by_authority` has one way for each store that may be the authority; it may be filled later."""

    def __init__(self, by_authority: Mapping[str, Route], stages: Stages, tables: Tables) -> None:
        self._by_authority = by_authority
        self._stages = stages
        self._tables = tables

    def with_authority(self, store: str) -> Route:
        return self._by_authority[store]

    def stage_of(self, key: Key) -> Stage:
        """The stage of a key: its type's, where its attributes tell the type."""
        return self._stages.stage_of(key.table, self._tables.type_of(key))

    def direction_of(self, key: Key) -> Direction | None:
        """Which way a key converges now; None where there is no other store any more."""
        stage = self.stage_of(key)
        return None if stage is Stage.COMPLETE else self.with_authority(stage.authority).direction

    def mirrors(self) -> dict[str, CircuitBreaker]:
        """The breakers by the names of the stores that they stand before."""
        return {route.direction.mirror.name: route.direction.breaker for route in self._by_authority.values()}

    def breakers(self) -> tuple[CircuitBreaker, ...]:
        """Those before the mirrors that are in use."""
        return tuple(self._by_authority[name].direction.breaker for name in self._stages.authorities)
