"""Why a model was chosen, or would be: for requests that are only imagined, and for those on record."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lumni.catalogue.model import Deployment
from lumni.errors import InvalidRequest, NotFound
from lumni.gateway.planning import Planner
from lumni.intelligence import Decision, Stock, WhatIf, archive
from lumni.intelligence.rank import scaled
from lumni.quota.strategies import scarcity
from lumni.types import ChatRequest, Json, Lane, Principal, RequestRecord, TaskType

LEVELS: Mapping[str, float] = {"empty": 0.0, "full": 1.0}


async def explain(
    planner: Planner,
    request: ChatRequest,
    principal: Principal,
    what_if: WhatIf | None = None,
    lane_of: Callable[[ChatRequest, Deployment], Lane] | None = None,
) -> Json:
    """What would happen to a request now. Nothing is counted and nobody is called. Raises :class:`LumniError`.

    ``lane_of`` says who would carry it; without it nobody knows.
    """
    plan = await planner.plan(request, principal, dry=True)
    lane = lane_of(request, plan.winner) if lane_of else None
    return {"object": "lumni.explanation", "reason": plan.reason, "lane": lane, **_told(Decision.of(plan), what_if)}


def why(record: RequestRecord, what_if: WhatIf | None = None) -> Json:
    """What led to the choice for a request on record, and who answered it. Raises :class:`NotFound`."""
    if record.decision is None:
        raise NotFound("Nothing was chosen for this request: it ended before, or was recorded by an older version.")
    return {
        "object": "lumni.explanation",
        "request_id": record.request_id,
        "created_at": record.created_at.isoformat(),
        "outcome": str(record.outcome),
        "deployment": record.deployment,
        "attempts": [attempt.public() for attempt in record.attempts],
        "reason": record.reason,
        **_told(archive.load(record.decision), what_if),
    }


def may_see(record: RequestRecord, principal: Principal) -> bool:
    """One's own requests, and an administrator all."""
    own = record.student == principal.student if principal.student else record.key_id == principal.key_id
    return principal.role == "admin" or own


def suppose(
    *,
    weights: Mapping[str, float] | None = None,
    without: Iterable[str] = (),
    quota: Mapping[str, str | float] | None = None,
    task_type: TaskType | None = None,
) -> WhatIf | None:
    """A supposition; ``None`` if nothing is supposed.

    ``weights`` are relative: what is left out weighs nothing, and they are scaled to sum to 1. Their names may be those
    of config.json. ``quota`` is ``empty``, ``full`` or the share that is left, by provider, model, deployment or ``*``;
    its shadow price is taken at the beginning of the window. Raises :class:`InvalidRequest`.
    """
    names = frozenset(without)
    if not (weights or names or quota or task_type):
        return None
    stocks = {name: _stock(level) for name, level in (quota or {}).items()}
    return WhatIf(scaled(weights) if weights else None, names, stocks, task_type)


def asked(body: Mapping[str, Any]) -> WhatIf | None:
    """The supposition in a request's ``what_if``, once its shape is known to be right."""
    quota = body.get("quota")
    levels = quota if quota is None or isinstance(quota, Mapping) else {"*": quota}
    return suppose(
        weights=body.get("weights"), without=body.get("without") or (), quota=levels, task_type=body.get("task_type")
    )


def written(quota: Sequence[str], weights: Sequence[str]) -> tuple[dict[str, str | float], dict[str, float]]:
    """``quota`` and ``weights`` of :func:`suppose` from words: ``empty``, ``groq=0.5``; ``cost_efficiency=1``.

    Raises :class:`InvalidRequest`.
    """
    levels, shares = {}, {}
    for word in quota:
        name, _, level = word.rpartition("=")
        levels[name or "*"] = level if level in LEVELS else _number(level, "quota")
    for word in weights:
        name, _, share = word.rpartition("=")
        shares[name] = _number(share, "weights")
    return levels, shares


def _told(decision: Decision, what_if: WhatIf | None) -> Json:
    shown = decision.public()
    if what_if is None:
        return {**shown, "what_if": None}
    supposed = decision.suppose(what_if).public()
    return {**shown, "what_if": {"changed": supposed["winner"] != shown["winner"], **supposed}}


def _stock(level: str | float) -> Stock:
    share = LEVELS.get(level, -1.0) if isinstance(level, str) else level
    if not 0 <= share <= 1:
        raise InvalidRequest("quota is `empty`, `full`, or the share that is left, from 0 to 1.", param="quota")
    return Stock(share, scarcity(1 - share))


def _number(text: str, param: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidRequest(f"{text[:80]!r} is no number.", param=param) from None
