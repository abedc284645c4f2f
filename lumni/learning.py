"""From what a class told to a correction of the classifier, with figures on people whom it was not made from. Pure.

Platt's scaling (1999): a line in log-odds, which changes how probable a failure is and never which of two tasks is the
harder. It is drawn towards the line that changes nothing, the more so the less was told.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lumni.calibration import Told
from lumni.errors import Conflict

Vector = NDArray[np.float64]
Source = Literal["blind pair", "thumb", "asked again, of a strong model", "asked again", "left it at that"]

WEIGHTS: dict[Source, float] = {
    "blind pair": 1.0,
    "thumb": 1.0,
    "asked again, of a strong model": 0.5,
    "asked again": 0.25,
    "left it at that": 0.05,
}
"""How much each counts: a judgement. Silence and asking again are weighed as if whom a weak model failed asked again
one time in five or so, so that together they leave the share of failures about where it is."""
VOTES: tuple[Source, ...] = ("blind pair", "thumb")
"""What people said on purpose."""

AGAIN = timedelta(minutes=10)
PROGRAM = 3
"""Who asks the same more often than this, each within ``AGAIN`` of the last, is a program: it tells nothing."""

LEAST_VOTES, LEAST_PEOPLE, LEAST_OF_EACH = 20, 5, 3
"""Votes, people who voted, and votes of either kind without which nothing is learned."""

SHIFT_SPREAD, SLOPE_SPREAD = 1.0, 0.5
"""Standard deviations of the prior: a course's log-odds may well differ by 1, its slope by a half."""
LEAST_SLOPE = 0.1  # so that no correction turns the order round
STEEPEST = 8.0  # log-odds beyond which one row may not pull harder

FOLDS, RESAMPLES, SEED, BINS = 5, 1000, 7, 10


class Evidence(NamedTuple):
    """One row to learn from: the weights' ``log_odds`` that the weak tier fails, and whether it did."""

    log_odds: float
    failed: bool
    weight: float
    person: str
    source: Source


@dataclass(frozen=True, slots=True)
class Line:
    slope: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True, slots=True)
class Range:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Quality:
    """On people who were left out in making it: mean log loss in nats, calibration error, share of right labels."""

    log_loss: Range
    calibration_error: Range
    right: Range


@dataclass(frozen=True, slots=True)
class Heard:
    """What one source told: ``rows`` of which a share ``failed``, counting ``weight`` in all."""

    rows: int
    failed: float
    weight: float


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a class taught. ``saved`` is the log loss that it saves, ``others`` the rows of other weights."""

    line: Line
    heard: dict[Source, Heard]
    votes: int
    people: int
    before: Quality
    after: Quality
    saved: Range
    others: int = 0


def evidence(told: Iterable[Told], weights: str) -> list[Evidence]:
    """What answers teach of the classifier with these ``weights``; each answer counts once, by its best source.

    A vote in a blind pair says of the weak answer that it was as good, or not. A thumb says that of a weak answer; of a
    strong one only a thumb down does, because then a weak one would hardly have been better.
    """
    mine = [one for one in told if one.weights == weights]
    again = _asked_again([one for one in mine if not one.paired])
    found = (_of(one, again) for one in mine)
    return [one for one in found if one is not None]


def _of(one: Told, again: dict[str, Source]) -> Evidence | None:
    if one.paired:
        if one.choice is None:
            return None
        return _evidence(one, "blind pair", one.choice in ("powerful", "neither"))
    if one.thumb and (one.tier == "fast" or one.thumb < 0):
        return _evidence(one, "thumb", one.thumb < 0, one.sureness)
    source = again.get(one.request_id)
    return None if source is None else _evidence(one, source, source != "left it at that")


def _evidence(one: Told, source: Source, failed: bool, sureness: float = 1.0) -> Evidence | None:
    weight = WEIGHTS[source] * sureness
    odds = math.log(max(1e-9, one.weak_fails) / max(1e-9, 1 - one.weak_fails))
    return Evidence(odds, failed, weight, one.person, source) if weight > 0 else None


def _asked_again(told: Sequence[Told]) -> dict[str, Source]:
    """What was done about each weak answer. Texts aren't kept: the classifier's figures tell what was the same."""
    same: defaultdict[tuple[str, float, float], list[Told]] = defaultdict(list)
    for one in sorted(told, key=lambda one: one.at):
        same[one.person, one.weak_fails, one.gain].append(one)
    return {request: source for asked in same.values() for run in _runs(asked) for request, source in _done(run)}


def _runs(asked: Sequence[Told]) -> Iterator[list[Told]]:
    """Requests of which each came within ``AGAIN`` of the one before."""
    run: list[Told] = []
    for one in asked:
        if run and one.at - run[-1].at > AGAIN:
            yield run
            run = []
        run.append(one)
    yield run


def _done(run: Sequence[Told]) -> Iterator[tuple[str, Source]]:
    if len(run) > PROGRAM:
        return
    for place, one in enumerate(run):
        if one.tier == "fast":
            later = {other.tier for other in run[place + 1 :]}
            again: Source = "asked again, of a strong model" if "powerful" in later else "asked again"
            yield one.request_id, again if later else "left it at that"


def learn(told: Sequence[Told], weights: str) -> Lesson:
    """The correction for a class, and what it is worth. The same answers teach the same.

    Raises :class:`Conflict` when too little was told.
    """
    rows = evidence(told, weights)
    _enough(rows)
    odds, failed, weight = _columns(rows)
    people = np.array([one.person for one in rows])
    unseen = np.empty(len(rows))
    for held in _folds(people):
        line = fit(odds[~held], failed[~held], weight[~held])
        unseen[held] = line.shift + line.slope * odds[held]
    before, after, saved = _judged(odds, unseen, failed, weight, people)
    votes = [one for one in rows if one.source in VOTES]
    others = sum(one.weights != weights for one in told)
    voters = len({one.person for one in votes})
    return Lesson(fit(odds, failed, weight), _heard(rows), len(votes), voters, before, after, saved, others)


def fit(odds: Vector, failed: Vector, weight: Vector) -> Line:
    """The most probable line, by Newton's method; the loss is convex, so it finds it from anywhere."""
    x = np.clip(odds, -STEEPEST, STEEPEST)
    columns = np.stack((x, np.ones_like(x)), axis=1)
    prior = np.array((1.0, 0.0))
    precision = np.array((SLOPE_SPREAD**-2, SHIFT_SPREAD**-2))
    line = prior.copy()
    for _ in range(100):
        probability = 1 / (1 + np.exp(-columns @ line))
        slope = columns.T @ (weight * (probability - failed)) + precision * (line - prior)
        curve = (columns * (weight * probability * (1 - probability))[:, None]).T @ columns + np.diag(precision)
        step = np.linalg.solve(curve, slope)
        line = line - step / max(1.0, float(np.abs(step).max()))
        if float(np.abs(step).max()) < 1e-9:
            break
    if line[0] < LEAST_SLOPE:
        return Line(LEAST_SLOPE, _shift(x, failed, weight, LEAST_SLOPE))
    return Line(round(float(line[0]), 6), round(float(line[1]), 6))


def _shift(x: Vector, failed: Vector, weight: Vector, slope: float) -> float:
    """The most probable shift of a line whose slope is given."""
    shift = 0.0
    for _ in range(100):
        probability = 1 / (1 + np.exp(-(slope * x + shift)))
        gradient = float(weight @ (probability - failed)) + shift / SHIFT_SPREAD**2
        curve = float(weight @ (probability * (1 - probability))) + 1 / SHIFT_SPREAD**2
        shift -= max(-1.0, min(1.0, gradient / curve))
    return round(shift, 6)


def _enough(rows: Sequence[Evidence]) -> None:
    votes = [one for one in rows if one.source in VOTES]
    people, failed = len({one.person for one in votes}), sum(one.failed for one in votes)
    fewer = min(failed, len(votes) - failed)
    if len(votes) < LEAST_VOTES or people < LEAST_PEOPLE or fewer < LEAST_OF_EACH:
        message = (
            f"There are {len(votes)} votes of {people} people, {failed} of them that a weak model failed. To learn "
            f"from them takes at least {LEAST_VOTES} votes of {LEAST_PEOPLE} people, {LEAST_OF_EACH} of either kind. "
            "Votes are thumbs (POST /v1/feedback) and choices in blind pairs (POST /v1/pairs)."
        )
        raise Conflict(message, code="too_few_votes")


def _columns(rows: Sequence[Evidence]) -> tuple[Vector, Vector, Vector]:
    return (
        np.array([one.log_odds for one in rows]),
        np.array([float(one.failed) for one in rows]),
        np.array([one.weight for one in rows]),
    )


def _folds(people: NDArray[np.str_]) -> Iterator[NDArray[np.bool_]]:
    """Rows to judge by: of a fifth of the people at a time, for what one person says hangs together."""
    names = np.random.default_rng(SEED).permutation(np.unique(people))
    for number in range(FOLDS):
        yield np.isin(people, names[number::FOLDS])


def _judged(
    odds: Vector, unseen: Vector, failed: Vector, weight: Vector, people: NDArray[np.str_]
) -> tuple[Quality, Quality, Range]:
    """Before, after, and the log loss saved; intervals by drawing people, not rows."""
    names, who = np.unique(people, return_inverse=True)
    members = [np.flatnonzero(who == number) for number in range(len(names))]
    random = np.random.default_rng(SEED)

    def figures(at: NDArray[np.int64]) -> tuple[float, ...]:
        before = _figures(odds[at], failed[at], weight[at])
        after = _figures(unseen[at], failed[at], weight[at])
        return *before, *after, before[0] - after[0]

    draws = (random.integers(0, len(names), len(names)) for _ in range(RESAMPLES))
    drawn = (np.concatenate([members[number] for number in draw]) for draw in draws)
    table = np.array([figures(np.arange(len(odds))), *map(figures, drawn)])
    low, high = np.percentile(table[1:], (2.5, 97.5), axis=0)
    told = [Range(*map(float, one)) for one in zip(table[0], low, high, strict=True)]
    return Quality(*told[:3]), Quality(*told[3:6]), told[6]


def _figures(odds: Vector, failed: Vector, weight: Vector) -> tuple[float, float, float]:
    """Log loss, expected calibration error over ten bins (Guo et al. 2017), share of right labels: all weighted."""
    total = float(weight.sum())
    loss = np.logaddexp(0, odds) - failed * odds
    probability = 1 / (1 + np.exp(-odds))
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, weights=weight * (probability - failed), minlength=BINS)
    right = weight @ ((probability >= 0.5) == (failed > 0.5))
    return float(weight @ loss) / total, float(np.abs(gaps).sum()) / total, float(right) / total


def _heard(rows: Sequence[Evidence]) -> dict[Source, Heard]:
    counts = Counter(one.source for one in rows)
    return {
        source: Heard(
            counts[source],
            sum(one.failed for one in rows if one.source == source) / counts[source],
            sum(one.weight for one in rows if one.source == source),
        )
        for source in WEIGHTS
        if counts[source]
    }
