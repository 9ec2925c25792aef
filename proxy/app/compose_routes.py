"""Composes what is between the two stores: a route for either of them as the authority, and the converger of keys.

Breakers come first, then the directions of convergence, the converger, and at last the routes: nothing is handed on
before it is whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from proxy.app.open_stores import Stores
from proxy.cutover.authority.guard import AuthorityGuard
from proxy.cutover.flip.fencing import ServingLease
from proxy.cutover.stages import DSQL, DYNAMODB, Stages
from proxy.dynamodb.schema import Key
from proxy.metrics.registry import Metrics
from proxy.settings import Settings
from proxy.shadow.comparison.peers import NoPeers, PeerActivity
from proxy.shadow.comparison.read_comparison import ReadComparison
from proxy.shadow.comparison.write_rehearsal import WriteRehearsal
from proxy.shadow.convergence.converge import converge
from proxy.shadow.convergence.converger import Converger, Direction
from proxy.shadow.instrumentation import Instrumentation, VerdictSink
from proxy.shadow.journal.journal import Journal
from proxy.shadow.request.routing import Directions, KeyStages, Route
from proxy.shadow.write_fence import WriteFence
from proxy.stores.circuit_breaker import BreakerState, CircuitBreaker
from proxy.stores.guarded_store import ConclusiveStore, GuardedStore
from proxy.stores.interface import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteParts:
    """What both routes share."""

    stores: Stores
    """Both stores."""
    stages: Stages
    """The stages of this process."""
    journal: Journal
    """The journal of this process."""
    fence: WriteFence
    """The fence that takes the keys that a comparison found to differ."""
    lease: ServingLease
    """The lease without which no mirror is written."""
    authority: AuthorityGuard
    """DSQL's record of the authority, without which no mirror is written either."""
    breakers: Mapping[str, CircuitBreaker]
    """The breaker in front of each store as the mirror, by the store's name."""
    peers: PeerActivity | None
    """The other processes over the same stores; None where none is asked."""
    verdicts: VerdictSink
    """Where verdicts go."""
    expiry_attribute: Callable[[str], str | None]
    """Says by which attribute the items of a table expire; None where they do not."""
    on_failure: Callable[[str, str], None]
    """Called with the table and the reason when a convergence fails, or DSQL fails to answer a client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComposedRoutes:
    """The routes, and what converges keys."""

    by_authority: Mapping[str, Route]
    """The route for each store as the authority, by the store's name."""
    key_stages: KeyStages
    """The stage of each key."""
    directions: Directions
    """Which way each key converges."""
    converger: Converger
    """Makes keys equal in both stores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """The stores of one route, guarded."""

    direction: Direction
    """The stores as convergence uses them."""
    compared_mirror: Store
    """The mirror as rehearsals, comparisons and the ramp use it."""
    mirror_is_dsql: bool
    """Whether the mirror is DSQL."""


_OTHER: Final = {DYNAMODB: DSQL, DSQL: DYNAMODB}


def compose_breakers(settings: Settings, metrics: Metrics) -> dict[str, CircuitBreaker]:
    """Return a closed breaker for each store as the mirror, by the store's name."""
    return {name: _breaker(settings, metrics, name) for name in (DSQL, DYNAMODB)}


def compose_routes(
    settings: Settings, metrics: Metrics, parts: RouteParts, instrumentation: Instrumentation
) -> ComposedRoutes:
    """Return the routes for either store as the authority, and what converges keys both ways."""
    stores, journal = parts.stores, parts.journal
    key_stages = KeyStages(parts.stages, stores.tables)
    pairs = {
        authority: _pair(settings, parts, instrumentation, key_stages, authority) for authority in (DYNAMODB, DSQL)
    }
    directions = Directions({name: pair.direction for name, pair in pairs.items()}, parts.stages, key_stages)
    converger = Converger(
        journal,
        directions,
        metrics,
        {DYNAMODB: settings.dynamodb.settle_seconds, DSQL: settings.dsql.settle_seconds},
        stores.tables.find,
        parts.on_failure,
        instrumentation.converge(converge),
    )
    verdicts = instrumentation.verdict_sink(parts.verdicts)
    routes = {}
    for authority, pair in pairs.items():
        served = pair.direction.authority
        rehearsal = WriteRehearsal(
            journal,
            served,
            pair.compared_mirror,
            converger,
            verdicts,
            parts.peers or NoPeers(settings.mirror.alone),
            remember_token=stores.remember_token if pair.mirror_is_dsql else None,
            messages=settings.compare.messages,
        )
        comparison = ReadComparison(
            journal,
            served,
            pair.compared_mirror,
            verdicts,
            parts.peers or NoPeers(alone=True),
            nominate=instrumentation.nominate(parts.fence.nominate),
            messages=settings.compare.messages,
            expiry_attribute=parts.expiry_attribute,
        )
        routes[authority] = Route(
            pair.direction,
            pair.compared_mirror,
            instrumentation.write_rehearser(rehearsal, authority),
            instrumentation.read_comparer(comparison, authority),
            parts.on_failure,
        )
    return ComposedRoutes(by_authority=routes, key_stages=key_stages, directions=directions, converger=converger)


def _pair(
    settings: Settings, parts: RouteParts, instrumentation: Instrumentation, key_stages: KeyStages, authority: str
) -> _Pair:
    """Return the two stores of the route with this authority.

    DynamoDB's own calls have a time limit already; DSQL as the authority gets one here. The mirror is behind a breaker,
    and is written only while it is the mirror.
    """
    stores, lease, record = parts.stores, parts.lease, parts.authority
    served: Store
    mirror: Store
    if authority == DYNAMODB:
        served, mirror, mirror_seconds = stores.dynamodb, stores.dsql_mirror, settings.dsql.timeout_seconds
    else:
        served = GuardedStore(stores.dsql_authority, settings.dsql.timeout_seconds)
        mirror, mirror_seconds = stores.dynamodb, settings.dynamodb.timeout_seconds
    breaker = parts.breakers[_OTHER[authority]]

    def is_mirror_of(key: Key) -> bool:
        return lease.valid and record.may_mirror(key.table) and key_stages.stage_of(key).authority == authority

    # What is compared behind the answer leaves half of the connections to convergence. On the ramp, DSQL's answers are
    # the client's, and wait for nobody.
    turns = asyncio.Semaphore(max(1, settings.dynamodb.connections // 2)) if authority == DSQL else None
    seconds = settings.mirror.rehearse_timeout_seconds
    compared = GuardedStore(ConclusiveStore(mirror), seconds, breaker, is_mirror_of, turns)
    converged = GuardedStore(mirror, mirror_seconds, breaker, is_mirror_of)
    return _Pair(
        direction=Direction(
            instrumentation.store(served, "authority"), instrumentation.store(converged, "mirror"), breaker
        ),
        compared_mirror=instrumentation.store(compared, "mirror"),
        mirror_is_dsql=authority == DYNAMODB,
    )


def _breaker(settings: Settings, metrics: Metrics, store: str) -> CircuitBreaker:
    limits = settings.mirror.breaker
    metrics.stores.breaker(store, is_open=False)
    return CircuitBreaker(
        limits.failures,
        limits.reset_seconds,
        lambda state: metrics.stores.breaker(store, state is not BreakerState.CLOSED),
    )
