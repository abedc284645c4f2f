"""Judging weights by rows that they weren't trained on."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lumni.intelligence.scoring import STRONG_SOLVES
from lumni.intelligence.weights import Linear, Weights
from lumni.training import figures
from lumni.training.examples import Example
from lumni.training.figures import Vector
from lumni.training.fit import Settings, Table, fit_classroom, fit_gain, fit_style, folds, table

HARD, EASY = 3, 1
"""Classroom levels from which on and up to which a prompt counts as hard and as easy; those between judge nothing."""


class Predictions(NamedTuple):
    """What ``lumni.intelligence.scoring.verdict`` says of each row, computed for all at once."""

    fails: Vector
    gain: Vector


class Figure(NamedTuple):
    """A figure of ``rows`` rows with the bootstrap's 95 % interval."""

    name: str
    rows: int
    value: float
    low: float
    high: float


def predict(weights: Weights, examples: Table) -> Predictions:
    exam = _logistic(_scores(weights.style, examples))
    grown = np.array([weights.trees.ask(levels)[:2] for levels in examples.levels]).reshape(-1, 2)
    odds_exam = _scores(weights.exam, examples) + grown[:, 0]
    odds_classroom = _scores(weights.classroom, examples)
    gain = np.clip(_scores(weights.gain, examples) + grown[:, 1], -1, 1)
    return Predictions(
        _logistic(exam * odds_exam + (1 - exam) * odds_classroom),
        exam * gain + (1 - exam) * STRONG_SOLVES * _logistic(odds_classroom),
    )


def _scores(linear: Linear, examples: Table) -> Vector:
    words = examples.ngrams @ linear.ngrams.astype(float) * linear.scale - linear.wording
    return np.asarray(linear.bias + examples.signs @ linear.signs.astype(float) + words, dtype=np.float64)


def _logistic(log_odds: Any) -> Vector:
    return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -700, 700))), dtype=np.float64)


def judge_benchmarks(weights: Weights, examples: Sequence[Example], settings: Settings) -> list[Figure]:
    """AUC and calibration of "the weak tier fails", and APGR of the gain, on benchmark rows."""
    rows = table(examples)
    found = predict(weights, rows)
    failed = rows.fails > 0.5
    groups = np.array([example.group for example in examples])
    made = [
        _figure("AUC of “weak fails”", lambda at: figures.auc(found.fails[at], failed[at]), len(rows), settings),
        _figure(
            "calibration error of “weak fails”",
            lambda at: figures.calibration_error(found.fails[at], rows.fails[at]),
            len(rows),
            settings,
        ),
    ]
    known = np.flatnonzero(np.isfinite(rows.gain))
    if len(known):
        gain, real, group = found.gain[known], rows.gain[known], groups[known]
        made.append(
            _figure("APGR of the gain", lambda at: figures.apgr(gain[at], real[at], group[at]), len(known), settings)
        )
    return made


def leave_one_group_out(examples: Sequence[Example], settings: Settings) -> Figure:
    """APGR of the gain where each group is ranked by weights that never saw that group."""
    known = [example for example in examples if example.gain is not None]
    rows, groups = table(known), np.array([example.group for example in known])
    gain = np.empty(len(known))
    for group in sorted(set(groups.tolist())):
        held = groups == group
        gain[held] = fit_gain(rows[np.flatnonzero(~held)], settings).scores(rows[np.flatnonzero(held)])
    name = "APGR of the gain, each group unseen"
    return _figure(name, lambda at: figures.apgr(gain[at], rows.gain[at], groups[at]), len(known), settings)


def judge_classroom(weights: Weights, examples: Sequence[Example], settings: Settings) -> list[Figure]:
    """Cross-validated AUC of hard against easy classroom prompts, in all and for each language.

    Only what is trained on classroom prompts is trained anew for each fold; the rest of ``weights`` never saw any.
    """
    classroom = [example for example in examples if example.level is not None]
    places = {id(example): place for place, example in enumerate(examples)}
    own = np.array([places[id(example)] for example in classroom])
    everything, rows = table(examples), table(classroom)
    fails = np.empty(len(classroom))
    for seen, held in folds(len(classroom), settings):
        kept = np.setdiff1d(np.arange(len(examples)), own[held])
        trained = replace(
            weights,
            classroom=fit_classroom(rows[seen], settings),
            style=fit_style(everything[kept], settings),
        )
        fails[held] = predict(trained, rows[held]).fails
    level = np.array([example.level for example in classroom])
    language = np.array([example.language for example in classroom])
    clear = (level >= HARD) | (level <= EASY)

    def area(chosen: NDArray[np.bool_]) -> Callable[[NDArray[np.int64]], float]:
        scores, hard = fails[chosen & clear], level[chosen & clear] >= HARD
        return lambda at: figures.auc(scores[at], hard[at])

    made = [_figure("AUC of hard against easy", area(clear), int(clear.sum()), settings)]
    made.append(
        _figure(
            "calibration error against the rubric's expectation",
            lambda at: figures.calibration_error(fails[at], rows.fails[at]),
            len(rows),
            settings,
        )
    )
    for name in sorted(set(language.tolist()), key=lambda name: (-int((language == name).sum()), name)):
        chosen = language == name
        made.append(_figure(f"AUC, {name}", area(chosen), int((chosen & clear).sum()), settings))
    return made


def _figure(name: str, figure: Callable[[NDArray[np.int64]], float], rows: int, settings: Settings) -> Figure:
    low, high = figures.interval(figure, rows, settings.resamples, settings.seed)
    return Figure(name, rows, figure(np.arange(rows)), low, high)
