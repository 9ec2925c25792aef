"""Takes keys from the journal and converges them: by workers, or at once for a write that was just rehearsed.

Which way a key converges is its stage's to say, at the moment it is taken. Decides what becomes of a key whose
convergence fails: later again, or parked. Compares nothing for verdicts.
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
from proxy.shadow.convergence.converge import converge as as_it_is
from proxy.shadow.convergence.refusal_log import Refusals
from proxy.shadow.instrumentation import Converge
from proxy.shadow.journal.entries import Work
from proxy.shadow.journal.journal import Journal
from proxy.stores.circuit_breaker import CircuitBreaker
from proxy.stores.errors import Refused, StoreError, UnknownOutcome
from proxy.stores.interface import Store, Unrepresentable
from proxy.stores.table_registry import Table

log = structlog.get_logger(__name__)

_NO_TABLE: Final = "ResourceNotFoundException"
_SOON: Final = 1.0
_LATER: Final = 15.0
# While one mirror is left alone and the other is not, its keys are put back one after another, and not all at once.
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


class Directions(Protocol):
    """Which way keys converge (`proxy.shadow.request.routing`)."""

    def direction_of(self, key: Key) -> Direction | None: ...

    def breakers(self) -> tuple[CircuitBreaker, ...]:
        """Those before the mirrors that are in use."""


class Converger:
    """`directions` says which way a key converges, and None where it has nowhere to go; `settle` gives each store's
    settle time in seconds, by name; `find` is `Tables.find`; `failed` is told each failure's table and
    reason; `converge` makes one key equal (`proxy.shadow.convergence.converge`)."""

    def __init__(
        self,
        journal: Journal,
        directions: Directions,
        metrics: Metrics,
        settle: dict[str, float],
        find: Callable[[str], Awaitable[Table | None]],
        failed: Callable[[str, str], None] = lambda _, __: None,
        converge: Converge = as_it_is,
    ) -> None:
        self._journal = journal
        self._directions = directions
        self._metrics = metrics
        self._settle = settle
        self._find = find
        self._failed = failed
        self._converge = converge
        self._refusals = Refusals()

    async def work(self) -> None:
        """Converge one key: the next that is due. Waits while the mirror is being left alone."""
        waits = [b.seconds_until_retry for b in self._directions.breakers()]
        if all(waits):
            await asyncio.sleep(min(waits))
        await self.converge(await self._journal.next(), patiently=True)

    async def converge(self, work: Work, *, patiently: bool = False) -> None:
        """Converge a key taken from the journal, or say to the journal what becomes of it."""
        mirror = ""
        try:
            table = await self._find(work.key.table)
            if table is None or not table.schema.has_form(work.key):
                # DynamoDB has no such table any more, or another of its name: there is nothing to hold.
                self._journal.done(work)
                return
            direction = self._directions.direction_of(work.key)
            if direction is None:
                self._journal.done(work)
                return
            mirror = direction.mirror.name
            if patiently and direction.breaker.is_open:
                await asyncio.sleep(_PUT_BACK_SECONDS)
                self._journal.retry_later(work, direction.breaker.seconds_until_retry)
                return
            await self._converge(work.key, direction.authority, direction.mirror)
        except Unrepresentable as error:
            self._journal.park(work, str(error))
            log.warning("key_parked", table=work.key.table, reasons=_reasons(error))
            return
        except UnknownOutcome as error:
            self.linger([work.key], mirror)
            self._again(work, error, _SOON)
            return
        except Refused as error:
            if error.reason == _NO_TABLE:
                self._journal.done(work)
                return
            self._refusals.tell(work.key.table, error)
            self._again(work, error, _LATER)
            return
        except StoreError as error:
            self._again(work, error, _SOON)
            return
        except asyncio.CancelledError:
            self._journal.retry_later(work, 0.0)
            raise
        except Exception:
            self._journal.retry_later(work, _LATER)
            raise
        self.done(work)

    def done(self, work: Work) -> None:
        """The key was seen to be equal in both stores."""
        seconds = self._journal.done(work)
        if seconds is not None:
            self._metrics.journal.converged(seconds)

    def linger(self, keys: list[Key], store: str) -> None:
        """A call on these keys has an unknown outcome on a store: they converge again when nothing can linger."""
        self._journal.mark_unsettled(keys, self._settle[store], store)

    def _again(self, work: Work, error: StoreError, seconds: float) -> None:
        self._metrics.stores.mirror_retried(error.reason)
        self._failed(work.key.table, error.reason)
        direction = self._directions.direction_of(work.key)
        closed_for = direction.breaker.seconds_until_retry if direction is not None else 0.0
        self._journal.retry_later(work, max(seconds * random.uniform(0.5, 1.5), closed_for))  # noqa: S311


def _reasons(error: Unrepresentable) -> list[str]:
    """Field and reason, which name types and sizes and never values."""
    return [f"{fault.field}: {fault.reason}" for fault in error.faults]
