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


class KeyStages:
    """The lookup of the stage of a key."""

    def __init__(self, stages: Stages, tables: Tables) -> None:
        self._stages = stages
        self._tables = tables

    def stage_of(self, key: Key) -> Stage:
        """Return the stage of a key: its item type's, if its attributes name the type, or else the table's."""
        return self._stages.stage_of(key.table, self._tables.type_of(key))


class Directions:
    """`DirectionLookup`: which way each key converges. `by_authority` has one for each store."""

    def __init__(self, by_authority: Mapping[str, Direction], stages: Stages, key_stages: KeyStages) -> None:
        self._by_authority = by_authority
        self._stages = stages
        self._key_stages = key_stages

    def direction_of(self, key: Key) -> Direction | None:
        """Return which way a key converges now; None where there is no mirror any more."""
        stage = self._key_stages.stage_of(key)
        return None if stage is Stage.COMPLETE else self._by_authority[stage.authority]

    def breakers(self) -> tuple[CircuitBreaker, ...]:
        """Return the breakers in front of the mirrors that are in use."""
        return tuple(self._by_authority[name].breaker for name in self._stages.authorities)
