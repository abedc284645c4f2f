"""From a source's own figures to one scale: ranks within a source, then a line through the models that two share.

Only the order of a source's figures is used, never their distance, so that units, saturation and a test's difficulty
don't matter. Ranks of two sources still aren't comparable: the last among this year's best is better than the median
of three years. So each column's normal scores are put on another's scale by mean/sigma linking over the models that
both have (Kolen & Brennan, *Test Equating, Scaling, and Linking*, 3rd ed. 2014, ch. 6): it fits two numbers, and keeps
the order within a column.
"""

from collections.abc import Iterable, Mapping
from statistics import NormalDist, correlation, fmean, pstdev
from typing import NamedTuple

_NORMAL = NormalDist()


class Link(NamedTuple):
    """``z`` on another column's scale is ``intercept + slope * z``; ``agreement`` is Spearman's ρ over the anchors."""

    slope: float
    intercept: float
    anchors: int
    agreement: float

    def __call__(self, z: float) -> float:
        return self.intercept + self.slope * z

    def then(self, bridge: "Link") -> "Link":
        """This line followed by ``bridge``; anchors and agreement stay this one's."""
        return self._replace(slope=self.slope * bridge.slope, intercept=bridge(self.intercept))


IDENTITY = Link(1.0, 0.0, 0, 1.0)


def ranks(scores: Mapping[str, float]) -> dict[str, float]:
    """Each model's place among a column's, in (0, 1), higher is better: (r − ½) / n; ties share their mean rank."""
    values = sorted(scores.values())
    first: dict[float, int] = {}
    last: dict[float, int] = {}
    for place, value in enumerate(values, start=1):
        first.setdefault(value, place)
        last[value] = place
    return {model: ((first[s] + last[s]) / 2 - 0.5) / len(values) for model, s in scores.items()}


def normal_scores(scores: Mapping[str, float]) -> dict[str, float]:
    """The normal quantile of each model's rank (van der Waerden scores)."""
    return {model: _NORMAL.inv_cdf(rank) for model, rank in ranks(scores).items()}


def share(z: float) -> float:
    """The inverse of the quantile: a score in (0, 1)."""
    return _NORMAL.cdf(z)


def link(column: Mapping[str, float], onto: Mapping[str, float], anchors: Iterable[str]) -> Link | None:
    """The line from ``column``'s normal scores to those of ``onto``; ``None`` if the anchors don't determine one."""
    shared = sorted(model for model in anchors if model in column and model in onto)
    here, there = [column[model] for model in shared], [onto[model] for model in shared]
    if len(shared) < 2 or not pstdev(here) or not pstdev(there):
        return None
    slope = pstdev(there) / pstdev(here)
    rank_here, rank_there = ranks({m: column[m] for m in shared}), ranks({m: onto[m] for m in shared})
    agreement = correlation([rank_here[m] for m in shared], [rank_there[m] for m in shared])
    return Link(slope, fmean(there) - slope * fmean(here), len(shared), agreement)
