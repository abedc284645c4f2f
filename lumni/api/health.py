"""``GET /health``: alive, and to those with a key how it is doing; ``/v1/health`` tells all of it."""

import asyncio
import time
from collections import Counter
from typing import Any

from fastapi import APIRouter, Request, Response

from lumni import __version__
from lumni.api.errors import documented
from lumni.api.quota import deployment_status, provider_states, store_state
from lumni.api.visit import services_of, visit_of
from lumni.services import Services
from lumni.storage.errors import StorageError
from lumni.types import Json

router = APIRouter(tags=["health"])
DATABASE_SECONDS = 5.0
_BREAKER = ("deployment", "state", "reason", "since", "retry_in", "last_error", "last_error_at")


@router.get("/health", responses=documented(), operation_id="health", summary="Alive")
async def health(request: Request) -> dict[str, Any]:
    """Exactly `{"status": "ok"}` for anyone; with a valid key the state of every deployment too."""
    if visit_of(request).principal is None:
        return {"status": "ok"}
    services = services_of(request)
    return {
        "status": "ok",
        "version": __version__,
        "started_at": services.started_at,
        "quota": store_state(services),
        "deployments": await _deployments(services),
    }


@router.get("/v1/health", responses=documented(401), operation_id="healthReport", summary="How everything is doing")
async def report(request: Request) -> dict[str, Any]:
    """Database, Redis, the queue, providers and breakers that aren't closed.

    `status` is `ok`; `degraded` when the database or Redis is out of reach, the spool can't be written, or no provider
    can be called, though requests may still be served; the answer is a 200 in both cases.
    """
    services = services_of(request)
    database, quota = await _database(services), store_state(services)
    providers = provider_states(services, await services.quota.standings())
    redis = {"state": "not configured"}
    if services.settings.redis_url is not None:
        redis = {"state": "up" if quota["mode"] == "shared" else "down"}
    usable = any(provider["state"] in ("available", "exhausted") for provider in providers)
    spool = _spool(services)
    well = database["state"] == "up" and redis["state"] != "down" and usable and spool["state"] == "up"
    views = [services.quota.breakers.view(deployment.id) for deployment in services.catalogue.enabled]
    return {
        "status": "ok" if well else "degraded",
        "version": __version__,
        "started_at": services.started_at,
        "database": database,
        "spool": spool,
        "redis": redis,
        "quota": quota,
        "queue": {"waiting": quota["waiting"]},
        "providers": [_in_short(provider) for provider in providers],
        "breakers": [{name: view[name] for name in _BREAKER} for view in views if view["state"] != "closed"],
    }


@router.get(
    "/health/ready",
    summary="Ready",
    operation_id="ready",
    responses={**documented(), 503: {"description": "A store that is needed is down.", "model": dict[str, str]}},
)
async def ready(request: Request, response: Response) -> dict[str, Any]:
    """200 when the database answers and limits are known.

    Providers don't count: one dead provider is what a gateway is for.
    """
    services = services_of(request)
    try:
        await services.database.ping()
    except StorageError:
        response.status_code = 503
        return {"status": "unavailable", "database": "down"}
    if services.quota.stranded:
        response.status_code = 503
        return {"status": "unavailable", "database": "up", "redis": "never reached"}
    return {"status": "ready", "database": "up"}


async def _deployments(services: Services) -> list[Json]:
    standings = await services.quota.standings()
    return [
        {"provider": d.provider, **deployment_status(services, d, standings.get(d.id))}
        for d in services.catalogue.deployments
    ]


async def _database(services: Services) -> Json:
    """Whether it answers, and the records that wait to be written."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            await services.database.ping()
    except (StorageError, TimeoutError):
        state: Json = {"state": "down"}
    else:
        state = {"state": "up", "latency_ms": round((time.perf_counter() - began) * 1000, 2)}
    kind = services.database.engine.dialect.name
    return {
        **state,
        "kind": kind,
        "unwritten_records": services.writer.pending,
        "lost_records": services.writer.dropped,
    }


def _spool(services: Services) -> Json:
    """Whether records outlive this process at once, and how many would not."""
    writer = services.writer
    state: Json = {"state": "failing", "reason": writer.fault} if writer.fault else {"state": "up"}
    return {**state, "records_in_memory": writer.in_memory}


def _in_short(provider: Json) -> Json:
    counts = Counter(entry["state"] for entry in provider["deployments"])
    return {**provider, "deployments": dict(counts)}
