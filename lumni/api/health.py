"""``GET /health``: alive, and to those with a key how it is doing."""

from typing import Any

from fastapi import APIRouter, Request, Response

from lumni import __version__
from lumni.api.errors import documented
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
    shown = []
    for deployment in services.catalogue.deployments:
        standing = standings.get(deployment.id)
        state = "disabled" if standing is None else "broken" if standing.blocked else "available"
        if standing and not standing.blocked and standing.headroom <= 0:
            state = "exhausted"
        entry: Json = {"id": deployment.id, "provider": deployment.provider, "model": deployment.model, "state": state}
        if standing is None:
            entry["reason"] = deployment.disabled
        elif standing.blocked:
            entry |= {"reason": standing.blocked, "for_seconds": round(standing.until or 0.0, 1)}
        shown.append(entry)
    return shown
