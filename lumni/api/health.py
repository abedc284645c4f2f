"""``GET /health``: alive, and to those with a key how it is doing."""

from typing import Any

from fastapi import APIRouter, Request, Response

from lumni import __version__
from lumni.api.errors import documented
from lumni.api.quota import deployment_status, store_state
from lumni.services import Services
from lumni.storage.errors import StorageError
from lumni.types import Json

router = APIRouter(tags=["health"])


@router.get("/health", responses=documented(), operation_id="health", summary="Alive")
async def health(request: Request) -> dict[str, Any]:
    """Exactly `{"status": "ok"}` for anyone; with a valid key the state of every deployment too."""
    if request.scope["lumni.principal"] is None:
        return {"status": "ok"}
    services: Services = request.app.state.services
    return {
        "status": "ok",
        "version": __version__,
        "started_at": services.started_at,
        "quota": store_state(services),
        "deployments": await _deployments(services),
    }


@router.get(
    "/health/ready",
    summary="Ready",
    operation_id="ready",
    responses={**documented(), 503: {"description": "A store that is needed is down.", "model": dict[str, str]}},
)
async def ready(request: Request, response: Response) -> dict[str, Any]:
    """200 when the database answers. Providers don't count: one dead provider is what a gateway is for."""
    services: Services = request.app.state.services
    try:
        await services.database.ping()
    except StorageError:
        response.status_code = 503
        return {"status": "unavailable", "database": "down"}
    return {"status": "ready", "database": "up"}


async def _deployments(services: Services) -> list[Json]:
    standings = await services.quota.standings()
    return [
        {"provider": d.provider, **deployment_status(services, d, standings.get(d.id))}
        for d in services.catalogue.deployments
    ]
