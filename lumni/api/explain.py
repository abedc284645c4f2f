"""``POST /v1/explain`` and ``GET /v1/requests/{id}/why``: what would be chosen, what was, and what if."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from lumni.api import wire
from lumni.api.documents import Explanation, explain_body
from lumni.api.errors import documented
from lumni.api.schemas import ExplainRequest
from lumni.api.visit import Here, principal_of, services_of
from lumni.errors import NotFound
from lumni.gateway import explaining, timetable
from lumni.types import TaskType

router = APIRouter(tags=["why"])

_QUOTA = r"^([^=]{1,200}=)?(empty|full|0|0\.[0-9]{1,6}|1)$"
_WEIGHT = (
    r"^(benchmark_ranking|benchmark_score|rate_limit_availability|provider_priority|recent_usage|cost_efficiency)"
    r"=[1-9][0-9]{0,2}(\.[0-9]{1,6})?$"
)
STORED_WITHIN = 5.0  # seconds to wait for the records of answers that were just given

Level = Annotated[str, Query(pattern=_QUOTA)]
Weight = Annotated[str, Query(pattern=_WEIGHT)]


@router.post(
    "/v1/explain",
    response_model=Explanation,
    responses=documented(400, 401, 403, 404, 413, 503),
    openapi_extra=explain_body(),
    operation_id="explain",
    summary="What would be chosen, and why",
)
async def explain(visit: Here) -> Any:
    """A dry run of a chat body: every candidate with its weighted parts, every exclusion with its reason.

    Nothing is counted and no model is called. `what_if` shows the new winner beside the real one: other `weights`
    (relative), `without` some providers, models or deployments, another `quota`, another `task_type`.
    """
    services, principal = visit.services, visit.caller
    wire.check_encoding(visit.headers)
    body = wire.parse(await visit.body())
    wire.validate(body, ExplainRequest)
    what_if = explaining.asked(body.get("what_if") or {})
    chat = wire.chat_request(body, visit.headers, services.settings, wire.envelope_of(visit, "explain"))
    chat, principal = timetable.apply(chat, principal, services.pipeline.budgets.rules_of(principal.course))
    chat = await services.preparation.prepare(chat, principal)
    return await explaining.explain(services.planner, chat, principal, what_if, services.upstream.lane)


@router.get(
    "/v1/requests/{request_id}/why",
    response_model=Explanation,
    responses=documented(400, 401, 404),
    operation_id="whyRequest",
    summary="Why this model was chosen",
)
async def why(
    request: Request,
    request_id: Annotated[str, Path(description="The answer's `x-lumni-request-id`.")],
    without: Annotated[list[str] | None, Query(description="Providers, models or deployments.")] = None,
    quota: Annotated[list[Level] | None, Query(description="`empty`, `0.2`, or `groq=empty`.")] = None,
    weights: Annotated[list[Weight] | None, Query(description="`cost_efficiency=1`; relative.")] = None,
    task_type: Annotated[TaskType | None, Query(description="Had the task been of this kind.")] = None,
) -> Any:
    """The recorded decision of one of your requests, and what it would have been had things been otherwise."""
    services = services_of(request)
    principal = principal_of(request)
    levels, shares = explaining.written(quota or (), weights or ())
    what_if = explaining.suppose(weights=shares, without=without or (), quota=levels, task_type=task_type)
    await services.writer.caught_up(STORED_WITHIN)
    record = await services.database.records.get(request_id)
    if record is None or not explaining.may_see(record, principal):
        raise NotFound("There is no such request of yours. Its id is in the answer's header x-lumni-request-id.")
    return explaining.why(record, what_if)
