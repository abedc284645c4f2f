"""``GET /metrics``: for Prometheus as text, for people and programs as JSON."""

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Query, Request, Response

from lumni.api.errors import documented
from lumni.api.quota import store_state
from lumni.api.visit import principal_of, services_of
from lumni.errors import NotFound, PermissionDenied
from lumni.services import Services
from lumni.telemetry import summary
from lumni.telemetry.metrics import CONTENT_TYPE, render, with_process
from lumni.telemetry.recent import LONGEST
from lumni.types import Json

router = APIRouter(tags=["metrics"])
READERS = ("admin", "monitor")

WindowMinutes = Annotated[int | None, Query(ge=1, le=LONGEST, description="How far back; 60 if not given.")]
ProviderName = Annotated[str | None, Query(examples=["groq"], description="Only what this provider did.")]
TEXT = {"text/plain": {"schema": {"type": "string"}}}


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Metrics for Prometheus, or as JSON",
    response_model=dict[str, Any],
    responses={
        200: {"description": "Prometheus' text format, or the JSON summary.", "content": TEXT},
        **documented(400, 401, 403, 404),
    },
)
async def metrics(
    request: Request,
    window_minutes: WindowMinutes = None,
    provider: ProviderName = None,
    format: Literal["json", "text"] | None = None,  # noqa: A002  (the parameter's public name)
) -> Response:
    """Text in Prometheus' format by default.

    JSON with `format=json`, with `Accept: application/json`, or with `window_minutes` or `provider`. Needs the key of
    an admin or a monitor.
    """
    services = _allowed(request)
    wants_json = window_minutes or provider or "application/json" in request.headers.get("accept", "")
    if format == "json" or (format is None and wants_json):
        return _json(await _summary(services, window_minutes, provider))
    families = await services.gauges.families()
    return Response(render(with_process(families)), media_type=CONTENT_TYPE)


@router.get(
    "/v1/metrics/summary",
    operation_id="metricsSummary",
    summary="Metrics as JSON",
    responses=documented(400, 401, 403, 404),
)
async def metrics_summary(
    request: Request, window_minutes: WindowMinutes = None, provider: ProviderName = None
) -> dict[str, Any]:
    """Throughput, percentiles, errors by type, cache, tokens and cost of the last minutes, in all and by provider."""
    return await _summary(_allowed(request), window_minutes, provider)


def _allowed(request: Request) -> Services:
    principal = principal_of(request)
    if principal.role not in READERS:
        raise PermissionDenied("Metrics are shown to admins and monitors only.")
    return services_of(request)


async def _summary(services: Services, minutes: int | None, provider: str | None) -> Json:
    if provider and provider not in {deployment.provider for deployment in services.catalogue.deployments}:
        raise NotFound("There is no provider of that name here. GET /v1/providers lists them.", param="provider")
    minutes = minutes or 60
    window = services.recent.window(minutes)
    return {
        "object": "metrics",
        "window_minutes": minutes,
        **summary.summary(window, provider),
        "queue": {"waiting": store_state(services)["waiting"]},
        "resources": {**summary.resources(), "unwritten_records": services.writer.pending},
    }


def _json(content: Json) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")
