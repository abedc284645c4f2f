"""What came of an experiment: means over its units, how sure they are, and how the variants differ. Pure."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lumni.experiment import Experiment


@dataclass(frozen=True, slots=True)
class UnitResult:
    """One unit's mean results under one variant. ``list_cost`` is in nano-USD; ``None``: nothing is known."""

    variant: str
    unit: str
    requests: int
    success: float
    latency_ms: float | None = None
    list_cost: float | None = None
    tokens: float | None = None
    feedback: float | None = None


class Estimate(NamedTuple):
    """A mean over ``n`` units; the true one is between ``low`` and ``high`` in 95 of 100 cases, ``None``: n < 2."""

    mean: float
    low: float | None
    high: float | None
    n: int


MEASURES = ("success", "latency_ms", "list_cost", "tokens", "feedback")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What came of one variant. ``differences`` are to the first variant, by Welch's test, where both have units."""

    variant: str
    units: int
    requests: int
    estimates: Mapping[str, Estimate]
    differences: Mapping[str, Estimate]


def report(experiment: Experiment, results: Sequence[UnitResult]) -> list[Outcomes]:
    """What came of each variant, the first being the one that others are compared with.

    Units are the sample: requests of one student are alike, and to count them one by one would make chance look like
    an effect (the unit of analysis is the unit of randomisation).
    """
    by_variant = {
        variant.name: [one for one in results if one.variant == variant.name] for variant in experiment.variants
    }
    base = by_variant[experiment.variants[0].name]
    told = []
    for name, units in by_variant.items():
        estimates = {measure: _estimate(_values(units, measure)) for measure in MEASURES}
        differences = {measure: _difference(_values(units, measure), _values(base, measure)) for measure in MEASURES}
        told.append(
            Outcomes(
                name,
                len(units),
                sum(unit.requests for unit in units),
                {measure: one for measure, one in estimates.items() if one},
                {measure: one for measure, one in differences.items() if one and units is not base},
            )
        )
    return told


def _values(units: Sequence[UnitResult], measure: str) -> list[float]:
    found = (getattr(unit, measure) for unit in units)
    return [float(value) for value in found if value is not None]


def _estimate(values: Sequence[float]) -> Estimate | None:
    if not values:
        return None
    mean, n = statistics.fmean(values), len(values)
    if n < 2:
        return Estimate(mean, None, None, n)
    half = t_quantile(0.975, n - 1) * statistics.stdev(values) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


def _difference(values: Sequence[float], base: Sequence[float]) -> Estimate | None:
    """Welch (1947): the variances need not be equal."""
    if len(values) < 2 or len(base) < 2:
        return None
    first, second = (statistics.variance(sample) / len(sample) for sample in (values, base))
    mean, n = statistics.fmean(values) - statistics.fmean(base), len(values) + len(base)
    if first + second == 0:
        return Estimate(mean, mean, mean, n)
    freedom = (first + second) ** 2 / (first**2 / (len(values) - 1) + second**2 / (len(base) - 1))
    half = t_quantile(0.975, freedom) * math.sqrt(first + second)
    return Estimate(mean, mean - half, mean + half, n)


def t_quantile(share: float, freedom: float) -> float:
    """Student's t, for ``share`` above 0.5; between one and two degrees of freedom as for one, which is wider.

    Hill, G. W.: Algorithm 396, Student's t-quantiles. Communications of the ACM 13 (10). Right to four digits.
    """
    tail = 2 * (1 - share)
    if freedom < 2:
        return 1 / math.tan(tail * math.pi / 2)
    if freedom == 2:
        return math.sqrt(2 / (tail * (2 - tail)) - 2)
    a = 1 / (freedom - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * freedom
    y = (d * tail) ** (2 / freedom)
    if y > 0.05 + a:
        x = statistics.NormalDist().inv_cdf(tail / 2)
        y = x**2
        if freedom < 5:
            c += 0.3 * (freedom - 4.5) * (x + 0.6)
        c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = math.expm1(a * y**2)
    else:
        y = (
            (1 / (((freedom + 6) / (freedom * y) - 0.089 * d - 0.822) * (freedom + 2) * 3) + 0.5 / (freedom + 4)) * y
            - 1
        ) * (freedom + 1) / (freedom + 2) + 1 / y
    return math.sqrt(freedom * y)
