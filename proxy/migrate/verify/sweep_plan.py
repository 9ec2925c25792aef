"""What a sweep is of, and what it reads the stores with. No I/O of its own."""

from collections.abc import Sequence
from dataclasses import dataclass

from proxy.cutover.gate.basis import Basis
from proxy.mapping.references import Reference
from proxy.migrate.table_jobs.rate_limiter import RateLimiter
from proxy.migrate.table_jobs.sources import ScanSource
from proxy.migrate.table_jobs.table_reader import TableReader
from proxy.migrate.verify.recheck import Rechecker
from proxy.stores.dsql.bulk import Bulk
from proxy.stores.dsql.system_tables.checkpoints import Checkpoints
from proxy.stores.table_registry import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPlan:
    """What a sweep compares, and what it reports."""

    table: Table
    """The table, with its mapping, comparators and expected differences."""
    authority: str
    """The name of the store that is right."""
    references: Sequence[Reference] = ()
    """The references that are checked in SQL."""
    basis: Basis = Basis()  # noqa: RUF009  (frozen)
    """The mapping and the eras that the sweep is of. What was compared on another basis is compared again."""
    spots: int = 0
    """How many random keys are picked for a comparison by eye."""
    values: bool = False
    """Whether findings show values; otherwise they show hashes and shapes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepAccess:
    """The means by which a sweep reads the stores and keeps its progress."""

    source: ScanSource
    """The parts of the DynamoDB table, and their pages."""
    reader: TableReader
    """Reads many keys of DynamoDB with strong consistency."""
    bulk: Bulk
    """Digests, checksums and rows of the DSQL table."""
    rechecker: Rechecker
    """Decides about keys that seem to differ."""
    checkpoints: Checkpoints
    """The sweep's saved progress."""
    limiter: RateLimiter
    """Limits items per second."""
