"""What the weights say about one turn."""

import math
from collections import defaultdict
from dataclasses import dataclass

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
    """The verdict on one turn. A pure function of both, so that a turn keeps it for as long as its thread lives.

    Log-odds are those of an exam question and of a classroom prompt, mixed as the style of asking says: a mean of sums
    is a sum, and so every factor is too.
    """
    places, found = signs_of(reading), ngrams(reading.turn.text)
    exam = logistic(weights.style.bias + sum(weights.style.signs[places].tolist()))
    mixed = ((exam, weights.exam), (1 - exam, weights.classroom))
    factors: defaultdict[str, float] = defaultdict(float)
    odds = []
    for share, linear in mixed:
        parts, words = linear.of_signs(places), linear.words(found)
        odds.append(linear.bias + sum(parts) + words)
        factors[START] += share * linear.bias
        factors[WORDING] += share * words
        for place, part in zip(places, parts, strict=True):
            factors[GROUP_OF[place]] += share * part
    measured = weights.gain.bias + sum(weights.gain.of_signs(places)) + weights.gain.words(found)
    gain = exam * max(-1.0, min(1.0, measured)) + (1 - exam) * STRONG_SOLVES * logistic(odds[1])
    return Verdict(exam * odds[0] + (1 - exam) * odds[1], dict(factors), gain)


def logistic(log_odds: float) -> float:
    """The probability of ``log_odds``, without overflow."""
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, log_odds))))
