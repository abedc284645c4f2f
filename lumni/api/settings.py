"""``/admin/settings``: what admins may change while the gateway runs."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field

from lumni.api.errors import documented
from lumni.api.people import listed, people_of
from lumni.api.people_schemas import Closed, Whole, Words
from lumni.api.schemas import Part
from lumni.api.visit import principal_of, services_of
from lumni.runtime import CHANGEABLE, plain
from lumni.settings import MOST_REQUESTS, SLOWEST
from lumni.types import RoutingStrategy

router = APIRouter(tags=["settings"])
Limit = Annotated[Whole, Field(ge=0, le=MOST_REQUESTS)]


class SettingsChanges(Closed):
    """Settings by their names; what is left out stays, and `null` gives one back to the configuration."""

    routing_strategy: RoutingStrategy | None = None
    classify_tasks: bool | None = None
    auto_detect_tasks: bool | None = None
    benchmark_selection: bool | None = None
    selection_weights: dict[Part, Annotated[float, Field(ge=0, le=1)]] | None = Field(
        None, description="What is left out keeps its default; they must sum to 1."
    )
    disabled_deployments: dict[str, Words] | None = Field(
        None, description="Deployments that aren't called, each with the reason; `groq/*` are all of a provider.",
        examples=[{"groq/*": "the key leaked"}],
    )  # fmt: skip
    max_requests_per_minute: Limit | None = Field(None, description="Of a student; 0 is no limit.")
    max_requests_per_hour: Limit | None = Field(None, description="Of a student; 0 is no limit.")
    default_rate_limit_capacity: Limit | None = Field(None, description="Requests of a key at once; 0 is no limit.")
    default_rate_limit_refill_rate: Annotated[float, Field(ge=SLOWEST, le=MOST_REQUESTS)] | None = None


@router.get(
    "/admin/settings", responses=documented(401, 403), operation_id="listSettings", summary="Settings at run time"
)
async def list_settings(request: Request) -> dict[str, Any]:
    """Every setting that can be changed while the gateway runs: what holds, what is configured, who changed it when."""
    return await _listed(request)


@router.patch(
    "/admin/settings", responses=documented(400, 401, 403, 413),
    operation_id="changeSettings", summary="Change settings at run time",
)  # fmt: skip
async def change_settings(changes: SettingsChanges, request: Request) -> dict[str, Any]:
    """In effect at once in this process, within a second or two in all others, and still after a restart."""
    given = changes.model_dump(mode="json", exclude_unset=True)
    await people_of(request).settings.change(principal_of(request), given)
    await services_of(request).steering.refresh()
    return await _listed(request)


async def _listed(request: Request) -> dict[str, Any]:
    services = services_of(request)
    changed = {one.name: one for one in await people_of(request).settings.list(principal_of(request))}
    rows = []
    for name in CHANGEABLE:
        row = {"name": name, "value": plain(services.settings, name), "configured": plain(services.settings, name)}
        if one := changed.get(name):
            row |= {"value": one.value, "changed_at": one.changed_at.isoformat(), "changed_by": one.changed_by}
        rows.append(row)
    return listed(rows)
