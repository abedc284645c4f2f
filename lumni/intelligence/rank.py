"""How well a deployment suits a task: six named parts in [0, 1], weighted. Higher is better.

No part depends on which other candidates there are: taking one away never changes the order of the rest.
"""

from collections.abc import Mapping

from lumni.catalogue.model import Deployment
from lumni.catalogue.scores import Score
from lumni.errors import InvalidRequest
from lumni.intelligence.model import UNCLASSIFIED, Availability, Classification, Facts, Task
from lumni.money import NANO_PER_USD
from lumni.types import TaskType

WEIGHTS: Mapping[str, float] = {
    "benchmark_ranking": 0.3,
    "benchmark_score": 0.2,
    "rate_limit_availability": 0.2,
    "provider_priority": 0.1,
    "recent_usage": 0.1,
    "cost_efficiency": 0.1,
}
"""The default of ``academic.benchmarkSelection.weights``; they sum to 1."""

NEEDED: Mapping[TaskType, float] = {"fast": 0.05, "powerful": 0.2}
"""The benchmark value from which on a model is good enough for a task, and a better one no better for it: a judgement.
What is easy, gpt-4o-mini can do, which is at 0.05; what is hard, gpt-oss-120b, which is at 0.2 and free."""

UNKNOWN = 0.1
"""The benchmark value that a model without published figures is ranked with, though not shown: half of what a hard task
needs. A constant, so that no candidate's place depends on which others there are."""

FEW_CALLS = 10.0
"""Calls of late (each counts half after ten minutes) that halve ``recent_usage``."""

GAIN: Mapping[TaskType, float] = {"powerful": 1.0, "fast": 0.5}
"""A task's gain where the client says itself what it is."""

GREATEST_GAIN = 0.7
"""What of ``Classification.gain``, a share of right answers, counts as 1: of what the weak tier fails, the strong one
solves so much (``scoring.STRONG_SOLVES``). Shadow prices are relative to the most valuable use, so must gains be."""


def task_of(classification: Classification, asked: TaskType | None = None) -> Task:
    """What the client says of the task herself, else what the classifier found, as the parts need it."""
    if asked is not None:
        return Task(asked, GAIN[asked])
    if classification is UNCLASSIFIED:
        return Task()
    return Task(classification.task_type, _share(classification.gain / GREATEST_GAIN))


def facts_of(deployment: Deployment, known: Score | None = None) -> Facts:
    """What is known of a deployment whatever its quota; ``known`` is its model in the task's domain."""
    return Facts(
        tier=deployment.tier,
        benchmark=None if known is None else known.value,
        priority=max(0, deployment.priority),
        usd=_usd(deployment),
    )


def with_quota(facts: Facts, availability: Availability) -> Facts:
    """``facts`` with what the quota says. What is no number counts as 0."""
    tier, benchmark, _, _, priority, _, usd = facts
    price = availability.price
    return Facts(
        tier,
        benchmark,
        _share(availability.headroom),
        None if price is None else _share(price),
        priority,
        max(0.0, availability.calls),
        usd,
    )


def headroom(availability: Availability) -> float:
    """The share of its quota that is left, in [0, 1]; 0 for what is no number."""
    return _share(availability.headroom)


def is_saved(facts: Facts, task: Task) -> bool:
    """Whether a strong model's quota is dearer now than what this task gains from it: others gain more."""
    return facts.tier == "powerful" and facts.price is not None and facts.price > task.gain


def benchmark_ranking(facts: Facts, task: Task) -> float:
    """0 for a model of the tier that the task doesn't need, or that is saved for others; else ¾ to 1 as it is good."""
    if (task.tier is not None and facts.tier != task.tier) or is_saved(facts, task):
        return 0.0
    return 0.75 + 0.25 * benchmark_score(facts, task)


def benchmark_score(facts: Facts, task: Task) -> float:
    """What the model has of the strength that the task needs, by the figures of the domain; 0 if saved for others."""
    if is_saved(facts, task):
        return 0.0
    value = UNKNOWN if facts.benchmark is None else facts.benchmark
    return min(1.0, value / NEEDED[task.tier or "powerful"])


def rate_limit_availability(facts: Facts, task: Task) -> float:
    """1 while its quota would last to the reset at this pace, 0 when nothing is left or it is saved for others.

    Between them 1 − the shadow price, half of which counts for a strong model and a task that is worth it; where no
    limit is known, the share that is left. Of what is billed, half: the scarce thing there is money.
    """
    if is_saved(facts, task):
        return 0.0
    worth = 0.5 if facts.tier == task.tier == "powerful" else 1.0
    left = facts.headroom if facts.price is None else 1 - worth * facts.price
    return left if facts.usd == 0 else left / 2


def provider_priority(facts: Facts, task: Task) -> float:  # noqa: ARG001  (all parts are asked alike)
    """1 for priority 0, the highest; 1/2 for 1, 1/3 for 2, and so on."""
    return 1 / (1 + facts.priority)


def recent_usage(facts: Facts, task: Task) -> float:  # noqa: ARG001
    """How little it was called of late: 1 if not at all, 1/2 after ten calls, 1/11 after a hundred."""
    return 1 / (1 + facts.calls / FEW_CALLS)


def cost_efficiency(facts: Facts, task: Task) -> float:  # noqa: ARG001
    """1 when free; else 1 / (1 + USD per million tokens), three prompt tokens to one of the answer; 0 when unknown."""
    return 0.0 if facts.usd is None else 1 / (1 + max(0.0, facts.usd))


PARTS = (
    benchmark_ranking,
    benchmark_score,
    rate_limit_availability,
    provider_priority,
    recent_usage,
    cost_efficiency,
)


NAMES = tuple(part.__name__ for part in PARTS)


def scaled(weights: Mapping[str, float]) -> dict[str, float]:
    """Relative weights of the parts, scaled to sum to 1; what is left out weighs nothing. Names as in config.json too.

    Raises :class:`InvalidRequest` for other names, numbers below 0, and where none is above it.
    """
    spelled = {name.replace("_", ""): name for name in WEIGHTS}
    found = dict.fromkeys(WEIGHTS, 0.0)
    for name, weight in weights.items():
        known = spelled.get(name.replace("_", "").lower())
        if known is None:
            raise InvalidRequest(
                f"{name[:80]} is no part of the score. Parts are: {', '.join(WEIGHTS)}.", param="weights"
            )
        found[known] = weight
    total = sum(found.values())
    if not 0 < total < float("inf") or min(found.values()) < 0:
        raise InvalidRequest("Weights are numbers from 0, at least one of them above 0.", param="weights")
    return {name: weight / total for name, weight in found.items()}


def values_of(facts: Facts, task: Task) -> tuple[float, ...]:
    """The parts, each in [0, 1], in the order of :data:`PARTS`."""
    return tuple([part(facts, task) for part in PARTS])


def parts_of(facts: Facts, task: Task, weights: Mapping[str, float] = WEIGHTS) -> dict[str, float]:
    """The weighted parts, which sum to the score."""
    return {name: weights[name] * value for name, value in zip(NAMES, values_of(facts, task), strict=True)}


def _usd(deployment: Deployment) -> float | None:
    if deployment.free:
        return 0.0
    price = deployment.price
    return None if price is None else max(0.0, (3 * price.prompt + price.completion) / 4 / NANO_PER_USD)


def _share(value: float) -> float:
    """``value`` held in [0, 1]; 0 for what is no number."""
    if 0.0 <= value <= 1.0:
        return value
    return 1.0 if value > 1.0 else 0.0
