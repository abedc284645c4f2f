"""From a request to ranked deployments with reasons: the whole thought, in one straight line."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lumni.catalogue.model import Catalogue, Deployment
from lumni.catalogue.scores import Domain, Score, Scores
from lumni.intelligence import names, sieve
from lumni.intelligence.classify import judge
from lumni.intelligence.domain import domain_of
from lumni.intelligence.explain import reason
from lumni.intelligence.features import look
from lumni.intelligence.model import Availability, Candidate, Exclusion, Plan
from lumni.intelligence.needs import Needs, needs_of
from lumni.intelligence.rank import headroom, score
from lumni.intelligence.thread import read
from lumni.types import Role, TaskType

FREE = Availability()
"""What is assumed of a deployment that the quota says nothing of."""

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
) -> Plan:
    """The deployments that may serve a request, the best first, and why the others may not.

    Pure and deterministic. ``requested`` is ``auto``, ``fast``, ``powerful``, or any name that ``Catalogue.resolve``
    knows; ``hint`` is the client's ``taskType``, overruled by ``fast`` and ``powerful`` as names. ``provider`` is a
    preference; without ``fallback`` it is a condition, and exactly one candidate is kept. ``availability`` is by
    deployment id; what is absent counts as free. ``needs`` replaces the estimate from ``body``. ``scores`` say how
    good a model is in the task's domain; without them that is unknown of all.

    ``person`` is the student or label who asks, and ``role`` hers: personal accounts serve only their owners.

    Raises:
        ModelNotFound: the name means nothing here, or only what is disabled.
        PermissionDenied: only personal accounts of others could serve it.
        InvalidRequest: an unknown provider, or one that can't serve it and no fallback.
        UnsupportedFeature: nobody can do what is asked.
        ContextLengthExceeded: nobody has a context window that large.
    """
    thread = read(body)
    last = look(thread.last, body)
    classification = judge(
        thread, last, body, names.tier_of(requested, catalogue) or hint, plentiful=_plentiful(catalogue, availability)
    )
    task_type = classification.task_type
    preferred = sieve.known_provider(provider, catalogue)
    stages = names.stages(requested, task_type, catalogue, fallback=fallback)
    eligible = sieve.of_catalogue((d for stage in stages for d in stage.deployments), requested)
    named = () if names.is_automatic(requested, catalogue) else tuple(d.id for d in stages[0].deployments)
    eligible = sieve.permitted(eligible, requested, named, person, role)
    if preferred and not fallback:
        eligible = sieve.only_provider(eligible, preferred, requested)
    needs = needs or needs_of(body, thread)
    domain = domain_of(last, needs)
    eligible = sieve.fitting(eligible, needs)
    eligible = sieve.available(eligible, availability)
    known = {d.id: _known(d, domain, scores) for d in eligible.left}
    ranked = _rank(eligible.left, stages, preferred, task_type, availability, known)
    kept, rest = (ranked, ()) if fallback else (ranked[:1], ranked[1:])
    return Plan(
        classification=classification,
        candidates=kept,
        reason=reason(requested, classification, ranked, preferred, availability, catalogue),
        excluded=eligible.excluded
        + tuple(Exclusion(c.deployment, "fallback is off: only the best is kept") for c in rest),
        domain=domain,
    )


def _plentiful(catalogue: Catalogue, availability: Mapping[str, Availability]) -> bool:
    """Whether the strong tier's quota isn't scarce: half of it is left on average, over all enabled models."""
    strong = [availability.get(d.id, FREE) for d in catalogue.deployments if d.enabled and d.tier == "powerful"]
    left = [0.0 if known.blocked else headroom(known) for known in strong]
    return not left or sum(left) >= PLENTIFUL * len(left)


def _known(deployment: Deployment, domain: Domain, scores: Scores | None) -> Score | None:
    model = scores.model_of(deployment) if scores is not None else None
    return scores.score(model, domain) if scores is not None and model is not None else None


def _rank(
    deployments: Sequence[Deployment],
    stages: Sequence[names.Stage],
    preferred: str | None,
    task_type: TaskType,
    availability: Mapping[str, Availability],
    known: Mapping[str, Score | None],
) -> tuple[Candidate, ...]:
    """By: free (or how soon), preferred provider, stage, score, priority, the file's order."""
    place = {d.id: (number, stage.strict) for number, stage in enumerate(stages) for d in stage.deployments}

    def key(candidate: Candidate) -> tuple[float, bool, int, float, int]:
        deployment = candidate.deployment
        stage, strict = place[deployment.id]
        order = 0.0 if strict else -candidate.score
        wait = _wait(deployment, availability)
        return wait, deployment.provider != preferred, stage, order, deployment.priority

    scored = (score(d, task_type, availability.get(d.id, FREE), known[d.id]) for d in deployments)
    ranked = (c._replace(rank=(c.deployment.provider != preferred, place[c.deployment.id][0])) for c in scored)
    return tuple(sorted(ranked, key=key))


def _wait(deployment: Deployment, availability: Mapping[str, Availability]) -> float:
    """Seconds until a blocked deployment is free again, 0 for a free one, infinite when nobody knows."""
    if not sieve.is_blocked(deployment, availability):
        return 0.0
    until = availability[deployment.id].until
    return math.inf if until is None or math.isnan(until) else max(0.0, until)
