"""Converges the journal's keys: one after another by workers, or at once for a write that was just rehearsed.

The stage of a key says which way it converges, at the moment that it is claimed. A key whose convergence fails is tried
again later, or parked. Compares nothing for verdicts.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from proxy.dynamodb.schema import Key
from proxy.metrics.registry import Metrics
from proxy.shadow.convergence.converge import converge as converge_key
from proxy.shadow.convergence.refusal_log import RefusalLog
from proxy.shadow.instrumentation import Converge
from proxy.shadow.journal.entries import ClaimedKey
from proxy.shadow.journal.journal import Journal
from proxy.stores.circuit_breaker import CircuitBreaker
from proxy.stores.error_remedies import item_fault, parked_remedy
from proxy.stores.errors import Refused, StoreError, UnknownOutcome
from proxy.stores.interface import Store, Unrepresentable
from proxy.stores.table_registry import Table

log = structlog.get_logger(__name__)

_NO_TABLE: Final = "ResourceNotFoundException"
_RETRY_SECONDS: Final = 1.0
_REFUSED_RETRY_SECONDS: Final = 15.0
# While the breaker of one mirror is open and that of the other is not, its keys return to the journal one by one.
_PUT_BACK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Direction:
    """Which store a convergence reads and which it writes."""

    authority: Store
    """The store that is read."""
    mirror: Store
    """The store that is made to hold what the authority holds."""
    breaker: CircuitBreaker
    """The circuit breaker in front of the mirror."""


class DirectionLookup(Protocol):
    """The lookup of the way that a key converges (`proxy.shadow.request.routing.Routes`)."""

    def direction_of(self, key: Key) -> Direction | None:
        """Return which way the key converges now; None where there is no mirror any more."""

    def breakers(self) -> tuple[CircuitBreaker, ...]:
        """Return the breakers in front of the mirrors that are in use."""


class Converger:
    """The worker that takes keys from the journal and makes them equal in both stores."""

    def __init__(
        self,
        journal: Journal,
        directions: DirectionLookup,
        metrics: Metrics,
        settle: dict[str, float],
        find_table: Callable[[str], Awaitable[Table | None]],
        on_failure: Callable[[str, str], None] = lambda _, __: None,
        converge: Converge = converge_key,
    ) -> None:
        """`settle` is each store's settle time in seconds, by the store's name. `find_table` is `Tables.find`.
        `on_failure` is called with the table and the reason of each failure. `converge` makes one key equal.
        """
        self._journal = journal
        self._directions = directions
        self._metrics = metrics
        self._settle = settle
        self._find_table = find_table
        self._on_failure = on_failure
        self._converge = converge
        self._refusals = RefusalLog()

    async def converge_next(self) -> None:
        """Converge the next key that is due. While the breakers of all mirrors are open, wait first."""
        waits = [b.seconds_until_retry for b in self._directions.breakers()]
        if all(waits):
            await asyncio.sleep(min(waits))
        await self.converge(await self._journal.next(), respect_breaker=True)

    async def converge(self, claim: ClaimedKey, *, respect_breaker: bool = False) -> None:
        """Converge a claimed key and end the claim, whatever happens.

        With `respect_breaker`, a key whose mirror has an open breaker is retried later without a call.
        """
        mirror = ""
        try:
            table = await self._find_table(claim.key.table)
            if table is None or not table.schema.has_form(claim.key):
                # DynamoDB has no such table any more, or a new one of its name with other keys: there is nothing to
                # hold.
                self._journal.mark_converged(claim)
                return
            direction = self._directions.direction_of(claim.key)
            if direction is None:
                self._journal.mark_converged(claim)
                return
            mirror = direction.mirror.name
            if respect_breaker and direction.breaker.is_open:
                await asyncio.sleep(_PUT_BACK_SECONDS)
                self._journal.retry_later(claim, direction.breaker.seconds_until_retry)
                return
            await self._converge(claim.key, direction.authority, direction.mirror)
        except Unrepresentable as error:
            self._park(claim, str(error), _reasons(error))
            return
        except UnknownOutcome as error:
            self.mark_unsettled([claim.key], mirror)
            self._retry_later(claim, error, _RETRY_SECONDS)
            return
        except Refused as error:
            if error.reason == _NO_TABLE:
                self._journal.mark_converged(claim)
                return
            fault = item_fault(error.reason)
            if fault is not None:
                reason = f"{error.reason}: {fault}"
                self._park(claim, reason, [reason])
                return
            self._refusals.report(claim.key.table, error)
            self._retry_later(claim, error, _REFUSED_RETRY_SECONDS)
            return
        except StoreError as error:
            self._retry_later(claim, error, _RETRY_SECONDS)
            return
        except asyncio.CancelledError:
            self._journal.retry_later(claim, 0.0)
            raise
        except Exception:
            self._journal.retry_later(claim, _REFUSED_RETRY_SECONDS)
            raise
        self.mark_converged(claim)

    def mark_converged(self, claim: ClaimedKey) -> None:
        """End a claim: the key was seen to be equal in both stores."""
        seconds = self._journal.mark_converged(claim)
        if seconds is not None:
            self._metrics.journal.converged(seconds)

    def mark_unsettled(self, keys: list[Key], store: str) -> None:
        """Note that a call on these keys has an unknown outcome on `store`: they converge again after its settle
        time."""
        self._journal.mark_unsettled(keys, self._settle[store], store)

    def _park(self, claim: ClaimedKey, reason: str, reasons: list[str]) -> None:
        known = self._journal.parked.reason_of(claim.key)
        self._journal.park(claim, reason)
        if known != reason and self._journal.parked.reason_of(claim.key) == reason:
            key_id = self._journal.parked.id_of(claim.key)
            log.warning("key_parked", table=claim.key.table, key=key_id, reasons=reasons, remedy=parked_remedy(key_id))

    def _retry_later(self, claim: ClaimedKey, error: StoreError, seconds: float) -> None:
        self._metrics.stores.mirror_retried(error.reason)
        self._on_failure(claim.key.table, error.reason)
        direction = self._directions.direction_of(claim.key)
        closed_for = direction.breaker.seconds_until_retry if direction is not None else 0.0
        self._journal.retry_later(claim, max(seconds * random.uniform(0.5, 1.5), closed_for))  # noqa: S311


def _reasons(error: Unrepresentable) -> list[str]:
    """Return field and reason of each fault; they name types and sizes, never values."""
    return [f"{fault.field}: {fault.reason}" for fault in error.faults]
