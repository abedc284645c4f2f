"""What the quota knows, brought to what intelligence thinks: from a request to its plan."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from lumni import intelligence
from lumni.catalogue.model import Catalogue
from lumni.catalogue.scores import Scores
from lumni.classroom import Rules
from lumni.gateway.ordering import relieve, reorder
from lumni.gateway.outlook import Outlook
from lumni.intelligence import Availability, Classifying, Memory, Plan
from lumni.quota.estimate import Demand
from lumni.quota.service import Quota
from lumni.quota.standing import Standing, Standings
from lumni.settings import Settings
from lumni.types import ChatRequest, Principal, RoutingStrategy

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Switches:
    """What the operator decided about choosing. ``weights`` are those of the score's parts, ``None``: no selection."""

    strategy: RoutingStrategy = "auto"
    weights: Mapping[str, float] | None = field(default_factory=lambda: intelligence.WEIGHTS)
    classifying: Classifying = "auto"

    @classmethod
    def of(cls, settings: Settings) -> "Switches":
        return cls(
            strategy=settings.routing_strategy,
            weights=settings.selection_weights.model_dump() if settings.benchmark_selection else None,
            classifying=("auto" if settings.auto_detect_tasks else "asked") if settings.classify_tasks else "never",
        )


class Planner:
    """Plans requests over the quota as it stands, and by what a course has set and taught.

    ``faults`` counts what went wrong by ``classification`` and ``selection``: the model list's order served instead.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        quota: Quota,
        scores: Scores | None = None,
        switches: Switches | None = None,
        rules_of: Callable[[str | None], Rules | None] = lambda _: None,
    ) -> None:
        self.faults: Counter[str] = Counter()
        self._catalogue = catalogue
        self._quota = quota
        self._scores = scores
        self.switches = switches or Switches()
        self._rules_of = rules_of
        self._outlooks: dict[str, Outlook] = {}
        self._memory = Memory()

    async def plan(
        self, request: ChatRequest, principal: Principal, demand: Demand | None = None, *, dry: bool = False
    ) -> Plan:
        """The plan of a request; ``dry`` leaves no trace of it. Raises :class:`LumniError`.

        ``demand`` is what the request takes, if that is known already.
        """
        standings, now = await self._quota.standings(), self._quota.clock()
        rules = self._rules_of(principal.course)
        plan = intelligence.plan(
            requested=request.model,
            body=request.body,
            hint=request.task_type,
            provider=request.provider,
            fallback=request.fallback,
            catalogue=self._catalogue,
            availability=_Now(self, standings, demand or self._quota.estimator.demand(request.body), now),
            person=principal.student or (request.label if principal.role == "admin" else None),
            role=principal.role,
            allowlists=principal.allowlists,
            scores=self._scores,
            weights=self._weights(rules),
            classifying=self.switches.classifying,
            calibration=rules.calibration if rules else None,
            order=partial(self._order, request.strategy or self.switches.strategy, standings, dry),
            memory=self._memory,
        )
        if not dry:
            self._report(plan)
            self._quota.traffic.asked(now)
        return plan

    def stands(self, id_: str, standing: Standing, demand: Demand, now: float) -> Availability:
        """How one deployment stands for one request."""
        outlook = self._outlooks.get(id_)
        if outlook is None or outlook.standing is not standing:
            outlook = self._outlooks[id_] = Outlook(standing)
        quota = self._quota
        need = demand.of(self._catalogue.by_id[id_].model, counts_max_tokens=quota.pools.counts_max_tokens(id_))
        return outlook.availability(need, quota.traffic.calls(id_, now))

    def _weights(self, rules: Rules | None) -> Mapping[str, float] | None:
        """The course's own weights of the score's parts, else everybody's; a course can't switch selection on."""
        own = rules.course.selection_weights if rules else None
        return own if own and self.switches.weights is not None else self.switches.weights

    def _order(self, strategy: RoutingStrategy, standings: Standings, dry: bool, plan: Plan) -> Plan:
        if strategy == "auto":
            return relieve(plan, self._quota, standings)
        return reorder(plan, strategy, self._quota, standings, dry=dry)

    def _report(self, plan: Plan) -> None:
        for what, error in plan.faults.items():
            self.faults[what] += 1
            logger.error("%s failed; the model list's order serves this request", what, exc_info=error)


class _Now(NamedTuple):
    """How each deployment stands, found out for those that somebody asks for: most requests are for a few of them."""

    planner: Planner
    standings: Standings
    demand: Demand
    now: float

    def get(self, id_: str, default: Availability) -> Availability:
        standing = self.standings.get(id_)
        return default if standing is None else self.planner.stands(id_, standing, self.demand, self.now)
