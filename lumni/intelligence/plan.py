"""From a request to ranked deployments with reasons: the whole thought, in one straight line."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from lumni.catalogue.model import Catalogue, Deployment
from lumni.catalogue.scores import Domain, Score, Scores
from lumni.errors import LumniError
from lumni.intelligence import names, sieve
from lumni.intelligence.classify import judge
from lumni.intelligence.domain import domain_of
from lumni.intelligence.explain import reason
from lumni.intelligence.features import look
from lumni.intelligence.model import UNCLASSIFIED, Availability, Candidate, Classification, Exclusion, Plan
from lumni.intelligence.needs import Needs, needs_of
from lumni.intelligence.rank import headroom, score
from lumni.intelligence.thread import read
from lumni.types import Role, TaskType

FREE = Availability()
"""What is assumed of a deployment that the quota says nothing of."""

PLENTIFUL = 0.5
"""The mean share of the strong models' quota that must be left for what is undecided to go to them: a judgement."""

Classifying = Literal["auto", "asked", "never"]


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
    classifying: Classifying = "auto",
) -> Plan:
    """The deployments that may serve a request, the best first, and why the others may not.

    Pure and deterministic. ``requested`` is ``auto``, ``fast``, ``powerful``, or any name that ``Catalogue.resolve``
    knows; ``hint`` is the client's ``taskType``, overruled by ``fast`` and ``powerful`` as names. ``provider`` is a
    preference; without ``fallback`` it is a condition, and exactly one candidate is kept. ``availability`` is by
    deployment id; what is absent counts as free. ``needs`` replaces the estimate from ``body``. ``scores`` say how
    good a model is in the task's domain; without them that is unknown of all.

    ``classifying`` is ``auto``; ``asked`` classifies only what the client herself does by ``hint`` or by name;
    ``never`` classifies nothing. What isn't classified and leaves the model to Lumni goes by the model list.
    So is everything if classifying or ranking fails by a mistake in this program: ``Plan.failure`` says how.

    ``person`` is the student or label who asks, and ``role`` hers: personal accounts serve only their owners.

    Raises:
        ModelNotFound: the name means nothing here, or only what is disabled.
        PermissionDenied: only personal accounts of others could serve it.
        InvalidRequest: an unknown provider, or one that can't serve it and no fallback.
        UnsupportedFeature: nobody can do what is asked.
        ContextLengthExceeded: nobody has a context window that large.
    """
    wish = _Wish(
        requested, body, names.tier_of(requested, catalogue) or hint, provider, fallback, catalogue, availability
    )
    who = (person, role)
    try:
        return _ranked(wish, _Means(needs, scores, classifying), who)
    except LumniError:
        raise
    except Exception as error:  # noqa: BLE001  (a mistake here must not cost a student her answer)
        return _in_order(wish, who, f"{type(error).__name__}: {error}")


class _Wish(NamedTuple):
    """What a client asks for, and among what. ``asked`` is the tier that she names herself."""

    requested: str
    body: Mapping[str, Any]
    asked: TaskType | None
    provider: str | None
    fallback: bool
    catalogue: Catalogue
    availability: Mapping[str, Availability]


class _Means(NamedTuple):
    """What a plan is made with."""

    needs: Needs | None
    scores: Scores | None
    classifying: Classifying


def _ranked(wish: _Wish, means: _Means, who: tuple[str | None, Role]) -> Plan:
    thread = read(wish.body)
    last = look(thread.last, wish.body)
    classification = UNCLASSIFIED
    if means.classifying == "auto" or (means.classifying == "asked" and wish.asked):
        plentiful = _plentiful(wish.catalogue, wish.availability)
        classification = judge(thread, last, wish.body, wish.asked, plentiful=plentiful)
    tier = wish.asked if classification is UNCLASSIFIED else classification.task_type
    preferred, stages, eligible = _permitted(wish, tier, who)
    needs = means.needs or needs_of(wish.body, thread)
    domain = domain_of(last, needs)
    eligible = sieve.available(sieve.fitting(eligible, needs), wish.availability)
    known = {d.id: _known(d, domain, means.scores) for d in eligible.left}
    scored = [score(d, tier, wish.availability.get(d.id, FREE), known[d.id]) for d in eligible.left]
    return _plan(
        wish, classification, _sorted(scored, stages, preferred, wish.availability), eligible, preferred, domain
    )


def _in_order(wish: _Wish, who: tuple[str | None, Role], failure: str) -> Plan:
    """Without a thought about the task: as the model list says, without those who may not serve the request."""
    preferred, stages, eligible = _permitted(wish, wish.asked, who)
    strict = [stage._replace(strict=True) for stage in stages]
    eligible = sieve.available(eligible, wish.availability)
    candidates = _sorted([Candidate(d, 0.0, {}) for d in eligible.left], strict, preferred, wish.availability)
    return replace(_plan(wish, UNCLASSIFIED, candidates, eligible, preferred, "reasoning"), failure=failure)


def _permitted(
    wish: _Wish, tier: TaskType | None, who: tuple[str | None, Role]
) -> tuple[str | None, tuple[names.Stage, ...], sieve.Sieve]:
    """The preferred provider, the stages, and who is left of them by the client's words and the accounts' terms."""
    preferred = sieve.known_provider(wish.provider, wish.catalogue)
    stages = names.stages(wish.requested, tier, wish.catalogue, fallback=wish.fallback)
    eligible = sieve.of_catalogue((d for stage in stages for d in stage.deployments), wish.requested)
    automatic = names.is_automatic(wish.requested, wish.catalogue)
    named = () if automatic else tuple(d.id for d in stages[0].deployments)
    eligible = sieve.permitted(eligible, wish.requested, named, *who)
    if preferred and not wish.fallback:
        eligible = sieve.only_provider(eligible, preferred, wish.requested)
    return preferred, stages, eligible


def _plan(
    wish: _Wish,
    classification: Classification,
    ranked: tuple[Candidate, ...],
    eligible: sieve.Sieve,
    preferred: str | None,
    domain: Domain,
) -> Plan:
    kept, rest = (ranked, ()) if wish.fallback else (ranked[:1], ranked[1:])
    dropped = tuple(Exclusion(c.deployment, "fallback is off: only the best is kept") for c in rest)
    why = reason(wish.requested, classification, ranked, preferred, wish.availability, wish.catalogue)
    return Plan(classification, kept, why, eligible.excluded + dropped, domain)


def _plentiful(catalogue: Catalogue, availability: Mapping[str, Availability]) -> bool:
    """Whether the strong tier's quota isn't scarce: half of it is left on average, over all enabled models."""
    strong = [availability.get(d.id, FREE) for d in catalogue.deployments if d.enabled and d.tier == "powerful"]
    left = [0.0 if known.blocked else headroom(known) for known in strong]
    return not left or sum(left) >= PLENTIFUL * len(left)


def _known(deployment: Deployment, domain: Domain, scores: Scores | None) -> Score | None:
    model = scores.model_of(deployment) if scores is not None else None
    return scores.score(model, domain) if scores is not None and model is not None else None


def _sorted(
    candidates: Sequence[Candidate],
    stages: Sequence[names.Stage],
    preferred: str | None,
    availability: Mapping[str, Availability],
) -> tuple[Candidate, ...]:
    """By: free (or how soon), preferred provider, stage, score, priority, the file's order."""
    place = {d.id: (number, stage.strict) for number, stage in enumerate(stages) for d in stage.deployments}

    def key(candidate: Candidate) -> tuple[float, bool, int, float, int]:
        deployment = candidate.deployment
        stage, strict = place[deployment.id]
        order = 0.0 if strict else -candidate.score
        wait = _wait(deployment, availability)
        return wait, deployment.provider != preferred, stage, order, deployment.priority

    ranked = (c._replace(rank=(c.deployment.provider != preferred, place[c.deployment.id][0])) for c in candidates)
    return tuple(sorted(ranked, key=key))


def _wait(deployment: Deployment, availability: Mapping[str, Availability]) -> float:
    """Seconds until a blocked deployment is free again, 0 for a free one, infinite when nobody knows."""
    if not sieve.is_blocked(deployment, availability):
        return 0.0
    until = availability[deployment.id].until
    return math.inf if until is None or math.isnan(until) else max(0.0, until)
