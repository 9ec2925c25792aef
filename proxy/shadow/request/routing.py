"""The two routes of a call: with DynamoDB as the authority and DSQL as the mirror, or the other way round.

Each route has its own comparisons and breaker, and the stage of a table or item type says which route applies. Nothing
here decides; it only looks up.
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
    """What serves calls and compares answers for one of the two authorities."""

    direction: Direction
    """The stores as convergence uses them, and the breaker in front of the mirror."""
    mirror: Store
    """The mirror as rehearsals, comparisons and the ramp use it."""
    rehearsal: WriteRehearser
    comparison: ReadComparer
    on_failure: Callable[[str, str], None]
    """Called with the table and the reason when DSQL fails to answer a client."""


class Routes:
    """The lookup of routes. `by_authority` has one for each store that may be the authority; it may be filled later."""

    def __init__(self, by_authority: Mapping[str, Route], stages: Stages, tables: Tables) -> None:
        self._by_authority = by_authority
        self._stages = stages
        self._tables = tables

    def with_authority(self, store: str) -> Route:
        """Return the route with this store as the authority. Raises KeyError."""
        return self._by_authority[store]

    def stage_of(self, key: Key) -> Stage:
        """Return the stage of a key: its item type's, if its attributes name the type, or else the table's."""
        return self._stages.stage_of(key.table, self._tables.type_of(key))

    def direction_of(self, key: Key) -> Direction | None:
        """Return which way a key converges now; None where there is no mirror any more."""
        stage = self.stage_of(key)
        return None if stage is Stage.COMPLETE else self.with_authority(stage.authority).direction

    def mirrors(self) -> dict[str, CircuitBreaker]:
        """Return the breakers, by the name of the store that each is in front of."""
        return {route.direction.mirror.name: route.direction.breaker for route in self._by_authority.values()}

    def breakers(self) -> tuple[CircuitBreaker, ...]:
        """Return the breakers in front of the mirrors that are in use."""
        return tuple(self._by_authority[name].direction.breaker for name in self._stages.authorities)
