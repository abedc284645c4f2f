"""A plan as it can be kept, shown and asked "what if": everything that decided, and nothing of what was asked."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from lumni.intelligence.model import Candidate, Exclusion, Facts, Plan, Rank, Task
from lumni.intelligence.rank import GAIN, PARTS, parts_of
from lumni.types import Json, TaskType

FALLBACK_OFF = "fallback is off: only the best is kept"


class Option(NamedTuple):
    """A candidate without its deployment's secrets. ``benchmark`` says where the value in ``facts`` is from."""

    deployment: str
    provider: str
    model: str
    facts: Facts
    rank: Rank
    strict: bool
    place: int
    room: bool
    benchmark: Mapping[str, str] | None = None

    @classmethod
    def of(cls, candidate: Candidate) -> "Option":
        chosen, _, _, facts, known, rank, strict, place, room = candidate
        benchmark = None if known is None else known.provenance
        return cls(chosen.id, chosen.provider, chosen.model, facts, rank, strict, place, room, benchmark)


class Out(NamedTuple):
    """A deployment that couldn't serve the request, and why."""

    deployment: str
    provider: str
    model: str
    reason: str

    @classmethod
    def of(cls, exclusion: Exclusion) -> "Out":
        deployment = exclusion.deployment
        return cls(deployment.id, deployment.provider, deployment.model, exclusion.reason)


class Stock(NamedTuple):
    """A supposed quota: the share that is left, and its shadow price."""

    headroom: float
    price: float


class WhatIf(NamedTuple):
    """Suppositions. ``without`` names providers, deployments or models; ``quota`` is by the same names, ``*`` for all.

    ``weights`` are those of all parts; ``None`` leaves things as they are, here and for ``task_type``.
    """

    weights: Mapping[str, float] | None = None
    without: frozenset[str] = frozenset()
    quota: Mapping[str, Stock] = {}
    task_type: TaskType | None = None


@dataclass(slots=True)
class Decision:
    """``options`` in the order in which they are tried, of which the first ``kept`` are (``None``: all)."""

    requested: str
    automatic: bool
    named: bool
    reason: str
    domain: str
    classification: Json | None
    task: Task
    weights: Mapping[str, float] | None
    strategy: str
    options: tuple[Option, ...]
    excluded: tuple[Out, ...]
    kept: int | None
    faults: tuple[str, ...]

    @classmethod
    def of(cls, plan: Plan) -> "Decision":
        spare = [out.candidate for out in plan.excluded if out.candidate]
        return cls(
            requested=plan.requested,
            automatic=plan.automatic,
            named=plan.named,
            reason=plan.reason,
            domain=plan.domain,
            classification=plan.classification.archived if plan.classified else None,
            task=plan.task,
            weights=plan.weights,
            strategy=plan.strategy,
            options=tuple(map(Option.of, (*plan.candidates, *spare))),
            excluded=tuple([Out.of(out) for out in plan.excluded if not out.candidate]),
            kept=len(plan.candidates) if spare else None,
            faults=tuple(plan.faults),
        )

    @property
    def winner(self) -> Option | None:
        """Who is called now: the first whose quota has room; if none has, the first, which is waited for."""
        kept = self.options[: self.kept]
        return next((option for option in kept if option.room), kept[0] if kept else None)

    def suppose(self, what_if: WhatIf) -> "Decision":
        """The decision as it would have been."""
        options = [_stocked(option, what_if.quota) for option in self.options]
        left = [option for option in options if what_if.without.isdisjoint(_names(option))]
        gone = tuple(Out(*option[:3], "you asked for a choice without it") for option in options if option not in left)
        task = self.task
        if what_if.task_type and not self.named:
            task = Task(what_if.task_type, GAIN[what_if.task_type])
        supposed = replace(self, task=task, weights=what_if.weights or self.weights, excluded=self.excluded + gone)
        ordered = tuple(option for _, option in sorted(enumerate(left), key=lambda item: supposed.key(*item)))
        return replace(supposed, options=ordered)

    def parts(self, option: Option) -> dict[str, float]:
        """The weighted parts of an option's score; none where the model list's order decides."""
        return {} if self.weights is None else parts_of(option.facts, self.task, self.weights)

    def key(self, place: int, option: Option) -> tuple[float | bool, ...]:
        """The sort key of an option that stood at ``place``, as :func:`lumni.intelligence.plan.precedence` has it.

        A strategy's order is kept, whatever is supposed.
        """
        rank, stage, strict = option.rank, option.rank.stage, option.strict
        misfit = self.task.tier not in (None, option.facts.tier)
        if self.automatic:
            strict = self.weights is None
            if not self.named:
                stage = int(strict and misfit)
        if self.strategy != "auto":
            # Where only the best was kept, the strategy had nothing to order.
            return rank.wait, rank.unpreferred, stage, self.automatic and self.kept is None and misfit, place
        score = 0.0 if strict else -sum(self.parts(option).values())
        return rank.wait, rank.unpreferred, stage, score, option.facts.priority, option.place

    def public(self) -> Json:
        """What is shown: every candidate with its weighted parts, and every exclusion with its reason."""
        winner = self.winner
        spare = [] if self.kept is None else self.options[self.kept :]
        excluded = [*self.excluded, *(Out(*option[:3], FALLBACK_OFF) for option in spare)]
        return {
            "winner": winner and {"deployment": winner.deployment, "provider": winner.provider, "model": winner.model},
            "requested": self.requested,
            "classification": self.classification,
            "task_type": self.task.tier,
            "gain": round(self.task.gain, 4),
            "domain": self.domain,
            "strategy": self.strategy,
            "weights": None if self.weights is None else dict(self.weights),
            "candidates": [self._shown(option) for option in self.options[: self.kept]],
            "excluded": [out._asdict() for out in excluded],
            "faults": list(self.faults),
        }

    def _shown(self, option: Option) -> Json:
        facts, parts = option.facts, self.parts(option)
        values = {part.__name__: part(facts, self.task) for part in PARTS}
        return {
            "deployment": option.deployment,
            "provider": option.provider,
            "model": option.model,
            "tier": facts.tier,
            "score": round(sum(parts.values()), 6),
            "parts": {
                name: {
                    "value": round(values[name], 6),
                    "weight": (self.weights or {})[name],
                    "points": round(points, 6),
                }
                for name, points in parts.items()
            },
            "benchmark": option.benchmark and {**option.benchmark, "value": facts.benchmark},
            "headroom": round(facts.headroom, 4),
            "shadow_price": None if facts.price is None else round(facts.price, 4),
            "room": option.room,
        }


def _names(option: Option) -> frozenset[str]:
    """What an option may be called by, in a supposition."""
    model_id = option.model.partition("/")[2] or option.model
    return frozenset({option.deployment, option.provider, option.model, model_id})


def _stocked(option: Option, quota: Mapping[str, Stock]) -> Option:
    """With the supposed quota of the narrowest name that means it: its id, then its model, its provider, all."""
    model_id = option.model.partition("/")[2] or option.model
    for name in (option.deployment, option.model, model_id, option.provider, "*"):
        if (stock := quota.get(name)) is not None:
            facts = option.facts._replace(headroom=stock.headroom, price=stock.price)
            return option._replace(facts=facts, room=stock.headroom > 0)
    return option
