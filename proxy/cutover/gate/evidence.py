"""What proxies have seen that the gate needs to know: a plain record, of one process or of several together.

It can be merged in any order, written as JSON, and read back. It decides nothing (`gate`), and collects nothing
(`witness`). Bounded by who makes it: patterns and types are few, and counts are kept for a day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Self, TypeVar

from proxy.metrics.histogram import STORE_BUCKETS

VERSION: Final = 2
SPAN_SECONDS: Final = 3 * 3600
"""Counts are kept by spans of three hours: fine enough to forget by, and few enough to send every few seconds."""
SPANS: Final = 9
"""So many spans are at least a day."""
SEEN: Final = "seen"

K = TypeVar("K")
V = TypeVar("V")


class AccessPattern(NamedTuple):
    """An access pattern: the table, the item type (`*`: several), the operation, and how it asks (`patterns`)."""

    table: str
    item_type: str
    operation: str
    how: str

    def __str__(self) -> str:
        return f"{self.item_type} {self.operation} {self.how}".rstrip()


class CountKey(NamedTuple):
    """What is counted of a pattern in a span: `seen`, a verdict, or `refused` for one that tells little."""

    pattern: AccessPattern
    span: int
    word: str


@dataclass(frozen=True, slots=True)
class JournalBacklog:
    """How a table stands in the journals: keys that have not converged, the oldest one's age in seconds, parked keys
    by item type, and for how many seconds a call may still take effect on each store, by its name."""

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
    """The last sweep of a whole table: when it ended (Unix seconds), its `result`
    (`proxy.stores.dsql.system_tables.sweep_records`), which store it took for the authority, how many processes had
    been forgotten before it began, and whether all was mended that can be: what the mapping cannot hold cannot."""

    ended: float
    result: str
    authority: str = ""
    forgotten: int = 0
    mended: bool = True


H = TypeVar("H", float, LastSweep)


@dataclass(frozen=True, slots=True)
class Evidence:
    """See the module. Empty: nothing was seen by nobody.

    `at` is when each process last told, in Unix seconds. `counts` are of the last day; `recent`, (table, type, word),
    and `timings`, (store, operation) to counts by bucket, of the last ten minutes. `troubles` are what keeps a process
    from working, as people read it. `swept` is the last sweep of each table.
    """

    at: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    counts: Mapping[CountKey, int] = field(default_factory=lambda: MappingProxyType({}))
    recent: Mapping[tuple[str, str, str], int] = field(default_factory=lambda: MappingProxyType({}))
    timings: Mapping[tuple[str, str], tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))
    standing: Mapping[str, JournalBacklog] = field(default_factory=lambda: MappingProxyType({}))
    troubles: frozenset[str] = frozenset()
    swept: Mapping[str, LastSweep] = field(default_factory=lambda: MappingProxyType({}))

    def merged(self, other: Self) -> Self:
        """What both have seen together. Of one process, only one record may be among them: its newest."""
        standing = dict(self.standing)
        for table, theirs in other.standing.items():
            mine = standing.get(table)
            standing[table] = theirs if mine is None else mine.merged(theirs)
        timings = dict(self.timings)
        for labels, more in other.timings.items():
            timings[labels] = tuple(map(sum, zip(timings[labels], more, strict=True))) if labels in timings else more
        return type(self)(
            _highest(self.at, other.at),
            _added(self.counts, other.counts),
            _added(self.recent, other.recent),
            MappingProxyType(timings),
            MappingProxyType(standing),
            self.troubles | other.troubles,
            _highest(self.swept, other.swept),
        )

    def document(self) -> dict[str, Any]:
        """As JSON; `from_document` reads it back."""
        counts: dict[AccessPattern, dict[str, dict[str, int]]] = {}
        for (pattern, span, word), count in self.counts.items():
            counts.setdefault(pattern, {}).setdefault(str(span), {})[str(word)] = count
        return {
            "version": VERSION,
            "at": dict(self.at),
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
                for table, here in self.standing.items()
            },
            "troubles": sorted(self.troubles),
            "swept": {table: list(last) for table, last in self.swept.items()},
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
            at=_frozen({name: float(at) for name, at in document["at"].items()}),
            counts=_frozen(counts),
            recent=_frozen({(table, each, word): int(count) for table, each, word, count in document["recent"]}),
            timings=_frozen({(store, action): _buckets(counted) for store, action, counted in document["timings"]}),
            standing=_frozen(
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
            swept=_frozen({table: _last(*last) for table, last in document["swept"].items()}),
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


def _last(ended: float, result: str, authority: str, forgotten: int, mended: bool) -> LastSweep:
    return LastSweep(float(ended), str(result), str(authority), int(forgotten), bool(mended))


def _added(one: Mapping[K, int], two: Mapping[K, int]) -> Mapping[K, int]:
    return MappingProxyType({**one, **{key: count + one.get(key, 0) for key, count in two.items()}})


def _highest(one: Mapping[K, H], two: Mapping[K, H]) -> Mapping[K, H]:
    return MappingProxyType({**one, **{key: max(value, one.get(key, value)) for key, value in two.items()}})


def _frozen(mapping: dict[K, V]) -> Mapping[K, V]:
    return MappingProxyType(mapping)
