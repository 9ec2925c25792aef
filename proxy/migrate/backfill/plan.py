"""What a backfill is of, and what it reads items and writes rows with. No I/O of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.cutover.gate.basis import Basis
from proxy.dynamodb.schema import TableSchema
from proxy.mapping.interface import TableMapping
from proxy.migrate.table_jobs.job_participant import JobParticipant
from proxy.migrate.table_jobs.rate_limiter import RateLimiter
from proxy.migrate.table_jobs.sources import Source
from proxy.stores.dsql.bulk import Bulk
from proxy.stores.dsql.system_tables.checkpoints import Checkpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillPlan:
    """What a backfill brings to DSQL."""

    schema: TableSchema
    """The keys of the DynamoDB table."""
    mapping: TableMapping
    """How its items become rows."""
    settle_seconds: float
    """DSQL's settle time."""
    references: Sequence[str] = ()
    """The attributes that refer to other items. Items without them are brought first."""
    basis: Basis = Basis()  # noqa: RUF009  (frozen)
    """The mapping and the eras that the backfill is of. Progress made on another basis does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfillAccess:
    """The means by which a backfill reads items, writes rows and keeps its progress."""

    source: Source
    """Where the items come from."""
    participant: JobParticipant
    """Allows writes to the mirror, in units that a flip waits for."""
    bulk: Bulk
    """Digests and inserts of many rows."""
    checkpoints: Checkpoints
    """The backfill's saved progress, and the claims on its parts."""
    limiter: RateLimiter
    """Limits items per second."""
