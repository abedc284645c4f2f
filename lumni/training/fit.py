"""From examples to weights: two regularised linear models, calibrated on folds that they haven't seen, in integers."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import LogisticRegression, Ridge

from lumni.intelligence.ngrams import BUCKETS
from lumni.intelligence.signs import BINS, NAMES
from lumni.intelligence.trees import levels_of
from lumni.intelligence.weights import Linear, Weights
from lumni.training.examples import CLASSROOM, Example
from lumni.training.grow import Tree, grow, packed, summed

Vector = NDArray[np.float64]


class Settings(NamedTuple):
    """What was chosen by cross-validation on the training rows, never on those that judge."""

    exam_c: float = 0.25  # the inverse of the penalty's weight
    classroom_c: float = 3.0
    style_c: float = 3.0
    style_slope: float = 2.0  # what the style's log-odds are multiplied by: a line between two ways of asking is sharp
    style_shift: float = 1.0  # and what is added: in doubt, trust what was measured before what a rubric expects
    gain_alpha: float = 30.0  # the penalty's weight
    gain_signs: float = 0.1  # as ``signs``, for the gain: less, because it has to hold for benchmarks not seen
    signs: float = 0.4  # how large a sign and an n-gram are: the larger, the less its weight is penalised
    words: float = 0.4
    trees: int = 100  # of each sum
    rate: float = 0.08  # at which a tree follows what those before it left over
    share: float = 0.5  # of the trees in the gain; the rest is the linear model's
    folds: int = 5
    resamples: int = 1_000  # of the bootstrap
    seed: int = 7


@dataclass(frozen=True, slots=True)
class Table:
    """Examples as matrices and columns, a row each."""

    signs: Any
    levels: NDArray[np.uint8]  # in ``lumni.intelligence.signs.COLUMNS``
    ngrams: Any
    fails: Vector
    gain: Vector  # NaN where unknown
    classroom: NDArray[np.bool_]

    def __getitem__(self, rows: Any) -> "Table":
        columns = (self.signs, self.levels, self.ngrams, self.fails, self.gain, self.classroom)
        return Table(*(column[rows] for column in columns))

    def __len__(self) -> int:
        return len(self.fails)


def table(examples: Sequence[Example]) -> Table:
    signs = _matrix([(np.array(e.signs), np.ones(len(e.signs))) for e in examples], len(NAMES))
    words = _matrix([(e.ngrams.places, e.ngrams.values) for e in examples], BUCKETS)
    gain = np.array([np.nan if e.gain is None else e.gain for e in examples], dtype=np.float64)
    fails = np.array([e.fails for e in examples], dtype=np.float64)
    levels = np.stack([levels_of(np.array(e.signs)) for e in examples])
    return Table(signs, levels, words, fails, gain, np.array([e.group == CLASSROOM for e in examples], dtype=bool))


def _matrix(rows: Sequence[tuple[NDArray[Any], NDArray[Any]]], width: int) -> Any:
    ends = np.cumsum([0, *(len(places) for places, _ in rows)])
    places = np.concatenate([places for places, _ in rows])
    values = np.concatenate([values for _, values in rows]).astype(np.float64)
    return sparse.csr_matrix((values, places, ends), shape=(len(rows), width))


def fit(examples: Table, settings: Settings) -> Weights:
    """The weights for ``examples``. The same examples and settings give the same weights.

    Without one of the two ways of asking, the other's weights serve for both.
    """
    exams = examples[np.flatnonzero(~examples.classroom)] if not examples.classroom.all() else examples
    classroom = examples[np.flatnonzero(examples.classroom)] if examples.classroom.any() else examples
    known = examples[np.flatnonzero(np.isfinite(examples.gain))]
    plane, exam_trees = _calibrated(exams, settings.exam_c, settings, trees=True)
    gain = fit_gain(known, settings) if len(known) else Forest(Plane(0.0, np.zeros(len(NAMES)), np.zeros(BUCKETS)))
    return Weights(
        exam=_finish(plane, exams),
        classroom=fit_classroom(classroom, settings),
        gain=_finish(gain.plane, known if len(known) else examples),
        style=fit_style(examples, settings),
        exam_trees=packed(exam_trees),
        gain_trees=packed(gain.trees),
    )


def fit_classroom(examples: Table, settings: Settings) -> Linear:
    """The part that judges classroom prompts."""
    return _finish(_calibrated(examples, settings.classroom_c, settings)[0], examples)


def fit_style(examples: Table, settings: Settings) -> Linear:
    """Logistic regression: is a prompt from a benchmark? As if there were as many of those as of the others."""
    exams = int((~examples.classroom).sum())
    if exams in (0, len(examples)):
        return _finish(Plane(0.0, np.zeros(len(NAMES)), np.zeros(BUCKETS)), examples)
    which = replace(examples, fails=(~examples.classroom).astype(np.float64))
    plane = fit_fails(which, settings.style_c, settings)
    even = plane._replace(bias=plane.bias - float(np.log(exams / (len(examples) - exams)))).scaled(settings.style_slope)
    return _finish(even._replace(bias=even.bias + settings.style_shift), examples)


class Plane(NamedTuple):
    """A linear model in floating point."""

    bias: float
    signs: Vector
    ngrams: Vector

    def scaled(self, by: float) -> "Plane":
        return Plane(self.bias * by, self.signs * by, self.ngrams * by)

    def scores(self, examples: Table) -> Vector:
        return np.asarray(self.bias + examples.signs @ self.signs + examples.ngrams @ self.ngrams, dtype=np.float64)


def fit_fails(examples: Table, inverse_penalty: float, settings: Settings) -> Plane:
    """Logistic regression on shares: each example counts as failed and as solved, as often as it was."""
    features, undo = _features(examples, settings)
    both = sparse.vstack([features, features]).tocsr()
    model = LogisticRegression(C=inverse_penalty, max_iter=300, tol=1e-4)
    model.fit(both, _labels(len(examples)), sample_weight=_shares(examples.fails))
    return undo(model.coef_[0], float(model.intercept_[0]))


class Forest(NamedTuple):
    """A linear model and trees, which are added."""

    plane: Plane
    trees: Sequence[Tree] = ()

    def scores(self, examples: Table) -> Vector:
        return self.plane.scores(examples) + summed(self.trees, examples.levels)


def fit_gain(examples: Table, settings: Settings) -> Forest:
    """The gain that was measured: the mean, in ``settings.share``, of ridge regression and boosted trees."""
    features, undo = _features(examples, settings._replace(signs=settings.gain_signs))
    model = Ridge(alpha=settings.gain_alpha, solver="sparse_cg", tol=1e-4).fit(features, examples.gain)
    start, trees = _grown(examples.levels, examples.gain, settings)
    plane = undo(model.coef_, float(model.intercept_)).scaled(1 - settings.share)
    return Forest(
        plane._replace(bias=plane.bias + settings.share * start), [tree.scaled(settings.share) for tree in trees]
    )


def _grown(levels: NDArray[np.uint8], target: Vector, settings: Settings) -> tuple[float, list[Tree]]:
    """Gradient boosting (Friedman 2001) of squared errors: a constant, and the trees to add to it."""
    return grow(levels, target, settings.trees, settings.rate, settings.seed)


def _labels(count: int) -> Vector:
    return np.concatenate((np.ones(count), np.zeros(count)))


def _shares(fails: Vector) -> Vector:
    return np.concatenate((fails, 1 - fails))


def _features(examples: Table, settings: Settings) -> tuple[Any, Callable[[Vector, float], Plane]]:
    """The scaled matrix, and what turns coefficients for it into weights for unscaled features.

    Rare n-grams are scaled up by their inverse document frequency, which only eases their penalty: the shipped weights
    hold it already.
    """
    present = np.asarray((examples.ngrams > 0).sum(axis=0)).ravel()
    rarity = settings.words * (1 + np.log((1 + len(examples)) / (1 + present)))
    features = sparse.hstack([settings.signs * examples.signs, examples.ngrams @ sparse.diags(rarity)]).tocsr()

    def undo(coefficients: Vector, bias: float) -> Plane:
        signs, words = coefficients[: len(NAMES)], coefficients[len(NAMES) :]
        return Plane(bias, signs * settings.signs, words * rarity)

    return features, undo


def folds(count: int, settings: Settings) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Rows to train on and rows to judge by, shuffled by the seed."""
    order = np.random.default_rng(settings.seed).permutation(count)
    for number in range(settings.folds):
        yield np.sort(order[np.arange(count) % settings.folds != number]), np.sort(order[number :: settings.folds])


def _calibrated(
    examples: Table, inverse_penalty: float, settings: Settings, *, trees: bool = False
) -> tuple[Plane, list[Tree]]:
    """Platt's scaling (1999) on scores of rows that weren't trained on: a line in log-odds, so that sums stay sums.

    With ``trees``, which foresee shares, it also finds how many log-odds each of the two scores is worth.
    """
    unseen = np.zeros((len(examples), 1 + trees))
    for seen, held in folds(len(examples), settings):
        unseen[held, 0] = fit_fails(examples[seen], inverse_penalty, settings).scores(examples[held])
        if trees:
            start, found = _grown(examples.levels[seen], examples.fails[seen], settings)
            unseen[held, 1] = start + summed(found, examples.levels[held])
    model = LogisticRegression(C=1e6, max_iter=300)
    model.fit(np.r_[unseen, unseen], _labels(len(examples)), sample_weight=_shares(examples.fails))
    slopes, shift = np.maximum(0.0, model.coef_[0]).tolist(), float(model.intercept_[0])
    plane = fit_fails(examples, inverse_penalty, settings).scaled(slopes[0])
    if not trees:
        return plane._replace(bias=plane.bias + shift), []
    start, found = _grown(examples.levels, examples.fails, settings)
    return plane._replace(bias=plane.bias + shift + slopes[1] * start), [tree.scaled(slopes[1]) for tree in found]


def _finish(plane: Plane, examples: Table) -> Linear:
    """Centred, so that a factor says what differs from an average prompt, and with n-grams in eight bits."""
    signs, bias = plane.signs.copy(), plane.bias
    shares = np.asarray(examples.signs.mean(axis=0)).ravel()
    for name in (*BINS, "end", "script"):
        places = [place for place, sign in enumerate(NAMES) if sign.rpartition(":")[0] == name]
        usual = float(signs[places] @ shares[places]) / max(1e-9, float(shares[places].sum()))
        signs[places] -= usual
        bias += usual
    scale = float(np.abs(plane.ngrams).max()) / 127 or 1.0
    words = np.rint(plane.ngrams / scale).astype(np.int8)
    wording = float((examples.ngrams @ words.astype(np.float64)).mean()) * scale
    return Linear(round(bias + wording, 6), np.round(signs, 4).astype(np.float32), words, scale, wording)
