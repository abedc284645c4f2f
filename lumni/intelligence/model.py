"""The results of thinking about a request, each able to say why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from lumni.catalogue.model import Deployment
from lumni.catalogue.scores import Domain, Score
from lumni.types import TaskType


class Factor(NamedTuple):
    """One reason of a classification: a name that a student understands and its signed weight (> 0: powerful)."""

    name: str
    weight: float


@dataclass(frozen=True, slots=True)
class Classification:
    """``confidence`` in [0.5, 1] is the probability that ``task_type`` is right; 1 when the client said so itself."""

    task_type: TaskType
    confidence: float
    factors: tuple[Factor, ...] = ()


class Availability(NamedTuple):
    """What the quota knows of a deployment now: ``headroom`` in [0, 1], and why it can't be called, if it can't.

    ``until`` is the number of seconds after which it may be called again; ``None`` when nobody knows.
    """

    headroom: float = 1.0
    blocked: str = ""
    until: float | None = None


class Candidate(NamedTuple):
    """A deployment that may serve the request. ``parts`` are the named parts of ``score``, each in [0, 1], weighted.

    ``benchmark`` is its model's score in the task's domain; ``None`` where that is unknown. ``rank`` says what may be
    reordered: only candidates of equal rank stand for the same wish of the client.
    """

    deployment: Deployment
    score: float
    parts: Mapping[str, float]
    benchmark: Score | None = None
    rank: tuple[bool, int] = (False, 0)


class Exclusion(NamedTuple):
    deployment: Deployment
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Ranked candidates, the best first (never empty), and everything that was left out with its reason."""

    classification: Classification
    candidates: tuple[Candidate, ...]
    reason: str
    excluded: tuple[Exclusion, ...] = field(default=())
    domain: Domain = "reasoning"

    @property
    def winner(self) -> Deployment:
        return self.candidates[0].deployment
