"""From a request to ranked deployments with reasons: the whole thought, in one straight line."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple

from lumni.calibration import Calibration
from lumni.catalogue.model import Catalogue, Deployment
from lumni.catalogue.scores import Domain, Score, Scores
from lumni.errors import LumniError
from lumni.intelligence import names, sieve
from lumni.intelligence.classify import judge
from lumni.intelligence.domain import domain_of
from lumni.intelligence.explain import reason
from lumni.intelligence.features import look
from lumni.intelligence.model import UNCLASSIFIED, Availability, Candidate, Classification, Exclusion, Plan, Rank, Task
from lumni.intelligence.needs import Needs, needs_of
from lumni.intelligence.rank import WEIGHTS, facts_of, headroom, parts_of, task_of
from lumni.intelligence.thread import read
from lumni.types import Role, TaskType

Classifying = Literal["auto", "asked", "never"]

FALLBACK_OFF = "fallback is off: only the best is kept"

FREE = Availability()
"""What is assumed of a deployment that the quota says nothing of."""

PLENTIFUL = 0.5
"""The mean share of the strong models' quota that must be left for what is undecided to go to them: a judgement."""


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
    availability: Mapping[str, Availability],
    needs: Needs | None = None,
    person: str | None = None,
    role: Role = "student",
    allowlists: Sequence[Sequence[str]] = (),
    scores: Scores | None = None,
    weights: Mapping[str, float] | None = WEIGHTS,
    classifying: Classifying = "auto",
    calibration: Calibration | None = None,
    order: Callable[[Plan], Plan] = _as_ranked,
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

    Raises:
        ModelNotFound: the name means nothing here, or only what is disabled.
        PermissionDenied: only personal accounts of others could serve it, or an allowlist leaves it out.
        InvalidRequest: an unknown provider, or one that can't serve it and no fallback.
        UnsupportedFeature: nobody can do what is asked.
        ContextLengthExceeded: nobody has a context window that large.
    """
    asked = names.tier_of(requested, catalogue) or hint
    ask = _Ask(
        requested, body, asked, provider, fallback, catalogue, availability, person, role, allowlists, calibration
    )
    ordered = order(_ranked(ask, needs, scores, weights, classifying))
    return ordered if fallback else _first_only(ordered)


def _ranked(
    ask: "_Ask",
    needs: Needs | None,
    scores: Scores | None,
    weights: Mapping[str, float] | None,
    classifying: Classifying,
) -> Plan:
    """The plan with all candidates, ordered by what is known of them."""
    body, asked = ask.body, ask.asked
    try:
        thread = read(body)
        last = look(thread.last, body)
        classification = UNCLASSIFIED
        if classifying == "auto" or (classifying == "asked" and asked):
            classification = judge(
                thread,
                last,
                body,
                asked,
                plentiful=partial(_plentiful, ask.catalogue, ask.availability),
                calibration=ask.calibration,
            )
    except Exception as error:  # noqa: BLE001  (a mistake here must not cost anybody an answer)
        return _by_the_list(ask, {"classification": error})
    if classification is UNCLASSIFIED and not asked:
        weights = None
    try:
        needs = needs or needs_of(body, thread)
        return _selected(ask, classification, needs, domain_of(last, needs), scores, weights)
    except LumniError:
        raise
    except Exception as error:  # noqa: BLE001
        return _by_the_list(ask, {"selection": error})


class _Ask(NamedTuple):
    """What is asked for, by whom and among what. ``asked`` is the tier that the client names herself."""

    requested: str
    body: Mapping[str, Any]
    asked: TaskType | None
    provider: str | None
    fallback: bool
    catalogue: Catalogue
    availability: Mapping[str, Availability]
    person: str | None
    role: Role
    allowlists: Sequence[Sequence[str]]
    calibration: Calibration | None

    @property
    def automatic(self) -> bool:
        return names.is_automatic(self.requested, self.catalogue)

    @property
    def preferred(self) -> str | None:
        return sieve.known_provider(self.provider, self.catalogue)

    def stages(self, tier: TaskType | None, weights: Mapping[str, float] | None) -> tuple[names.Stage, ...]:
        by_score = weights is not None
        return names.stages(self.requested, tier, self.catalogue, fallback=self.fallback, by_score=by_score)


def _selected(
    ask: _Ask,
    classification: Classification,
    needs: Needs,
    domain: Domain,
    scores: Scores | None,
    weights: Mapping[str, float] | None,
) -> Plan:
    """The plan for a task that was thought about."""
    task = task_of(classification, ask.asked)
    stages = ask.stages(task.tier, weights)
    fitting = sieve.fitting(_eligible(ask, stages), needs)
    fitting = sieve.available(sieve.within_limits(fitting, ask.availability), ask.availability)
    known = {d.id: _known(d, domain, scores) for d in fitting.left}
    plan = _plan(ask, classification, task, fitting, _rank(fitting, stages, ask, task, weights, known))
    return replace(plan, domain=domain, weights=weights)


def _by_the_list(ask: _Ask, faults: Mapping[str, Exception]) -> Plan:
    """Without a thought about the task: in the model list's order, without those who may not serve the request."""
    task = task_of(UNCLASSIFIED, ask.asked)
    stages = ask.stages(task.tier, None)
    left = sieve.available(_eligible(ask, stages), ask.availability)
    return replace(_plan(ask, UNCLASSIFIED, task, left, _rank(left, stages, ask, task, None, {})), faults=faults)


def _plan(
    ask: _Ask, classification: Classification, task: Task, left: sieve.Sieve, ranked: tuple[Candidate, ...]
) -> Plan:
    return Plan(
        classification=classification,
        candidates=ranked,
        reason=reason(ask.requested, classification, task, ranked, ask.preferred, ask.availability, ask.catalogue),
        excluded=left.excluded,
        requested=ask.requested,
        task=task,
        automatic=ask.automatic,
        named=names.tier_of(ask.requested, ask.catalogue) is not None,
    )


def _first_only(plan: Plan) -> Plan:
    """Without what would be called if the best failed."""
    best, *rest = plan.candidates
    dropped = tuple(Exclusion(candidate.deployment, FALLBACK_OFF, candidate) for candidate in rest)
    return replace(plan, candidates=(best,), excluded=plan.excluded + dropped)


def _eligible(ask: _Ask, stages: tuple[names.Stage, ...]) -> sieve.Sieve:
    """Who may be asked at all, whatever the request needs."""
    found = sieve.of_catalogue((d for stage in stages for d in stage.deployments), ask.requested)
    named = () if ask.automatic else tuple(d.id for d in stages[0].deployments)
    found = sieve.listed(found, ask.requested, named, ask.allowlists, ask.catalogue)
    found = sieve.permitted(found, ask.requested, named, ask.person, ask.role)
    if ask.preferred and not ask.fallback:
        found = sieve.only_provider(found, ask.preferred, ask.requested)
    return found


def _plentiful(catalogue: Catalogue, availability: Mapping[str, Availability]) -> bool:
    """Whether the strong tier's quota isn't scarce: half of it left on average, over models that may serve."""
    strong = [availability.get(d.id, FREE) for d in catalogue.deployments if d.enabled and d.tier == "powerful"]
    left = [0.0 if known.blocked else headroom(known) for known in strong]
    return not left or sum(left) >= PLENTIFUL * len(left)


def _known(deployment: Deployment, domain: Domain, scores: Scores | None) -> Score | None:
    model = scores.model_of(deployment) if scores is not None else None
    return scores.score(model, domain) if scores is not None and model is not None else None


def _rank(
    eligible: sieve.Sieve,
    stages: tuple[names.Stage, ...],
    ask: _Ask,
    task: Task,
    weights: Mapping[str, float] | None,
    known: Mapping[str, Score | None],
) -> tuple[Candidate, ...]:
    """By rank, then score or priority, then the file's order."""
    place = {d.id: (number, stage.strict) for number, stage in enumerate(stages) for d in stage.deployments}
    order = {d.id: spot for spot, d in enumerate(ask.catalogue.deployments)}
    preferred, automatic = ask.preferred, ask.automatic

    def candidate(deployment: Deployment) -> Candidate:
        stage, strict = place[deployment.id]
        available = ask.availability.get(deployment.id, FREE)
        score = known.get(deployment.id)
        facts = facts_of(deployment, available, score)
        parts = parts_of(facts, task, weights) if weights is not None else {}
        rank = Rank(
            wait=_wait(deployment, ask.availability),
            unpreferred=deployment.provider != preferred,
            stage=stage,
            misfit=automatic and task.tier not in (None, deployment.tier),
        )
        spot = order[deployment.id]
        return Candidate(deployment, sum(parts.values()), parts, facts, score, rank, strict, spot, available.room)

    return tuple(sorted(map(candidate, eligible.left), key=precedence))


def precedence(candidate: Candidate) -> tuple[float, bool, int, float, int, int]:
    """The sort key of candidates, the best first."""
    rank = candidate.rank
    score = 0.0 if candidate.strict else -candidate.score
    return rank.wait, rank.unpreferred, rank.stage, score, candidate.facts.priority, candidate.place


def _wait(deployment: Deployment, availability: Mapping[str, Availability]) -> float:
    """Seconds until a blocked deployment is free again, 0 for a free one, infinite when nobody knows."""
    if not sieve.is_blocked(deployment, availability):
        return 0.0
    until = availability[deployment.id].until
    return math.inf if until is None or math.isnan(until) else max(0.0, until)
