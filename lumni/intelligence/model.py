"""The results of thinking about a request, each able to say why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from lumni.catalogue.model import Deployment
from lumni.catalogue.scores import Domain, Score
from lumni.types import Json, TaskType


class Factor(NamedTuple):
    """One reason of a classification: a name that a student understands and its signed weight (> 0: powerful)."""

    name: str
    weight: float


class Calibrated(NamedTuple):
    """The course's correction that a classification went through, and ``weak_fails`` before it."""

    course: str
    version: int
    weak_fails: float


@dataclass(frozen=True)
class Classification:
    """How hard a task is, in two figures kept apart, and what follows from the first.

    ``weak_fails`` in [0, 1] is the probability that a model of the fast tier fails; its log-odds are the sum of the
    ``factors``. ``gain`` in [-1, 1] is the share of right answers that the powerful tier is expected to add: it ranks
    requests for scarce quota. ``confidence`` in [0.5, 1] says how sure the classifier is which side of one half
    ``weak_fails`` is on, less for languages that it knows little of; 1 when the client said so itself. ``abstained``
    says that this was too little to decide by, and that the quota decided. ``weights`` is the id of the weights that
    said so, ``calibrated`` what the course's own votes changed, if they did.

    What is told of it is found out once, since many requests say the same: nobody changes that.
    """

    task_type: TaskType
    confidence: float
    factors: tuple[Factor, ...] = ()
    weak_fails: float = 0.5
    gain: float = 0.0
    abstained: bool = False
    weights: str = ""
    calibrated: Calibrated | None = None

    @cached_property
    def by_name(self) -> Mapping[str, float]:
        """The weights of the factors."""
        return {factor.name: factor.weight for factor in self.factors}

    @cached_property
    def public(self) -> Json:
        """As JSON for the client."""
        course = self.calibrated
        return {
            "task_type": self.task_type,
            "confidence": round(self.confidence, 3),
            "weak_fails": round(self.weak_fails, 3),
            "gain": round(self.gain, 3),
            "factors": {name: round(weight, 3) for name, weight in self.factors},
            "calibration": course and f"{course.course}/{course.version}",
        }

    @cached_property
    def archived(self) -> Json:
        """As JSON for a decision that is kept. Of ``calibration``, ``None``: the shipped weights alone spoke."""
        course = self.calibrated
        return {
            "task_type": self.task_type,
            "confidence": round(self.confidence, 4),
            "abstained": self.abstained,
            "weak_fails": round(self.weak_fails, 6),
            "gain": round(self.gain, 6),
            "factors": {name: round(weight, 4) for name, weight in self.factors},
            "weights": self.weights,
            "calibration": course and {**course._asdict(), "weak_fails": round(course.weak_fails, 6)},
        }


UNCLASSIFIED = Classification("powerful", 0.5)
"""Stands where nothing was classified: it is neither shown nor recorded."""


class Availability(NamedTuple):
    """What the quota knows of a deployment now: ``headroom`` in [0, 1], and why it can't be called, if it can't.

    ``until`` is the number of seconds after which it may be called again; ``None`` when nobody knows. ``price`` in
    [0, 1] is the shadow price of the quota that this request would take, ``calls`` how often it was called of late,
    ``unfit`` why this request could never fit its windows, and ``room`` whether it fits now.
    """

    headroom: float = 1.0
    blocked: str = ""
    until: float | None = None
    price: float | None = None
    calls: float = 0.0
    unfit: str = ""
    room: bool = True


class Rank(NamedTuple):
    """What decides before any score; lower comes first, and only candidates of equal rank may be reordered.

    ``wait`` in seconds until a blocked one is free again; ``unpreferred``: of another provider than the client wishes;
    ``stage``: the place of its group among what was asked for; ``misfit``: of the tier that the task doesn't need,
    which counts only where scores don't.
    """

    wait: float = 0.0
    unpreferred: bool = False
    stage: int = 0
    misfit: bool = False


class Task(NamedTuple):
    """What is known of the task: its tier (``None``: not classified), and in [0, 1] what a strong model gains it."""

    tier: TaskType | None = None
    gain: float = 0.5


class Facts(NamedTuple):
    """What a candidate's parts are computed from, and all that a later "what if" needs.

    ``benchmark`` is the model's value in the task's domain, ``headroom`` the share of the scarcest quota that is left,
    ``price`` that quota's shadow price, ``calls`` those of late, ``usd`` the list price of a million tokens, three of
    the prompt to one of the answer, 0 if free. ``None`` is unknown.
    """

    tier: TaskType
    benchmark: float | None = None
    headroom: float = 1.0
    price: float | None = None
    priority: int = 0
    calls: float = 0.0
    usd: float | None = 0.0


class Candidate(NamedTuple):
    """A deployment that may serve the request. ``parts`` are the named parts of ``score``, each in [0, 1], weighted.

    ``benchmark`` is its model's score in the task's domain; ``None`` where that is unknown. ``strict`` says that its
    stage is ordered by priority, whatever the score; ``place`` is that in the model list. ``room`` says that its quota
    has room for the request now.
    """

    deployment: Deployment
    score: float
    parts: Mapping[str, float]
    facts: Facts
    benchmark: Score | None = None
    rank: Rank = Rank()
    strict: bool = False
    place: int = 0
    room: bool = True


class Exclusion(NamedTuple):
    """``candidate`` is what it would be, had the client not asked for the first choice only."""

    deployment: Deployment
    reason: str
    candidate: Candidate | None = None


@dataclass(slots=True)
class Plan:
    """Ranked candidates, the best first (never empty), and everything that was left out with its reason.

    ``weights`` are those of the parts, ``None`` where the
    model list's own order decides. ``faults`` are what went wrong on the way, by ``classification`` or ``selection``.
    ``automatic``: the choice was left to Lumni, within the tier that the client named if ``named``.
    """

    classification: Classification
    candidates: tuple[Candidate, ...]
    reason: str
    excluded: tuple[Exclusion, ...] = field(default=())
    domain: Domain = "reasoning"
    requested: str = "auto"
    task: Task = field(default=Task())
    automatic: bool = True
    named: bool = False
    weights: Mapping[str, float] | None = None
    strategy: str = "auto"
    faults: Mapping[str, Exception] = field(default_factory=dict, compare=False)

    @property
    def failure(self) -> str:
        """What went wrong, if anything did."""
        return "; ".join(f"{type(error).__name__}: {error}" for error in self.faults.values())

    @property
    def classified(self) -> bool:
        return self.classification is not UNCLASSIFIED

    @property
    def deployments(self) -> tuple[Deployment, ...]:
        return tuple(candidate.deployment for candidate in self.candidates)

    @property
    def winner(self) -> Deployment:
        return self.candidates[0].deployment
