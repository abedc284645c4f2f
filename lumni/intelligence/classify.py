"""Is a task easy enough for a fast model? A small logistic score over named signs, and its reasons."""

import math
from collections.abc import Mapping
from typing import Any

from lumni.intelligence.features import Features, extract
from lumni.intelligence.model import Classification, Factor
from lumni.intelligence.thread import read
from lumni.types import TaskType

BIAS = -1.5
"""Log-odds of ``powerful`` without any sign, 18 %: a judgement, that what a class asks without any is mostly easy."""

WEIGHTS: Mapping[str, tuple[float, str]] = {
    # Log-odds that each sign adds at its full value, set by hand. What needs many dependent steps weighs most.
    "proof": (2.6, "asks for a proof or a derivation"),
    "plan": (1.9, "asks to plan, compare or analyse"),
    "debug": (1.9, "asks to find a fault"),
    "write_code": (0.7, "asks for code"),  # small functions are within a fast model's reach
    "intricate_code": (1.6, "asks for intricate code"),  # concurrency, compilers, complexity: where they fail
    "code": (0.8, "contains code"),
    "maths": (2.2, "contains mathematics"),  # the sign that separates hard from easy benchmarks best
    "numbers": (0.7, "contains many numbers"),
    "choices": (-0.6, "offers answers to choose from"),  # recognising is easier than producing
    "constraints": (1.2, "sets several conditions"),
    "steps": (1.2, "asks for several steps"),
    "length": (0.8, "is long"),
    "depth": (0.6, "continues a long conversation"),
    "tools": (0.7, "offers tools to call"),
    "attachments": (0.5, "comes with attachments"),
    "effort": (2.0, "asks for a high reasoning effort"),  # the client's own word, so nearly decisive
    "ease": (-1.5, "asks for a low reasoning effort"),
    "greeting": (-3.0, "is a greeting or thanks"),
    "simple": (-1.4, "asks for a definition, translation or summary"),
    "short": (-1.0, "is short"),
}

ASKED = "you asked for it"
NON_ENGLISH_CAP = 0.7
"""Most of the words are English, so that for other languages much may go unnoticed."""


def classify(body: Mapping[str, Any], hint: TaskType | None = None) -> Classification:
    """Which kind of task OpenAI's chat ``body`` is. Pure, deterministic and never raises, whatever the body holds.

    ``hint`` is the client's own ``taskType``: it decides, with confidence 1. ``factors`` are sorted by their weight's
    size; with the bias they sum to the log-odds of ``powerful``.
    """
    if hint is not None:
        return Classification(hint, 1.0, (Factor(ASKED, 1.0 if hint == "powerful" else -1.0),))
    features = extract(read(body), body)
    factors = _factors(features)
    log_odds = BIAS + sum(factor.weight for factor in factors)
    confidence = 1 / (1 + math.exp(-abs(log_odds)))
    if features.foreign:
        confidence = min(confidence, NON_ENGLISH_CAP)
    return Classification("powerful" if log_odds >= 0 else "fast", confidence, factors)


def _factors(features: Features) -> tuple[Factor, ...]:
    signs = ((words, weight * getattr(features, sign)) for sign, (weight, words) in WEIGHTS.items())
    return tuple(sorted((Factor(name, round(w, 3)) for name, w in signs if w), key=lambda f: -abs(f.weight)))
