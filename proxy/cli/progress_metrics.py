"""Publishes the progress of a long command to Prometheus, on a port of its own.

Off unless `--metrics` gives an address. It publishes numbers and no item, and never delays the command.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily

from proxy.cli.progress import ProgressSnapshot
from proxy.settings import Address
from proxy.settings.validation import SettingsError


class ProgressMetrics:
    """The metrics of a command's progress. As a context manager, it answers `GET /metrics` until the end of the block.

    If `address` is None, nothing is published. Raises SettingsError if the address cannot be bound.
    """

    def __init__(self, what: str, table: str, now: Callable[[], ProgressSnapshot], address: Address | None) -> None:
        self._labels = (what, table)
        self._now = now
        self._address = address
        self._stop: Callable[[], None] = lambda: None

    def __enter__(self) -> Self:
        if self._address is None:
            return self
        registry = CollectorRegistry()
        registry.register(self)
        try:
            server, thread = start_http_server(self._address.port, self._address.host, registry)
        except OSError as error:
            raise SettingsError([f"--metrics {self._address}: {error.strerror or error}: choose another"]) from error

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join(1)

        self._stop = stop
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the metrics; the registry calls this."""
        now = self._now()
        for name, text, value in (
            (
                "crossfade_job_items",
                "Items done, including those of an earlier run.",
                now.items,
            ),
            (
                "crossfade_job_items_expected",
                "Items expected; 0 if unknown.",
                now.total or 0,
            ),
            ("crossfade_job_bytes", "Bytes of items done.", now.size),
            ("crossfade_job_read_units", "Read capacity units spent.", now.rcu),
            ("crossfade_job_retries", "Calls that were retried.", now.retries),
        ):
            family = GaugeMetricFamily(name, text, labels=("what", "table"))
            family.add_metric(self._labels, value)
            yield family
