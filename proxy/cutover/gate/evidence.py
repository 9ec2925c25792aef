"""The evidence that the gate evaluates: a plain record, of one process or of several merged.

Records merge in any order, and convert to JSON and back. `evidence_collector` collects them and `requirements`
evaluates them. The collector bounds them: patterns and types are few, and counts are kept for a day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self, TypeVar

from proxy.cutover.gate.basis import Basis
from proxy.cutover.stages import Era
from proxy.metrics.histogram import STORE_BUCKETS
from proxy.stores.dsql.system_tables.sweep_records import EQUAL

VERSION: Final = 3
SPAN_SECONDS: Final = 3 * 3600
"""Counts are kept by spans of three hours: fine enough to forget by, and few enough to send every few seconds."""
SPANS: Final = 9
"""The number of spans that cover at least a day."""
SEEN: Final = "seen"

ANSWERED: Final = "answered"
MIRROR_ERROR: Final = "mirror_error"
"""Words of `Evidence.recent`; followed by a blank and a store's name, the mirror errors that were that store's."""
OCC: Final = "occ"

K = TypeVar("K")
V = TypeVar("V")


class AccessPattern(NamedTuple):
    """An access pattern: the table, the item type (`*`: several), the operation, and its shape (`access_patterns`)."""

    table: str
    item_type: str
    operation: str
    shape: str

    def __str__(self) -> str:
        return f"{self.item_type} {self.operation} {self.shape}".rstrip()


class CountKey(NamedTuple):
    """The key of a count: a pattern, a span, and `seen`, a verdict, or `refused` for a request that both stores
    refused."""

    pattern: AccessPattern
    span: int
    outcome: str


@dataclass(frozen=True, slots=True)
class JournalBacklog:
    """A table's keys in the journals: those that have not converged, the oldest one's age in seconds, the parked ones
    by item type, and for how many seconds a call may still take effect on each store, by the store's name."""

    keys: int = 0
    oldest_seconds: float = 0.0
    parked: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    lingering: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    def merged(self, other: Self) -> Self:
        return type(self)(
            self.keys + other.keys,
            max(self.oldest_seconds, other.oldest_seconds),
            _added(self.parked, other.parked),
            _highest(self.lingering, other.lingering),
        )


class LastSweep(NamedTuple):
    """The last sweep of a whole table: when it ended and when its oldest part began (Unix seconds), its `result`
    (`proxy.stores.dsql.system_tables.sweep_records`), which store it took for the authority, its basis, and whether it
    mended all that can be mended: items that the mapping cannot hold cannot be."""

    ended: float
    result: str
    authority: str = ""
    basis: Basis | None = None
    mended: bool = True
    began: float = 0.0


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence of one process or of several. Empty: there is none.

    `reported_at` is when each process last reported, in Unix seconds. `counts` cover the last day; `recent`, by (table,
    type, word), and `timings`, counts by bucket of each (store, operation), the last ten minutes. `troubles` are what
    keeps a process from working, as text. `sweeps` holds the last sweep of each table; `bases` the basis of each
    table's counts (of one process only: before a merge the counts are checked against them); `mappings` the digests of
    each table's mapping that processes use."""

    reported_at: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    counts: Mapping[CountKey, int] = field(default_factory=lambda: MappingProxyType({}))
    recent: Mapping[tuple[str, str, str], int] = field(default_factory=lambda: MappingProxyType({}))
    timings: Mapping[tuple[str, str], tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))
    backlogs: Mapping[str, JournalBacklog] = field(default_factory=lambda: MappingProxyType({}))
    troubles: frozenset[str] = frozenset()
    sweeps: Mapping[str, LastSweep] = field(default_factory=lambda: MappingProxyType({}))
    bases: Mapping[str, Basis] = field(default_factory=lambda: MappingProxyType({}))
    mappings: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))

    def merged(self, other: Self) -> Self:
        """Both records as one. They must not contain the same process twice."""
        standing = dict(self.backlogs)
        for table, theirs in other.backlogs.items():
            mine = standing.get(table)
            standing[table] = theirs if mine is None else mine.merged(theirs)
        timings = dict(self.timings)
        for labels, more in other.timings.items():
            timings[labels] = tuple(map(sum, zip(timings[labels], more, strict=True))) if labels in timings else more
        return type(self)(
            _highest(self.reported_at, other.reported_at),
            _added(self.counts, other.counts),
            _added(self.recent, other.recent),
            MappingProxyType(timings),
            MappingProxyType(standing),
            self.troubles | other.troubles,
            _newest(self.sweeps, other.sweeps),
            mappings=_united(self.mappings, other.mappings),
        )

    def in_current_eras(self, era_of: Callable[[str, str], Era]) -> Evidence:
        """The same without the counts of other eras, which are no evidence any more. For one process."""
        outdated = {
            (table, item_type)
            for table, item_type in {(each.pattern.table, each.pattern.item_type) for each in self.counts}
            if not self.bases.get(table, Basis()).in_era(item_type, era_of(table, item_type))
        }
        if not outdated:
            return self
        kept = {
            key: count
            for key, count in self.counts.items()
            if (key.pattern.table, key.pattern.item_type) not in outdated
        }
        return replace(self, counts=MappingProxyType(kept))

    def document(self) -> dict[str, Any]:
        """The record as JSON; `from_document` reads it back."""
        counts: dict[AccessPattern, dict[str, dict[str, int]]] = {}
        for (pattern, span, word), count in self.counts.items():
            counts.setdefault(pattern, {}).setdefault(str(span), {})[str(word)] = count
        return {
            "version": VERSION,
            "at": dict(self.reported_at),
            "counts": [[*pattern, spans] for pattern, spans in counts.items()],
            "recent": [[*place, count] for place, count in self.recent.items()],
            "timings": [[*labels, list(buckets)] for labels, buckets in self.timings.items()],
            "standing": {
                table: {
                    "keys": here.keys,
                    "oldest_seconds": here.oldest_seconds,
                    "parked": dict(here.parked),
                    "lingering": dict(here.lingering),
                }
                for table, here in self.backlogs.items()
            },
            "troubles": sorted(self.troubles),
            "swept": {
                table: [*last[:3], last.basis.document() if last.basis is not None else None, last.mended, last.began]
                for table, last in self.sweeps.items()
            },
            "bases": {table: basis.document() for table, basis in self.bases.items()},
            "mappings": {table: sorted(digests) for table, digests in self.mappings.items()},
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError for what is not such a document, or one of another version."""
        if document["version"] != VERSION:
            raise ValueError(f"evidence of version {document['version']!r}, not {VERSION}")
        counts = {}
        for table, item_type, operation, how, spans in document["counts"]:
            pattern = AccessPattern(table, item_type, operation, how)
            for span, words in spans.items():
                counts.update({CountKey(pattern, int(span), word): int(count) for word, count in words.items()})
        return cls(
            reported_at=_frozen({name: float(at) for name, at in document["at"].items()}),
            counts=_frozen(counts),
            recent=_frozen({(table, each, word): int(count) for table, each, word, count in document["recent"]}),
            timings=_frozen({(store, action): _buckets(counted) for store, action, counted in document["timings"]}),
            backlogs=_frozen(
                {
                    table: JournalBacklog(
                        int(here["keys"]),
                        float(here["oldest_seconds"]),
                        _frozen({each: int(count) for each, count in here["parked"].items()}),
                        _frozen({store: float(seconds) for store, seconds in here["lingering"].items()}),
                    )
                    for table, here in document["standing"].items()
                }
            ),
            troubles=frozenset(map(str, document["troubles"])),
            sweeps=_frozen({table: _last(*last) for table, last in document["swept"].items()}),
            bases=_frozen({table: Basis.from_document(basis) for table, basis in document["bases"].items()}),
            mappings=_frozen({table: frozenset(map(str, each)) for table, each in document["mappings"].items()}),
        )


def merge(evidence: Iterable[Evidence]) -> Evidence:
    """The evidence of several processes as one."""
    whole = Evidence()
    for each in evidence:
        whole = whole.merged(each)
    return whole


def span_of(seconds: float) -> int:
    """The span that a time (Unix seconds) falls into."""
    return int(seconds // SPAN_SECONDS)


def _buckets(counts: list[int]) -> tuple[int, ...]:
    if len(counts) != len(STORE_BUCKETS) + 1:
        raise ValueError(f"timings of {len(counts)} buckets, not {len(STORE_BUCKETS) + 1}")
    return tuple(map(int, counts))


def _last(
    ended: float, result: str, authority: str, basis: Mapping[str, Any] | None, mended: bool, began: float
) -> LastSweep:
    of = Basis.from_document(basis) if basis is not None else None
    return LastSweep(float(ended), str(result), str(authority), of, bool(mended), float(began))


def _newest(one: Mapping[str, LastSweep], two: Mapping[str, LastSweep]) -> Mapping[str, LastSweep]:
    newer = {table: last for table, last in two.items() if table not in one or _order(one[table]) < _order(last)}
    return MappingProxyType({**one, **newer})


def _order(last: LastSweep) -> tuple[float, bool, bool, float, str, str, str]:
    """The order of sweeps: the newest counts, and of two that ended together the one that proves less. It is total, so
    that evidence can be merged in any order."""
    least = (last.result != EQUAL, not last.mended, -last.began)
    return (last.ended, *least, last.result, last.authority, repr(last.basis))


def _united(one: Mapping[str, frozenset[str]], two: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
    return MappingProxyType({**one, **{table: each | one.get(table, frozenset()) for table, each in two.items()}})


def _added(one: Mapping[K, int], two: Mapping[K, int]) -> Mapping[K, int]:
    return MappingProxyType({**one, **{key: count + one.get(key, 0) for key, count in two.items()}})


def _highest(one: Mapping[K, float], two: Mapping[K, float]) -> Mapping[K, float]:
    return MappingProxyType({**one, **{key: max(value, one.get(key, value)) for key, value in two.items()}})


def _frozen(mapping: dict[K, V]) -> Mapping[K, V]:
    return MappingProxyType(mapping)
