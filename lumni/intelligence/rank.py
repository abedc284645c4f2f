"""How well a deployment suits a task: a score of named parts, higher is better."""

from collections.abc import Mapping

from lumni.catalogue.model import Deployment
from lumni.catalogue.scores import Score
from lumni.intelligence.model import Availability, Candidate
from lumni.money import NANO_PER_USD
from lumni.types import TaskType

WEIGHTS: Mapping[str, float] = {
    # The weights sum to 1. What a model is proven to be good at counts as much as the order that the teacher wrote
    # down; how full a quota is only decides between neighbours, and price between what is otherwise alike.
    "benchmark": 0.3,
    "priority": 0.3,
    "headroom": 0.2,
    "tier_match": 0.1,  # little, because the tier that a task asks for is a stage of its own
    "cost_efficiency": 0.1,
}

UNKNOWN = 0.2
"""What a model without published figures is ranked with, though not shown: about the median of the default list. A
constant, so that no candidate's place depends on which others there are."""


def benchmark(known: Score | None) -> float:
    """How good the model is in the task's domain, from the table of scores; ``UNKNOWN`` if nobody published it."""
    return UNKNOWN if known is None else known.value


def priority(deployment: Deployment) -> float:
    """1 for priority 0, the highest; 1/2 for 1, 1/3 for 2, and so on."""
    return 1 / (1 + max(0, deployment.priority))


def headroom(availability: Availability) -> float:
    """The share of its quota that is left, in [0, 1]; 0 for what is no number."""
    return min(1.0, max(0.0, availability.headroom)) if availability.headroom == availability.headroom else 0.0


def cost_efficiency(deployment: Deployment) -> float:
    """1 when free; else 1 / (1 + USD per million tokens), three prompt tokens to one of the answer; 0 when unknown."""
    if deployment.free:
        return 1.0
    if deployment.price is None:
        return 0.0
    blended = (3 * deployment.price.prompt + deployment.price.completion) / 4 / NANO_PER_USD
    return 1 / (1 + max(0.0, blended))


def tier_match(deployment: Deployment, task_type: TaskType | None) -> float:
    """1 when the model is of the strength that the task needs, else 0."""
    return 1.0 if deployment.tier == task_type else 0.0


def score(
    deployment: Deployment, task_type: TaskType | None, availability: Availability, known: Score | None = None
) -> Candidate:
    """The candidate with its weighted parts; ``score`` in [0, 1] is their sum. ``known`` is its model in the domain."""
    values = {
        "benchmark": benchmark(known),
        "tier_match": tier_match(deployment, task_type),
        "priority": priority(deployment),
        "headroom": headroom(availability),
        "cost_efficiency": cost_efficiency(deployment),
    }
    parts = {name: weight * values[name] for name, weight in WEIGHTS.items()}
    return Candidate(deployment, sum(parts.values()), parts, known)
