"""What is left of the providers' quota and of one's own, who is out of order, and why."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request

from lumni.api.errors import documented
from lumni.api.people_schemas import Moment
from lumni.api.visit import principal_of, services_of
from lumni.catalogue.model import Deployment
from lumni.errors import NotFound, PermissionDenied
from lumni.gateway.admission import limits_of, person_of
from lumni.quota.model import Correction, WindowState
from lumni.quota.service import describe
from lumni.quota.standing import Standing
from lumni.quota.store import Shared
from lumni.services import Services
from lumni.types import Json

router = APIRouter(tags=["quota"])
ProviderName = Annotated[str, Path(examples=["groq"])]


@router.get("/v1/providers", responses=documented(401), operation_id="listProviders", summary="Providers and quota")
@router.get("/providers", include_in_schema=False)
@router.get("/api/v1/providers/status", include_in_schema=False)
async def providers(request: Request) -> dict[str, Any]:
    """Every provider with its deployments: state, since when (Unix time), last error, and what is left of their quota.

    A provider is as well as the best of its deployments.
    """
    services = services_of(request)
    return {"object": "list", "data": provider_states(services, await services.quota.standings())}


def provider_states(services: Services, standings: Mapping[str, Standing]) -> list[Json]:
    """Every provider: how it stands, and how each of its deployments does."""
    deployments: dict[str, list[Json]] = {}
    for deployment in services.catalogue.deployments:
        entry = deployment_status(services, deployment, standings.get(deployment.id))
        deployments.setdefault(deployment.provider, []).append(entry)
    return [_provider_state(name, entries) for name, entries in deployments.items()]


def _provider_state(name: str, entries: list[Json]) -> Json:
    state = min((entry["state"] for entry in entries), key=_BEST_FIRST.index)
    since = [entry["since"] for entry in entries if entry["state"] == state and "since" in entry]
    failed = [entry for entry in entries if entry.get("last_error_at") is not None]
    last = max(failed, key=lambda entry: float(entry["last_error_at"]), default={})
    return {
        "provider": name,
        "state": state,
        # It is out of order since its last deployment is, and well since its first one is.
        "since": (max if state == "broken" else min)(since, default=None),
        "last_error": last.get("last_error"),
        "last_error_at": last.get("last_error_at"),
        "deployments": entries,
    }


def store_state(services: Services) -> Json:
    """Where quota is counted: in this process, or with others through Redis, and whether that works now."""
    store = services.quota.store
    waiting = {"waiting": services.quota.queue.waiting}
    return {**(store.state if isinstance(store, Shared) else {"mode": "one process"}), **waiting}


_BEST_FIRST = ("available", "exhausted", "broken", "disabled")


def deployment_status(services: Services, deployment: Deployment, standing: Standing | None) -> Json:
    """How a deployment stands. ``standing`` is ``None`` when it is disabled."""
    entry: Json = {"id": deployment.id, "model": deployment.model, "account": deployment.account}
    withheld = services.quota.breakers.withheld(deployment.id)
    if standing is None or withheld:
        return {**entry, "state": "disabled", "reason": withheld or deployment.disabled}
    breaker = services.quota.breakers.view(deployment.id)
    entry |= {
        "state": standing.state,
        "headroom": round(standing.headroom, 4),
        "breaker": breaker["state"],
        "since": standing.since,
        "latency_s": services.quota.traffic.latency(deployment.id),
        "quota": [window(row, services) for row in standing.windows],
    }
    if breaker["last_error"]:
        entry |= {name: breaker[name] for name in ("last_error", "last_error_at")}
    if standing.blocked:
        entry |= {"reason": standing.blocked, "for_seconds": round(standing.until or 0.0, 1)}
    return entry


@router.get(
    "/v1/providers/history",
    responses=documented(400, 401, 403),
    operation_id="listProviderStates",
    summary="How providers stood",
)
async def history(
    request: Request,
    provider: Annotated[str | None, Query(description="Only this provider's deployments.")] = None,
    before: Annotated[Moment | None, Query(description="Only what was noted before.")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> dict[str, Any]:
    """Every deployment's state, every five minutes of the last 31 days, the latest first. Not for students."""
    if principal_of(request).role == "student":
        raise PermissionDenied("This needs the key of a teacher, a monitor or an admin.")
    found = await services_of(request).database.states.list(provider, before, limit)
    return {"object": "list", "data": [asdict(state) for state in found]}


@router.get("/v1/quota", responses=documented(401), operation_id="listQuota", summary="Quota of every pool")
async def quota(request: Request) -> dict[str, Any]:
    """Every window of every pool: used, reserved, left, when it resets, and where the limit comes from.

    Also who waits in this process, the next first; students see only themselves.
    """
    services, principal = services_of(request), principal_of(request)
    rows = await services.quota.rows()
    everybody, me = principal.role in ("admin", "teacher"), person_of(principal, None)
    return {
        "object": "list",
        "data": [window(row, services) for row in rows],
        "store": store_state(services),
        "waiting": services.quota.queue.waiting,
        "queue": [
            {"position": position, "student": one.student, "waited_s": round(one.waited, 1)}
            for position, one in enumerate(services.quota.queue.line(), 1)
            if everybody or one.student == me
        ],
    }


def window(row: WindowState, services: Services) -> Json:
    """One row of the quota table. Times are in seconds."""
    return {
        "pool": row.pool,
        "window": describe(row),
        "kind": row.kind,
        "period": row.period,
        "limit": row.limit,
        "used": row.used,
        "reserved": row.reserved,
        "left": row.left,
        "reset_in": round(row.reset_in, 1),
        "blocked_in": round(row.blocked_in, 1),
        "provenance": row.provenance,
        "source": services.quota.pools.source(row.pool, row.window) if row.provenance != "learned" else "the provider",
    }


@router.get(
    "/v1/rate-limit/{user}",
    responses=documented(401, 403),
    operation_id="getRateLimit",
    summary="What a student may still send",
)
async def rate_limit(user: Annotated[str, Path(examples=["me"])], request: Request) -> dict[str, Any]:
    """`me`, a `user` of a key that several share, or to teachers and admins a student. Nothing is counted by asking."""
    services, principal = services_of(request), principal_of(request)
    label, staff = None if user == "me" else user, principal.role in ("admin", "teacher")
    if label is not None and principal.student not in (None, label) and not staff:
        raise PermissionDenied("You may only ask for your own limits: GET /v1/rate-limit/me.")
    person, tier = limits_of(principal, label)
    rows = await services.quota.students.state(person, tier)
    if label is not None and staff and (principal.student or not any(row.used for row in rows)):
        person, tier = label, "student"  # nobody of that name behind this key: a student with a key of her own
        rows = await services.quota.students.state(person, tier)
    return {
        "user": user,
        "tier": tier,
        "windows": [
            {
                "window": describe(row),
                "limit": row.limit,
                "used": row.used,
                "remaining": row.left,
                "reset_in": round(row.reset_in, 3),
            }
            for row in rows
        ],
        "waiting": _place(services, person),
        "share": round(services.quota.queue.share(person), 4),
    }


@router.get(
    "/admin/providers/{provider}/circuit-breaker",
    responses=documented(401, 403, 404),
    operation_id="getCircuitBreaker",
    summary="Circuit breakers of a provider",
)
async def breaker(provider: ProviderName, request: Request) -> dict[str, Any]:
    """State, counts, rate of failures, recovery and history of each of the provider's deployments. Admins only."""
    services, members = _admin(request, provider)
    views = [services.quota.breakers.view(member.id) for member in members]
    worst = next((state for state in ("open", "half_open") if any(v["state"] == state for v in views)), "closed")
    return {"provider": provider, "state": worst, "deployments": views}


@router.post(
    "/admin/providers/{provider}/circuit-breaker/reset",
    responses=documented(401, 403, 404),
    operation_id="resetCircuitBreaker",
    summary="Take a provider back in",
)
async def reset(provider: ProviderName, request: Request) -> dict[str, Any]:
    """Close the provider's breakers, and forget that it asked to be left alone. Counts of quota stay. Admins only."""
    services, members = _admin(request, provider)
    quota = services.quota
    for member in members:
        quota.breakers.reset(member.id)
    pools = {pool.id: pool for member in members for pool in quota.pools.of(member.id)}
    for row in await quota.store.snapshot(list(pools.values()), quota.clock()):
        if row.blocked_in > 0:
            words = (Correction(reset_in=0), Correction(row.kind, row.period, reset_in=0))
            await quota.store.learn(pools[row.pool], words, quota.clock())
    return {"provider": provider, "state": "closed", "deployments": [quota.breakers.view(m.id) for m in members]}


def _place(services: Services, person: str) -> Json | None:
    place = services.quota.queue.place(person)
    return {"position": place.position, "of": place.waiting, "eta_s": place.eta} if place else None


def _admin(request: Request, provider: str) -> tuple[Services, list[Deployment]]:
    if principal_of(request).role != "admin":
        raise PermissionDenied("This needs an admin's key.")
    services = services_of(request)
    members = [d for d in services.catalogue.enabled if d.provider == provider]
    if not members:
        raise NotFound(f"There is no enabled provider {provider!r} here. GET /v1/providers lists them.")
    return services, members
