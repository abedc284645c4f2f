"""Who may serve requests of one kind, and how well suited they are, as far as no quota and no moment changes it."""

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lumni.catalogue.model import Catalogue, Deployment
from lumni.catalogue.scores import Domain, Score, Scores
from lumni.intelligence import names, sieve
from lumni.intelligence.model import Availability, Candidate, Facts, Rank, Task
from lumni.intelligence.needs import Needs
from lumni.intelligence.rank import facts_of, is_saved, rate_limit_availability, recent_usage, values_of, with_quota
from lumni.types import Role, TaskType


class Question(NamedTuple):
    """What is asked for, by whom, and for what: all that a slate depends on besides the catalogue and the scores.

    ``tier`` is the task's. Not ``by_score``, the model list's own order decides. ``person`` is whoever owns a personal
    account, ``None`` for all others. ``abilities`` are the request's needs without its sizes. Without them, and without
    a ``domain``, nothing is known of the task.
    """

    requested: str
    tier: TaskType | None
    by_score: bool
    provider: str | None
    fallback: bool
    person: str | None
    role: Role
    allowlists: tuple[tuple[str, ...], ...]
    domain: Domain | None = None
    abilities: Needs | None = None


class Prospect(NamedTuple):
    """A deployment that may serve. ``facts`` and ``rank`` lack what the quota says.

    ``served`` are the values of its parts, ``saved`` those while its quota is kept for tasks that gain more; the two
    parts that the quota moves don't count in either.
    """

    deployment: Deployment
    benchmark: Score | None
    facts: Facts
    rank: Rank
    strict: bool
    place: int
    served: tuple[float, ...]
    saved: tuple[float, ...]

    def candidate(self, known: Availability, task: Task, weights: Mapping[str, float] | None) -> Candidate:
        """It as it stands now."""
        facts = with_quota(self.facts, known)
        rank = self.rank._replace(wait=_wait(known)) if known.blocked else self.rank
        parts = {} if weights is None else self._parts(facts, task, weights)
        score = sum(parts.values())
        return Candidate(
            self.deployment, score, parts, facts, self.benchmark, rank, self.strict, self.place, known.room
        )

    def _parts(self, facts: Facts, task: Task, weights: Mapping[str, float]) -> dict[str, float]:
        """As ``rank.parts_of`` has them, which asks again for what is known here."""
        ranking, strength, _, priority, _, cost = self.saved if is_saved(facts, task) else self.served
        return {
            "benchmark_ranking": weights["benchmark_ranking"] * ranking,
            "benchmark_score": weights["benchmark_score"] * strength,
            "rate_limit_availability": weights["rate_limit_availability"] * rate_limit_availability(facts, task),
            "provider_priority": weights["provider_priority"] * priority,
            "recent_usage": weights["recent_usage"] * recent_usage(facts, task),
            "cost_efficiency": weights["cost_efficiency"] * cost,
        }


@dataclass(frozen=True, slots=True)
class Slate:
    """``who`` is left, and why the others are not. ``prospects`` are those who are left, by id.

    ``window`` and ``output`` are the smallest context window and the smallest longest answer among them, in tokens.
    ``preferred`` is the catalogue's spelling of the provider. ``automatic`` and ``named`` are as in a plan.
    """

    who: sieve.Sieve
    prospects: Mapping[str, Prospect]
    window: float
    output: float
    preferred: str | None
    automatic: bool
    named: bool

    def fitting(self, needs: Needs) -> sieve.Sieve:
        """Without those for which the request is too long, most requests being too long for nobody."""
        if needs.window <= self.window and (needs.max_output or 0) <= self.output:
            return self.who
        return sieve.fitting(self.who, needs)


def slate_of(question: Question, catalogue: Catalogue, scores: Scores | None) -> Slate:
    """Raises :class:`LumniError` as ``plan`` does, but for sizes."""
    requested = question.requested
    stages = names.stages(requested, question.tier, catalogue, fallback=question.fallback, by_score=question.by_score)
    automatic = names.is_automatic(requested, catalogue)
    who = _permitted(question, stages, catalogue, () if automatic else tuple(d.id for d in stages[0].deployments))
    preferred = sieve.known_provider(question.provider, catalogue)
    if preferred and not question.fallback:
        who = sieve.only_provider(who, preferred, requested)
    if question.abilities is not None:
        who = sieve.fitting(who, question.abilities)
    stage_of = {d.id: (number, stage.strict) for number, stage in enumerate(stages) for d in stage.deployments}
    place_of = {d.id: place for place, d in enumerate(catalogue.deployments)}

    def prospect(deployment: Deployment) -> Prospect:
        stage, strict = stage_of[deployment.id]
        benchmark = _known(deployment, question.domain, scores)
        facts = facts_of(deployment, benchmark)
        misfit = automatic and question.tier not in (None, deployment.tier)
        rank = Rank(unpreferred=deployment.provider != preferred, stage=stage, misfit=misfit)
        served = values_of(facts, Task(question.tier, gain=1.0))
        saved = values_of(facts._replace(price=1.0), Task(question.tier, gain=0.0))
        return Prospect(deployment, benchmark, facts, rank, strict, place_of[deployment.id], served, saved)

    can = [d.capabilities for d in who.left]
    return Slate(
        who=who,
        prospects={d.id: prospect(d) for d in who.left},
        window=min((one.context_window for one in can if one.context_window is not None), default=math.inf),
        output=min((one.max_output for one in can if one.max_output is not None), default=math.inf),
        preferred=preferred,
        automatic=automatic,
        named=names.tier_of(requested, catalogue) is not None,
    )


def _permitted(
    question: Question, stages: Sequence[names.Stage], catalogue: Catalogue, named: Container[str]
) -> sieve.Sieve:
    """Who may be asked at all, whatever the request needs. ``named`` are those whose name was asked for."""
    found = sieve.of_catalogue((d for stage in stages for d in stage.deployments), question.requested)
    found = sieve.listed(found, question.requested, named, question.allowlists, catalogue)
    return sieve.permitted(found, question.requested, named, question.person, question.role)


def _known(deployment: Deployment, domain: Domain | None, scores: Scores | None) -> Score | None:
    if scores is None or domain is None:
        return None
    model = scores.model_of(deployment)
    return None if model is None else scores.score(model, domain)


def _wait(known: Availability) -> float:
    """Seconds until what is blocked is free again, infinite when nobody knows."""
    return math.inf if known.until is None or math.isnan(known.until) else max(0.0, known.until)
