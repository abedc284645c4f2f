"""Counters and histograms as plain dictionaries, shown as families of ``prometheus_client``.

A request changes about fifteen of them, which takes that library's own five times as long.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

Labels = tuple[str, ...]


class Counter(defaultdict[Labels, float]):
    """Numbers that only grow, by the values of ``labels``: ``counter["p0", "ok"] += 1``."""

    def __init__(self, name: str, documentation: str, *labels: str) -> None:
        super().__init__(float)
        self._name, self._documentation, self._labels = name, documentation, labels

    def family(self) -> Metric:
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, number in self.items():
            family.add_metric([str(value) for value in values], number)
        return family


class Histogram:
    """How many values lay below each of ``bounds``, and their sum, by the values of ``labels``."""

    def __init__(self, name: str, documentation: str, bounds: Sequence[float], *labels: str) -> None:
        self._name, self._documentation, self._labels = name, documentation, labels
        self._bounds = tuple(bounds)
        # A number for each bucket, the one without a bound behind them, and the sum.
        self._held: defaultdict[Labels, list[float]] = defaultdict(lambda: [0.0] * (len(bounds) + 2))
        if not labels:
            self._held[()]  # shown as 0 from the beginning

    def observe(self, labels: Labels, value: float) -> None:
        held = self._held[labels]
        held[bisect_left(self._bounds, value)] += 1
        held[-1] += value

    def family(self) -> Metric:
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, (*counts, total) in self._held.items():
            family.add_metric([str(value) for value in values], list(self._buckets(counts)), total)
        return family

    def _buckets(self, counts: Sequence[float]) -> Iterator[tuple[str, float]]:
        """Each bound with the number of all values up to it."""
        below = 0.0
        for bound, number in zip((*self._bounds, float("inf")), counts, strict=True):
            below += number
            yield floatToGoString(bound), below  # type: ignore[no-untyped-call]
