"""Which of the two stores is to be made to hold what the other holds."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.stores.circuit_breaker import CircuitBreaker
from proxy.stores.interface import Store


@dataclass(frozen=True, slots=True)
class Direction:
    """`authority` is read, `mirror` is written; `breaker` stands before the mirror."""

    authority: Store
    mirror: Store
    breaker: CircuitBreaker
