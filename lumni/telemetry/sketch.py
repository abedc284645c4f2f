"""Percentiles of a stream of numbers with a bounded relative error, in little space, that can be added together.

DDSketch by Masson, Rim and Lee (PVLDB 12(12), 2019): values are counted in buckets whose bounds grow by the factor
γ = (1 + α) / (1 - α), so that a bucket's middle is within α of every value in it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Self


@dataclass(slots=True)
class Sketch:
    """Of values that are not negative. From a microsecond to a day of milliseconds it holds under 1,300 buckets."""

    ACCURACY: ClassVar[float] = 0.01  # α: a percentile is within one percent of the true one
    SMALLEST: ClassVar[float] = 1e-3  # what is less counts as 0
    _GAMMA: ClassVar[float] = (1 + ACCURACY) / (1 - ACCURACY)
    _LOG_GAMMA: ClassVar[float] = math.log(_GAMMA)

    count: int = 0
    total: float = 0.0
    largest: float = 0.0
    zeros: int = 0
    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, value: float) -> None:
        """Count one value; a negative one, as clocks may yield, is 0."""
        self.count += 1
        if value < self.SMALLEST:
            self.zeros += 1
            self.total += max(0.0, value)
            self.largest = max(self.largest, value)
            return
        self.total += value
        if value > self.largest:
            self.largest = value
        bucket = math.ceil(math.log(value) / self._LOG_GAMMA)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    @classmethod
    def merged(cls, sketches: Iterable[Self]) -> Self:
        """All values of all sketches in one."""
        whole = cls()
        for sketch in sketches:
            whole.count += sketch.count
            whole.total += sketch.total
            whole.largest = max(whole.largest, sketch.largest)
            whole.zeros += sketch.zeros
            for bucket, number in sketch.buckets.items():
                whole.buckets[bucket] = whole.buckets.get(bucket, 0) + number
        return whole

    def quantile(self, share: float) -> float | None:
        """The value that ``share`` (0 to 1) of all values are at or below (nearest rank); ``None`` without values."""
        if not self.count:
            return None
        rank = max(1, math.ceil(share * self.count))
        seen = self.zeros
        if seen >= rank:
            return 0.0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= rank:
                return min(2 * self._GAMMA**bucket / (self._GAMMA + 1), self.largest)
        return self.largest

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None
