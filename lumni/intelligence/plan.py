"""From a request to ranked deployments with reasons: the whole thought, in one straight line."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple, Protocol

from lumni.calibration import Calibration
from lumni.catalogue.model import Catalogue
from lumni.catalogue.scores import Domain, Scores
from lumni.errors import LumniError
from lumni.intelligence import names, sieve
from lumni.intelligence.classify import Frame, Opinion, judge
from lumni.intelligence.domain import domain_of, subject_of
from lumni.intelligence.explain import reason
from lumni.intelligence.features import look
from lumni.intelligence.memory import Memory
from lumni.intelligence.model import UNCLASSIFIED, Availability, Candidate, Classification, Exclusion, Plan, Task
from lumni.intelligence.needs import Needs, needs_of
from lumni.intelligence.rank import WEIGHTS, headroom, task_of
from lumni.intelligence.slate import Question, Slate, slate_of
from lumni.intelligence.thread import Thread, read
from lumni.types import Role, TaskType

Classifying = Literal["auto", "asked", "never"]

FALLBACK_OFF = "fallback is off: only the best is kept"

FREE = Availability()
"""What is assumed of a deployment that the quota says nothing of."""

PLENTIFUL = 0.5
"""The mean share of the strong models' quota that must be left for what is undecided to go to them: a judgement."""


class Availabilities(Protocol):
    """How deployments stand, by their ids."""

    def get(self, id_: str, default: Availability, /) -> Availability: ...


def _as_ranked(plan: Plan) -> Plan:
    return plan


def plan(
    *,
    requested: str,
    body: Mapping[str, Any],
    hint: TaskType | None,
    provider: str | None,
    fallback: bool,
    catalogue: Catalogue,
    availability: Availabilities,
    needs: Needs | None = None,
    person: str | None = None,
    role: Role = "student",
    allowlists: tuple[tuple[str, ...], ...] = (),
    scores: Scores | None = None,
    weights: Mapping[str, float] | None = WEIGHTS,
    classifying: Classifying = "auto",
    calibration: Calibration | None = None,
    order: Callable[[Plan], Plan] = _as_ranked,
    memory: Memory | None = None,
) -> Plan:
    """The deployments that may serve a request, the best first, and why the others may not.

    Pure and deterministic. ``requested`` is ``auto``, ``fast``, ``powerful``, or any name that ``Catalogue.resolve``
    knows; ``hint`` is the client's ``taskType``, overruled by ``fast`` and ``powerful`` as names. ``provider`` is a
    preference; without ``fallback`` it is a condition, and exactly one candidate is kept. ``availability`` is by
    deployment id; what is absent counts as free. ``needs`` replaces the estimate from ``body``. ``scores`` say how
    good a model is in the task's domain; without them that is unknown of all.

    ``person`` is the student or label who asks, and ``role`` hers: personal accounts serve only their owners. What is
    not on each of the ``allowlists`` serves nobody here.

    ``weights`` are those of the score's parts; without them the model list's own order decides, as it does when
    anything here fails but a :class:`LumniError`: ``Plan.faults`` then says what.

    ``order`` may put the candidates into another order, before all but the first are dropped for want of ``fallback``.

    ``classifying`` is ``auto``; ``asked`` classifies only what the client does by ``hint`` or by name; ``never``
    classifies nothing. What isn't classified and leaves the model to Lumni goes by the model list too. ``calibration``
    is what the caller's course taught the classifier.

    ``memory`` keeps what plans over the same catalogue and scores have in common, and never changes one.

    Raises:
        ModelNotFound: the name means nothing here, or only what is disabled.
        PermissionDenied: only personal accounts of others could serve it, or an allowlist leaves it out.
        InvalidRequest: an unknown provider, or one that can't serve it and no fallback.
        UnsupportedFeature: nobody can do what is asked.
        ContextLengthExceeded: nobody has a context window that large.
    """
    ask = _Ask(
        Question(
            requested=requested,
            tier=names.tier_of(requested, catalogue) or hint,
            by_score=weights is not None,
            provider=provider,
            fallback=fallback,
            person=person if person in catalogue.owners else None,
            role=role,
            allowlists=allowlists,
        ),
        catalogue,
        scores,
        availability,
        memory or Memory(),
    )
    ordered = order(_ranked(ask, body, needs, weights, classifying, calibration))
    return ordered if fallback else _first_only(ordered)


class _Ask(NamedTuple):
    """What is asked for, by whom and among what. In its ``question`` the tier is the one that the client names."""

    question: Question
    catalogue: Catalogue
    scores: Scores | None
    availability: Availabilities
    memory: Memory

    def slate(self, question: Question) -> Slate:
        return self.memory.slates.recall(question, lambda: slate_of(question, self.catalogue, self.scores))


def _ranked(
    ask: _Ask,
    body: Mapping[str, Any],
    needs: Needs | None,
    weights: Mapping[str, float] | None,
    classifying: Classifying,
    calibration: Calibration | None,
) -> Plan:
    """The plan with all candidates, ordered by what is known of them."""
    asked = ask.question.tier
    listens = classifying == "auto" or (classifying == "asked" and asked is not None)
    try:
        thread = read(body)
        opinion = _opinion(ask.memory, thread, Frame.of(body), asked, calibration, listens=listens)
        classification = opinion.plentiful
        if opinion.scarce is not opinion.plentiful and not _plentiful(ask.catalogue, ask.availability):
            classification = opinion.scarce
    except Exception as error:  # noqa: BLE001  (a mistake here must not cost anybody an answer)
        return _by_the_list(ask, {"classification": error})
    if not listens and asked is None:
        weights = None
    try:
        needs = needs or needs_of(body, thread)
        return _selected(ask, classification, needs, domain_of(opinion.subject, needs), weights)
    except LumniError:
        raise
    except Exception as error:  # noqa: BLE001
        return _by_the_list(ask, {"selection": error})


def _opinion(
    memory: Memory,
    thread: Thread,
    frame: Frame,
    asked: TaskType | None,
    calibration: Calibration | None,
    *,
    listens: bool,
) -> Opinion:
    """What the conversation comes to, found out once for each."""

    def think() -> Opinion:
        if not listens:
            return Opinion(UNCLASSIFIED, UNCLASSIFIED, subject_of(look(thread.last, frame.body)))
        return judge(thread, frame, asked, calibration=calibration)

    return memory.opinions.recall(hash((thread.turns, frame, asked, listens, calibration and calibration.line)), think)


def _selected(
    ask: _Ask, classification: Classification, needs: Needs, domain: Domain, weights: Mapping[str, float] | None
) -> Plan:
    """The plan for a task that was thought about."""
    task = task_of(classification, ask.question.tier)
    by_score, abilities = weights is not None, needs.abilities
    question = ask.question._replace(tier=task.tier, by_score=by_score, domain=domain, abilities=abilities)
    slate = ask.slate(question)
    who = slate.fitting(needs)
    known = {d.id: ask.availability.get(d.id, FREE) for d in who.left}
    who = sieve.available(sieve.within_limits(who, known), known)
    return _plan(ask, slate, who, known, classification, task, domain, weights)


def _by_the_list(ask: _Ask, faults: Mapping[str, Exception]) -> Plan:
    """Without a thought about the task: in the model list's order, without those who may not serve the request."""
    task = task_of(UNCLASSIFIED, ask.question.tier)
    slate = ask.slate(ask.question._replace(by_score=False))
    known = {d.id: ask.availability.get(d.id, FREE) for d in slate.who.left}
    return replace(_plan(ask, slate, sieve.available(slate.who, known), known, UNCLASSIFIED, task), faults=faults)


def _plan(
    ask: _Ask,
    slate: Slate,
    who: sieve.Sieve,
    known: Mapping[str, Availability],
    classification: Classification,
    task: Task,
    domain: Domain = "reasoning",
    weights: Mapping[str, float] | None = None,
) -> Plan:
    """By rank, then score or priority, then the file's order."""
    requested, prospects = ask.question.requested, slate.prospects
    candidates = sorted([prospects[d.id].candidate(known[d.id], task, weights) for d in who.left], key=precedence)
    return Plan(
        classification=classification,
        candidates=tuple(candidates),
        reason=reason(requested, classification, task, candidates, slate.preferred, known, automatic=slate.automatic),
        excluded=who.excluded,
        domain=domain,
        requested=requested,
        task=task,
        automatic=slate.automatic,
        named=slate.named,
        weights=weights,
    )


def _first_only(plan: Plan) -> Plan:
    """Without what would be called if the best failed."""
    best, *rest = plan.candidates
    dropped = tuple(Exclusion(candidate.deployment, FALLBACK_OFF, candidate) for candidate in rest)
    return replace(plan, candidates=(best,), excluded=plan.excluded + dropped)


def _plentiful(catalogue: Catalogue, availability: Availabilities) -> bool:
    """Whether the strong tier's quota isn't scarce: half of it left on average, over models that may serve."""
    strong = [availability.get(d.id, FREE) for d in catalogue.deployments if d.enabled and d.tier == "powerful"]
    left = [0.0 if known.blocked else headroom(known) for known in strong]
    return not left or sum(left) >= PLENTIFUL * len(left)


def precedence(candidate: Candidate) -> tuple[float, bool, int, float, int, int]:
    """The sort key of candidates, the best first."""
    rank = candidate.rank
    score = 0.0 if candidate.strict else -candidate.score
    return rank.wait, rank.unpreferred, rank.stage, score, candidate.facts.priority, candidate.place
