"""Does a task need a strong model? A label, how sure it is, and why.

How probable it is that a weak model fails decides between ``fast`` and ``powerful``. How much a strong model is
expected to add is another question: nobody gains where both fail.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from lumni.calibration import Calibration
from lumni.catalogue.scores import Domain
from lumni.intelligence.domain import subject_of
from lumni.intelligence.features import look
from lumni.intelligence.groups import LONG_THREAD, START, TAUGHT, THREAD
from lumni.intelligence.model import Calibrated, Classification, Factor
from lumni.intelligence.thread import Thread, Turn, mappings, read
from lumni.types import TaskType

if TYPE_CHECKING:
    from lumni.intelligence.scoring import Verdict
    from lumni.intelligence.weights import Weights

ASKED = "you asked for it"
NON_ENGLISH_CAP = 0.7
"""Figures for other languages rest on few prompts each (docs/model-card.md), so that none deserves more."""
ABSTAIN = 0.55
"""Confidence below which it isn't the text that decides, but how plentiful the strong tier's quota is."""

LONG_CONVERSATION, LEAST_TURN = 12_800, 400
"""Characters of user turns that are looked at, each turn counting for at least so many, before all that follow are
taken for hard unread: bounds the time, and only moves up."""
LONG_LOG_ODDS = 1.0  # 73 %, clear of abstaining
SMALLEST = 1e-9  # a probability to divide by

SMALL = 0.05
"""Log-odds, at most 1.3 % of probability: factors below count towards the usual request, so that few are told."""


class Frame(NamedTuple):
    """What a turn is read with, besides itself: whether tools come with the request, and the thought it asks for."""

    tools: bool = False
    effort: str | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> "Frame":
        effort = body.get("reasoning_effort")
        return cls("tools" in body and bool(mappings(body["tools"])), effort if isinstance(effort, str) else None)

    @property
    def body(self) -> dict[str, Any]:
        """The least body that says so: whoever is given it can depend on nothing else."""
        return {"tools": [{}] * self.tools, "reasoning_effort": self.effort}


class Heard(NamedTuple):
    """What the weights say of one turn, and what it is about."""

    verdict: "Verdict"
    foreign: bool
    subject: Domain


class Opinion(NamedTuple):
    """What a conversation comes to: ``plentiful`` while the strong tier's quota isn't scarce, ``scarce`` otherwise.

    They are the same where the text decides. ``subject`` is what the last turn is about.
    """

    plentiful: Classification
    scarce: Classification
    subject: Domain


def classify(
    body: Mapping[str, Any], hint: TaskType | None = None, *, plentiful: bool = True, weights: "Weights | None" = None
) -> Classification:
    """Which kind of task OpenAI's chat ``body`` is. Pure, deterministic and never raises, whatever the body holds.

    ``hint`` is the client's own ``taskType``: it decides, with confidence 1. ``plentiful`` says that the strong tier's
    quota isn't scarce: then what is undecided goes there. ``weights`` replace those that come with Lumni.
    """
    opinion = judge(read(body), Frame.of(body), hint, weights=weights)
    return opinion.plentiful if plentiful else opinion.scarce


def judge(
    thread: Thread,
    frame: Frame,
    hint: TaskType | None = None,
    *,
    weights: "Weights | None" = None,
    calibration: Calibration | None = None,
) -> Opinion:
    """:func:`classify` for a body that was read.

    ``calibration`` is the course's. It corrects how probable a failure is, and the gain in proportion: of what the weak
    tier fails, the strong one is taken to solve as much as before. One that was made with other weights is left out.
    """
    # numpy takes a tenth of a second to import: not before it is needed.
    from lumni.intelligence.scoring import logistic

    if weights is None:
        from lumni.intelligence.weights import shipped

        weights = shipped()
    own, foreign, subject = _heard(thread.last, frame, weights)
    lift, why = _lift(thread, frame, own.log_odds, weights)
    odds, gain, calibrated = own.log_odds + lift, own.gain, None
    fails = before = logistic(odds)
    taught = 0.0
    if calibration is not None and calibration.weights == weights.id:
        taught = calibration.corrected(odds) - odds
        fails = logistic(odds + taught)
        gain = max(-1.0, min(1.0, gain * fails / max(before, SMALLEST)))
        calibrated = Calibrated(calibration.course, calibration.version, before)
    if hint is not None:
        asked = (Factor(ASKED, 1.0 if hint == "powerful" else -1.0),)
        given = Classification(hint, 1.0, asked, weak_fails=fails, gain=gain, weights=weights.id, calibrated=calibrated)
        return Opinion(given, given, subject)
    confidence = max(fails, 1 - fails)
    if foreign:
        confidence = min(confidence, NON_ENGLISH_CAP)
    found = Classification(
        "powerful" if fails >= 0.5 else "fast",
        confidence,
        told({**own.factors, why: lift, TAUGHT: taught}),
        weak_fails=fails,
        gain=gain,
        abstained=confidence < ABSTAIN,
        weights=weights.id,
        calibrated=calibrated,
    )
    if not found.abstained:
        return Opinion(found, found, subject)
    return Opinion(replace(found, task_type="powerful"), replace(found, task_type="fast"), subject)


def told(factors: Mapping[str, float]) -> tuple[Factor, ...]:
    """The factors worth telling, the largest first. Their sum is that of all."""
    large = {name: weight for name, weight in factors.items() if abs(weight) >= SMALL and name != START}
    large[START] = sum(factors.values()) - sum(large.values())
    return tuple(sorted((Factor(*item) for item in large.items()), key=lambda factor: -abs(factor.weight)))


def _lift(thread: Thread, frame: Frame, own: float, weights: "Weights") -> tuple[float, str]:
    """What the turns before the last one add, so that a conversation never falls back to a weaker tier; and why."""
    if len(thread.turns) == 1:
        return 0.0, THREAD
    if sum(max(LEAST_TURN, len(turn.text)) for turn in thread.turns) > LONG_CONVERSATION:
        return max(0.0, LONG_LOG_ODDS - own), LONG_THREAD
    earlier = max(_heard(turn, frame, weights).verdict.log_odds for turn in thread.turns[:-1])
    return max(0.0, earlier - own), THREAD


def _heard(turn: Turn, frame: Frame, weights: "Weights") -> Heard:
    """The weights' verdict on one turn, which it keeps for as long as its thread lives."""
    from lumni.intelligence.scoring import verdict

    def hear() -> Heard:
        reading = look(turn, frame.body)
        return Heard(verdict(reading, weights), reading.features.foreign, subject_of(reading))

    return weights.verdicts.recall(hash((turn, frame)), hear)
