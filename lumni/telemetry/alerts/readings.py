"""The metrics as rules read them: as they are now, and what they grew by."""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import Metric

Labels = Mapping[str, str]


class Readings:
    """Every sample of one look at the metrics."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._samples: dict[str, list[tuple[Labels, float]]] = {}
        for family in families:
            for sample in family.samples:
                self._samples.setdefault(sample.name, []).append((sample.labels, sample.value))

    def each(self, name: str, **labels: str) -> Iterator[tuple[Labels, float]]:
        """The samples of that name with these labels."""
        return ((given, value) for given, value in self._samples.get(name, ()) if given.items() >= labels.items())

    def total(self, name: str, **labels: str) -> float:
        return sum(value for _, value in self.each(name, **labels))

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Sums by the values of some labels."""
        sums: dict[tuple[str, ...], float] = {}
        for given, value in self.each(name):
            key = tuple(given[label] for label in labels)
            sums[key] = sums.get(key, 0.0) + value
        return sums


class Span:
    """Two looks some minutes apart: ``now``, and how much was counted since the ``earlier`` one."""

    def __init__(self, now: Readings, earlier: Readings) -> None:
        self.now = now
        self._earlier = earlier

    def grew(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """What counters of that name grew by, summed by the values of some labels; a fallen one began anew."""
        before, after = self._earlier.by(name, *labels), self.now.by(name, *labels)
        return {key: value - before.get(key, 0.0) if value >= before.get(key, 0.0) else value
                for key, value in after.items()}  # fmt: skip

    def quantile(self, share: float, name: str) -> float | None:
        """Of a histogram's values in between, as Prometheus has it: linear inside a bucket. ``None`` without any."""
        counts = sorted((float(bound), count) for (bound,), count in self.grew(f"{name}_bucket", "le").items())
        if not counts or counts[-1][1] <= 0:
            return None
        wanted, lower, below = share * counts[-1][1], 0.0, 0.0
        for bound, count in counts:
            if count >= wanted:
                if bound == float("inf"):
                    return lower
                return lower + (bound - lower) * (wanted - below) / max(count - below, 1e-9)
            lower, below = bound, count
        return lower
