"""How good predictions are. All figures take arrays of equal length; higher is better but for the calibration error."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
BINS = 10


def auc(scores: Vector, positive: NDArray[np.bool_]) -> float:
    """The probability that a positive scores higher than a negative, ties counting half (Mann and Whitney 1947)."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    some, none = int(positive.sum()), int((~positive).sum())
    if not some or not none:
        return float("nan")
    return float((ranks[places][positive].sum() - some * (some + 1) / 2) / (some * none))


def calibration_error(probabilities: Vector, shares: Vector) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599) over ten bins of equal width."""
    bins = np.minimum((probabilities * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=probabilities - shares, minlength=BINS)
    return float(np.abs(gaps).sum() / len(shares))


def apgr(scores: Vector, gains: Vector, groups: NDArray[np.str_]) -> float:
    """Average performance gap recovered (RouteLLM, arXiv:2406.18665), pooled, each group with equal weight.

    The strong tier gets the requests of the highest scores; the share of the whole gain that this recovers, averaged
    over all shares of strong calls. Random order gives 0.5. Ties are taken as if in random order.
    """
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1 / sizes[group]
    _, place = np.unique(-scores, return_inverse=True)
    called = np.r_[0.0, np.cumsum(np.bincount(place, weights=weights))]
    recovered = np.r_[0.0, np.cumsum(np.bincount(place, weights=weights * gains))]
    return float(np.trapezoid(recovered / recovered[-1], called / called[-1]))


def interval(
    figure: Callable[[NDArray[np.int64]], float], count: int, resamples: int, seed: int
) -> tuple[float, float]:
    """The bootstrap's 95 % interval of a figure of rows: ``figure`` takes the places of the resampled rows."""
    random = np.random.default_rng(seed)
    found = [figure(random.integers(0, count, count)) for _ in range(resamples)]
    low, high = np.nanpercentile(found, (2.5, 97.5))
    return float(low), float(high)


def coverage(probabilities: Vector, failed: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """(share of rows answered, share of them right) when only the surest tenth, two tenths, … are decided."""
    order = np.argsort(-np.abs(probabilities - 0.5), kind="stable")
    right = ((probabilities >= 0.5) == failed)[order]
    ends = [max(1, round(len(right) * tenth / 10)) for tenth in range(1, 11)]
    return [(end / len(right), float(right[:end].mean())) for end in ends]
