"""What the weights say about one turn."""

import math
from dataclasses import dataclass

import numpy as np

from lumni.intelligence.features import Reading
from lumni.intelligence.groups import GROUP_OF, NAMED, START, WORDING
from lumni.intelligence.ngrams import ngrams
from lumni.intelligence.signs import signs_of
from lumni.intelligence.trees import levels_of
from lumni.intelligence.weights import Weights

STRONG_SOLVES = 0.7
"""Of the classroom prompts that the weak tier fails, the share that the strong one solves: what the rubric expects of
its levels, since nobody measured it."""


_GROUP = np.array([NAMED.index(group) for group in GROUP_OF])


@dataclass(frozen=True, slots=True)
class Verdict:
    """``log_odds`` that the weak tier fails, what each group adds to them, and the strong tier's expected ``gain``."""

    log_odds: float
    factors: dict[str, float]
    gain: float


def verdict(reading: Reading, weights: Weights) -> Verdict:
    """The verdict on one turn, a pure function of both.

    Log-odds are those of an exam question and of a classroom prompt, mixed as the style of asking says: a mean of
    sums is a sum, and so every factor is too.
    """
    places, found = np.array(signs_of(reading)), ngrams(reading.turn.text)
    signs = weights.signs[places]
    own = signs.sum(axis=0).tolist()
    words = weights.words(found)
    odds = [linear.bias + mine + said for linear, mine, said in zip(weights.linears, own, words, strict=True)]
    trees = weights.trees.ask(levels_of(places))
    odds[0] += trees.first
    exam = logistic(odds[3])
    mean = (exam, 1 - exam)
    parts = np.bincount(_GROUP[places], signs[:, :2] @ np.array(mean), len(NAMED)) + exam * trees.parts
    factors = {name: part for name, part in zip(NAMED, parts.tolist(), strict=True) if part}
    factors[START] = mean[0] * (weights.exam.bias + trees.usual) + mean[1] * weights.classroom.bias
    factors[WORDING] = mean[0] * words[0] + mean[1] * words[1]
    gained = max(-1.0, min(1.0, odds[2] + trees.second))
    gain = exam * gained + (1 - exam) * STRONG_SOLVES * logistic(odds[1])
    return Verdict(mean[0] * odds[0] + mean[1] * odds[1], factors, gain)


def logistic(log_odds: float) -> float:
    """The probability of ``log_odds``, without overflow."""
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, log_odds))))
