"""The journal: its keys, how old they are, and how long convergence took."""

from prometheus_client import CollectorRegistry, Gauge

from proxy.metrics.histogram import COARSE, Timings


class JournalMetrics:
    """The journal: its keys, how old they are, and how long convergence took."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._convergence = Timings(
            "crossfade_convergence_seconds",
            "Time from a key's entry in the journal to its convergence, in seconds.",
            (),
            buckets=COARSE,
            registry=registry,
        )
        self._journal_keys = Gauge("crossfade_journal_keys", "Keys not yet known to have converged.", registry=registry)
        self._journal_oldest = Gauge(
            "crossfade_journal_oldest_seconds", "Age of the oldest key in the journal, in seconds.", registry=registry
        )
        self._parked = Gauge(
            "crossfade_parked_keys", "Keys whose items the mapping cannot hold without loss.", registry=registry
        )

    def converged(self, seconds: float) -> None:
        """A key left the journal `seconds` after it had entered."""
        self._convergence.observe((), seconds)

    def backlog(self, keys: int, oldest_seconds: float, parked: int) -> None:
        """The journal holds `keys`, the oldest for `oldest_seconds`, and `parked` beside."""
        self._journal_keys.set(keys)
        self._journal_oldest.set(oldest_seconds)
        self._parked.set(parked)
