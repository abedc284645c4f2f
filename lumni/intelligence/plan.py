"""From a request to ranked deployments with reasons: the whole thought, in one straight line."""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from lumni.catalogue.model import Catalogue, Deployment
from lumni.catalogue.scores import Domain, Score, Scores
from lumni.errors import LumniError
from lumni.intelligence import names, sieve
from lumni.intelligence.classify import judge
from lumni.intelligence.domain import domain_of
from lumni.intelligence.explain import reason
from lumni.intelligence.features import look
from lumni.intelligence.model import UNCLASSIFIED, Availability, Candidate, Exclusion, Plan, Rank, Task
from lumni.intelligence.needs import Needs, needs_of
from lumni.intelligence.rank import WEIGHTS, facts_of, headroom, parts_of, task_of
from lumni.intelligence.thread import read
from lumni.types import Role, TaskType

Classifying = Literal["auto", "asked", "never"]

FREE = Availability()
"""What is assumed of a deployment that the quota says nothing of."""

PLENTIFUL = 0.5
"""The mean share of the strong models' quota that must be left for what is undecided to go to them: a judgement."""

PLENTIFUL = 0.5
"""The mean share of the strong models' quota that must be left for what is undecided to go to them: a judgement."""


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
    scores: Scores | None = None,
    weights: Mapping[str, float] | None = WEIGHTS,
    classifying: Classifying = "auto",
) -> Plan:
    """The deployments that may serve a request, the best first, and why the others may not.

    Pure and deterministic. ``requested`` is ``auto``, ``fast``, ``powerful``, or any name that ``Catalogue.resolve``
    knows; ``hint`` is the client's ``taskType``, overruled by ``fast`` and ``powerful`` as names. ``provider`` is a
    preference; without ``fallback`` it is a condition, and exactly one candidate is kept. ``availability`` is by
    deployment id; what is absent counts as free. ``needs`` replaces the estimate from ``body``. ``scores`` say how
    good a model is in the task's domain; without them that is unknown of all.

    ``person`` is the student or label who asks, and ``role`` hers: personal accounts serve only their owners.

    ``weights`` are those of the score's parts; without them the model list's own order decides, as it does when
    anything here fails but a :class:`LumniError`: ``Plan.faults`` then says what.

    ``classifying`` is ``auto``; ``asked`` classifies only what the client does by ``hint`` or by name; ``never``
    classifies nothing. What isn't classified and leaves the model to Lumni goes by the model list too.

    Raises:
        ModelNotFound: the name means nothing here, or only what is disabled.
        PermissionDenied: only personal accounts of others could serve it.
        InvalidRequest: an unknown provider, or one that can't serve it and no fallback.
        UnsupportedFeature: nobody can do what is asked.
        ContextLengthExceeded: nobody has a context window that large.
    """
    faults: dict[str, Exception] = {}
    hint = names.tier_of(requested, catalogue) or hint
    thread = last = None
    classification = UNCLASSIFIED
    try:
        thread = read(body)
        last = look(thread.last, body)
        if classifying == "auto" or (classifying == "asked" and hint):
            classification = judge(thread, last, body, hint, plentiful=_plentiful(catalogue, availability))
    except Exception as error:  # noqa: BLE001  (whatever it is, the request is served)
        faults["classification"] = error
    if classification is UNCLASSIFIED and (faults or not hint):
        weights = None
    preferred = sieve.known_provider(provider, catalogue)
    task = task_of(classification, hint)
    ask = _Ask(requested, task.tier, fallback, preferred, task, catalogue, availability)
    eligible = _eligible(ask, ask.stages(weights), person, role)
    domain: Domain = "reasoning"
    try:
        needs = needs or needs_of(body, thread)
        domain = domain_of(last or look(read(body).last, body), needs)
        fitting = sieve.within_limits(sieve.fitting(eligible, needs), availability)
        fitting = sieve.available(fitting, availability)
        ranked = _rank(fitting, ask, weights, {d.id: _known(d, domain, scores) for d in fitting.left})
    except LumniError:
        raise
    except Exception as error:  # noqa: BLE001
        faults["selection"], weights = error, None
        fitting = eligible
        ranked = _rank(fitting, ask, weights, {})
    kept, rest = (ranked, ()) if fallback else (ranked[:1], ranked[1:])
    return Plan(
        classification=classification,
        candidates=kept,
        reason=reason(requested, classification, task, ranked, preferred, availability, catalogue),
        excluded=fitting.excluded
        + tuple(Exclusion(c.deployment, "fallback is off: only the best is kept", c) for c in rest),
        domain=domain,
        requested=requested,
        task=task,
        automatic=names.is_automatic(requested, catalogue),
        named=names.tier_of(requested, catalogue) is not None,
        weights=weights,
        faults=faults,
    )


class _Ask(NamedTuple):
    """What was asked for, and of what is there."""

    requested: str
    tier: TaskType | None
    fallback: bool
    preferred: str | None
    task: Task
    catalogue: Catalogue
    availability: Mapping[str, Availability]

    def stages(self, weights: Mapping[str, float] | None) -> tuple[names.Stage, ...]:
        by_score = weights is not None
        return names.stages(self.requested, self.tier, self.catalogue, fallback=self.fallback, by_score=by_score)


def _eligible(ask: _Ask, stages: tuple[names.Stage, ...], person: str | None, role: Role) -> sieve.Sieve:
    """Who may be asked at all, whatever the request needs."""
    found = sieve.of_catalogue((d for stage in stages for d in stage.deployments), ask.requested)
    automatic = names.is_automatic(ask.requested, ask.catalogue)
    named = () if automatic else tuple(d.id for d in stages[0].deployments)
    found = sieve.permitted(found, ask.requested, named, person, role)
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
    eligible: sieve.Sieve, ask: _Ask, weights: Mapping[str, float] | None, known: Mapping[str, Score | None]
) -> tuple[Candidate, ...]:
    """By rank, then score or priority, then the file's order."""
    place = {
        d.id: (number, stage.strict) for number, stage in enumerate(ask.stages(weights)) for d in stage.deployments
    }
    order = {d.id: spot for spot, d in enumerate(ask.catalogue.deployments)}
    automatic = names.is_automatic(ask.requested, ask.catalogue)

    def candidate(deployment: Deployment) -> Candidate:
        stage, strict = place[deployment.id]
        available = ask.availability.get(deployment.id, FREE)
        score = known.get(deployment.id)
        facts = facts_of(deployment, available, score)
        parts = parts_of(facts, ask.task, weights) if weights is not None else {}
        rank = Rank(
            wait=_wait(deployment, ask.availability),
            unpreferred=deployment.provider != ask.preferred,
            stage=stage,
            misfit=automatic and ask.tier not in (None, deployment.tier),
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
