"""What the quota knows, brought to what intelligence thinks: from a request to its plan."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from lumni import intelligence
from lumni.catalogue.model import Catalogue
from lumni.catalogue.scores import Scores
from lumni.classroom import Rules
from lumni.gateway.ordering import relieve, reorder
from lumni.intelligence import Availability, Classifying, Plan
from lumni.quota.estimate import size_of
from lumni.quota.inference import AT_ONCE
from lumni.quota.model import Amounts, WindowState
from lumni.quota.service import Quota, Standing, describe
from lumni.quota.strategies import headroom, shadow_price
from lumni.settings import Settings
from lumni.types import ChatRequest, Json, Principal, RoutingStrategy

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
        self._switches = switches or Switches()
        self._rules_of = rules_of

    async def plan(self, request: ChatRequest, principal: Principal, *, dry: bool = False) -> Plan:
        """The plan of a request; ``dry`` leaves no trace of it. Raises :class:`LumniError`."""
        standings = await self._quota.standings()
        rules = self._rules_of(principal.course)
        plan = intelligence.plan(
            requested=request.model,
            body=request.body,
            hint=request.task_type,
            provider=request.provider,
            fallback=request.fallback,
            catalogue=self._catalogue,
            availability=self._availability(request.body, standings),
            person=principal.student or (request.label if principal.role == "admin" else None),
            role=principal.role,
            allowlists=principal.allowlists,
            scores=self._scores,
            weights=self._weights(rules),
            classifying=self._switches.classifying,
            calibration=rules.calibration if rules else None,
            order=partial(self._order, request.strategy or self._switches.strategy, standings, dry),
        )
        if not dry:
            self._report(plan)
            self._quota.traffic.asked(self._quota.clock())
        return plan

    def _weights(self, rules: Rules | None) -> Mapping[str, float] | None:
        """The course's own weights of the score's parts, else everybody's; a course can't switch selection on."""
        own = rules.course.selection_weights if rules else None
        return own if own and self._switches.weights is not None else self._switches.weights

    def _order(self, strategy: RoutingStrategy, standings: Mapping[str, Standing], dry: bool, plan: Plan) -> Plan:
        if strategy == "auto":
            return relieve(plan, self._quota, standings)
        return reorder(plan, strategy, self._quota, standings, dry=dry)

    def _report(self, plan: Plan) -> None:
        for what, error in plan.faults.items():
            self.faults[what] += 1
            logger.error("%s failed; the model list's order serves this request", what, exc_info=error)

    def _availability(self, body: Json, standings: Mapping[str, Standing]) -> "_Availability":
        size, most, choices = size_of(body), asked_tokens(body), body.get("n") or 1
        quota, now = self._quota, self._quota.clock()

        def look(id_: str) -> Availability:
            need = quota.estimator.estimate(
                self._catalogue.by_id[id_].model,
                size,
                max_tokens=most,
                choices=choices,
                counts_max_tokens=quota.pools.counts_max_tokens(id_),
            )
            return availability(standings[id_], need, quota.traffic.calls(id_, now))

        return _Availability(standings, look)


class _Availability(Mapping[str, Availability]):
    """How each deployment stands, found out for those that somebody asks for: most requests are for a few of them."""

    def __init__(self, standings: Mapping[str, Standing], look: Callable[[str], Availability]) -> None:
        self._standings = standings
        self._look = look
        self._found: dict[str, Availability] = {}

    def __getitem__(self, id_: str) -> Availability:
        if id_ not in self._found:
            if id_ not in self._standings:
                raise KeyError(id_)
            self._found[id_] = self._look(id_)
        return self._found[id_]

    def __iter__(self) -> Iterator[str]:
        return iter(self._standings)

    def __len__(self) -> int:
        return len(self._standings)


def asked_tokens(body: Json) -> int | None:
    """The most tokens of output that the client wants."""
    return body.get("max_completion_tokens") or body.get("max_tokens")


def availability(standing: Standing, need: Amounts, calls: float) -> Availability:
    """How a deployment stands for a request that needs so much of its quota; ``calls`` are those of late."""
    clocked = [window for window in standing.windows if window.limit is not None and window.period != AT_ONCE]
    too_small = next((window for window in clocked if _amount(window) < need.of(window.kind)), None)
    return Availability(
        headroom=0.0 if standing.blocked else headroom(clocked, need),
        blocked=standing.blocked,
        until=standing.until,
        price=_price(clocked, need),
        calls=calls,
        unfit="" if too_small is None else _unfit(too_small, need),
        room=not standing.blocked and all(_has_room(window, need) for window in standing.windows),
    )


def _price(windows: Sequence[WindowState], need: Amounts) -> float | None:
    if any(window.blocked_in > 0 for window in windows):
        return 1.0
    return shadow_price([_running(window) for window in windows], need) if windows else None


def _running(window: WindowState) -> WindowState:
    """A window with calls in flight isn't new before they are over, and a whole period more."""
    in_flight = window.reserved > 0 and window.reset_in <= 0
    return replace(window, reset_in=window.period) if in_flight else window


def _amount(window: WindowState) -> int:
    return window.limit or 0


def _has_room(window: WindowState, need: Amounts) -> bool:
    return window.left is None or window.left >= need.of(window.kind)


def _unfit(window: WindowState, need: Amounts) -> str:
    kind = window.kind.replace("_", " ")
    return f"its quota is {describe(window)}, this request needs about {need.of(window.kind):,} {kind} at once"
