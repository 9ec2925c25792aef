"""The bypass: operations on items that go to DynamoDB alone, because nothing in their tables is mirrored or because
they cannot be decoded.

The write fence and the lease hold for them too: a table may be moved while such a write is in flight.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.cutover.flip.fencing import ServingLease
from proxy.dynamodb.operations import READS
from proxy.dynamodb.outcome import Outcome
from proxy.metrics.registry import Metrics
from proxy.shadow.instrumentation import Passthrough
from proxy.shadow.request.writes import LEASE_EXPIRED
from proxy.shadow.write_fence import WriteFence
from proxy.stores.errors import UnknownOutcome, Unreachable


@dataclass(frozen=True, slots=True, kw_only=True)
class Bypass:
    """The path of operations on items past the mirror."""

    dynamodb: Passthrough
    """DynamoDB, called past the mirror."""
    fence: WriteFence
    """The fence that holds writes while a stage is moved."""
    lease: ServingLease
    """The lease under which this process acknowledges writes."""
    metrics: Metrics
    """Counts the writes that were held."""

    async def execute(self, action: str, body: bytes, tables: Iterable[str] = ()) -> Outcome:
        """Send an operation to DynamoDB alone: nothing in `tables` is mirrored, or (with none) it cannot be decoded.
        PartiQL counts as a write, because a statement may be one.

        Raises StoreError: Unreachable if it is a write and writes are held, UnknownOutcome if this process may no
        longer acknowledge it.
        """
        if action in READS:
            return await self.dynamodb.call(action, body)
        # The move of one table must neither wait for writes to other tables nor hold them.
        scopes = tuple((table, "") for table in tables)
        if self.fence.holds(scopes) or (self.fence.held and not scopes):
            self.metrics.cutover.held()
            raise Unreachable("held", "writes are held while a stage is moved")
        in_flight, term = self.fence.begin(scopes), self.lease.term
        try:
            outcome = await self.dynamodb.call(action, body)
            if not self.lease.holds(term):
                raise UnknownOutcome("lease", LEASE_EXPIRED)
            return outcome
        finally:
            self.fence.end(in_flight)
