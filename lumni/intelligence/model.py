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
    """How hard a task is, in two figures kept apart, and what follows from the first.

    ``weak_fails`` in [0, 1] is the probability that a model of the fast tier fails; its log-odds are the sum of the
    ``factors``. ``gain`` in [-1, 1] is the share of right answers that the powerful tier is expected to add: it ranks
    requests for scarce quota. ``confidence`` in [0.5, 1] says how sure the classifier is which side of one half
    ``weak_fails`` is on, less for languages that it knows little of; 1 when the client said so itself. ``abstained``
    says that this was too little to decide by, and that the quota decided.
    """

    task_type: TaskType
    confidence: float
    factors: tuple[Factor, ...] = ()
    weak_fails: float = 0.5
    gain: float = 0.0
    abstained: bool = False


UNCLASSIFIED = Classification("powerful", 0.5)
"""Stands where nothing was classified: it is neither shown nor recorded."""


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
    """Ranked candidates, the best first (never empty), and everything that was left out with its reason.

    ``failure`` is empty, or the mistake in this program that made it fall back to the order of the model list.
    """

    classification: Classification
    candidates: tuple[Candidate, ...]
    reason: str
    excluded: tuple[Exclusion, ...] = field(default=())
    domain: Domain = "reasoning"
    failure: str = ""

    @property
    def classified(self) -> bool:
        return self.classification is not UNCLASSIFIED

    @property
    def winner(self) -> Deployment:
        return self.candidates[0].deployment
