"""The response cache: what it saved, and how to empty it."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from lumni.api.errors import documented
from lumni.api.visit import principal_of, services_of
from lumni.errors import CacheUnavailable, PermissionDenied
from lumni.people import rights

router = APIRouter(tags=["cache"])
READERS = ("admin", "teacher", "monitor")


@router.get(
    "/v1/cache/stats", responses=documented(401, 403), operation_id="cacheStats", summary="What the cache saved"
)
async def stats(request: Request) -> dict[str, Any]:
    """Hits, misses and what was saved since the start, of all processes together.

    `shared` are hits that waited for the same request of somebody else, `size` is how many answers are kept; `null` if
    the store doesn't tell. `saved.cost_usd` is by list price. Needs the key of a teacher, an admin or a monitor.
    """
    services, principal = services_of(request), principal_of(request)
    if principal.role not in READERS:
        raise PermissionDenied("Figures of the cache are shown to teachers, admins and monitors only.")
    cache = services.pipeline.cache
    figures = services.gauges.cache_figures()
    looked = figures["hits"] + figures["misses"]
    return {
        "object": "cache.stats",
        "enabled": cache.on,
        "type": cache.store.kind if cache.store else None,
        "ttl_seconds": cache.ttl,
        "size": await cache.size(),
        "hit_rate": round(figures["hits"] / looked, 4) if looked else 0.0,
        **figures,
    }


@router.delete(
    "/v1/cache/clear", responses=documented(401, 403, 503), operation_id="clearCache", summary="Forget kept answers"
)
async def clear(
    request: Request, course: Annotated[str | None, Query(description="Only this course's.")] = None
) -> dict[str, Any]:
    """The next request of each kind is a new one. A teacher's key clears her own course; admins clear all, or one.

    `cleared` counts answers; of caches in memory only this process's, although all processes forget theirs.
    """
    services, principal = services_of(request), principal_of(request)
    course = rights.scope(principal, course)
    try:
        cleared = await services.pipeline.cache.clear(course)
    except OSError as error:
        raise CacheUnavailable(f"Nothing is cleared: {error}. Try again in a moment.") from error
    await services.people.audit.note(principal, "cache.clear", "answers", course, cleared=cleared)
    return {"object": "cache.cleared", "course": course, "cleared": cleared}
