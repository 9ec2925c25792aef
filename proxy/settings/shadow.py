"""How the layer works: `[journal]`, `[mirror]`, `[compare]`, `[stages]`, `[stream]`, `[shutdown]`, and the stages of
`[tables]`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, TypeAlias

from proxy.settings.validation import AnyOf, InRange, Seconds

Stage: TypeAlias = Literal["off", "dualwrite", "shadow", "live", "rampdown", "complete"]
StageName = Annotated[Stage, AnyOf(("off", "dualwrite", "shadow", "live", "rampdown", "complete"))]


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """The durable set of keys. `synchronous`, SQLite's: `full` survives a power cut, `normal` a killed process."""

    path: Path = Path(".crossfade/journal.sqlite")
    synchronous: Annotated[str, AnyOf(("normal", "full"))] = "normal"


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """When the mirror is left alone: after `failures` consecutive failures, for a time."""

    failures: Annotated[int, InRange(1, 10_000)] = 10
    reset_seconds: Seconds = 5.0


@dataclass(frozen=True, slots=True)
class Mirror:
    """What the mirror may cost: keys that converge at a time, keys waiting to converge in memory, comparisons waiting,
    keys of one call to a store and how long a key waits for others, and how long a turn of the event loop may take
    while comparisons are begun."""

    concurrency: Annotated[int, InRange(1, 1024)] = 64
    queue: Annotated[int, InRange(1, 1_000_000)] = 10_000
    comparisons_queue: Annotated[int, InRange(1, 1_000_000)] = 2_000
    group_keys: Annotated[int, InRange(1, 100)] = 50
    group_wait_seconds: Annotated[float, InRange(0, 1)] = 0.005
    max_turn_seconds: Annotated[float, InRange(0.001, 60)] = 0.01
    rehearse_timeout_seconds: Seconds = 5.0
    alone: bool = False
    breaker: BreakerSettings = BreakerSettings()


@dataclass(frozen=True, slots=True)
class CompareSettings:
    """What of two answers is compared. `messages`: the words of two errors of one code, beside the code."""

    messages: bool = False


@dataclass(frozen=True, slots=True)
class ExpirySettings:
    """Time to live where DSQL is the authority: seconds to rest after each pass over the tables whose items expire, and
    the most items to read in a second."""

    enabled: bool = True
    every_seconds: Seconds = 60.0
    rate: Annotated[float, InRange(1, 1_000_000)] = 2_000.0


@dataclass(frozen=True, slots=True)
class Shutdown:
    """How long a stop may take: for requests under way, then for keys to converge. The rest stays in the journal."""

    finish_seconds: Annotated[float, InRange(0, 600)] = 10.0
    converge_seconds: Annotated[float, InRange(0, 600)] = 10.0


@dataclass(frozen=True, slots=True)
class TypeSettings:
    """One item type of a table."""

    stage: StageName | None = None


@dataclass(frozen=True, slots=True)
class TableSettings:
    """One table: its starting stage, and its types'. What is not set is inherited."""

    stage: StageName | None = None
    types: Mapping[str, TypeSettings] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Stream:
    """The DynamoDB streams to follow, by their tables: what is written past the proxies then converges too. `start`:
    where a stream begins that was never read; `delay_seconds`: how old a record is to be before its key is nominated.
    """

    tables: tuple[str, ...] = ()
    start: Annotated[Literal["trim_horizon", "latest"], AnyOf(("trim_horizon", "latest"))] = "trim_horizon"
    poll_seconds: Annotated[float, InRange(0.01, 60)] = 1.0
    delay_seconds: Annotated[float, InRange(0, 60)] = 2.0


def _dynamodb_table(value: str) -> str | None:
    if re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", value):
        return None
    return f"{value!r} cannot be a DynamoDB table: use 3 to 255 letters, digits, '_', '-' and '.'"


@dataclass(frozen=True, slots=True)
class StagesSettings:
    """Where stages live once they can be moved: a DynamoDB table, which is made if it is not there. Without `table` the
    stages are pinned: those of the settings, and moved by nobody."""

    table: Annotated[str | None, _dynamodb_table] = None
    lease_seconds: Annotated[float, InRange(1, 300)] = 20.0
    poll_seconds: Annotated[float, InRange(0.05, 60)] = 1.0
    hold_seconds: Annotated[float, InRange(0.1, 60)] = 2.0

    def __post_init__(self) -> None:
        if self.poll_seconds > self.lease_seconds / 3:
            raise ValueError(
                f"poll_seconds ({self.poll_seconds:g}) must be a third of lease_seconds ({self.lease_seconds:g}) at "
                "most: a lease is to outlive a poll that fails"
            )
