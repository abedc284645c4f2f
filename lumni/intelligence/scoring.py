"""What the weights say about one turn."""

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from lumni.intelligence.features import Reading
from lumni.intelligence.groups import GROUP_OF, START, WORDING
from lumni.intelligence.ngrams import ngrams
from lumni.intelligence.signs import signs_of
from lumni.intelligence.weights import Weights

STRONG_SOLVES = 0.7
"""Of the classroom prompts that the weak tier fails, the share that the strong one solves: what the rubric expects of
its levels, since nobody measured it."""


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
    places, found = signs_of(reading), ngrams(reading.turn.text)
    signs = weights.signs[places]
    own = signs.sum(axis=0).tolist()
    words = weights.words(found)
    odds = [linear.bias + mine + said for linear, mine, said in zip(weights.linears, own, words, strict=True)]
    exam = logistic(odds[3])
    mean = (exam, 1 - exam)
    factors: defaultdict[str, float] = defaultdict(float)
    factors[START] = mean[0] * weights.exam.bias + mean[1] * weights.classroom.bias
    factors[WORDING] = mean[0] * words[0] + mean[1] * words[1]
    for place, part in zip(places, (signs[:, :2] @ np.array(mean, np.float32)).tolist(), strict=True):
        factors[GROUP_OF[place]] += part
    gain = exam * max(-1.0, min(1.0, odds[2])) + (1 - exam) * STRONG_SOLVES * logistic(odds[1])
    return Verdict(mean[0] * odds[0] + mean[1] * odds[1], dict(factors), gain)


def logistic(log_odds: float) -> float:
    """The probability of ``log_odds``, without overflow."""
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, log_odds))))
