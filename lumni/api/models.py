"""``GET /v1/models``: what a client may ask for."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from lumni.api.errors import documented
from lumni.api.visit import principal_of, services_of, visit_of
from lumni.api.wire import assignment_in
from lumni.catalogue.allowlist import allowed
from lumni.catalogue.model import Deployment
from lumni.classroom import Exam
from lumni.errors import ModelNotFound, PermissionDenied
from lumni.gateway import timetable
from lumni.money import to_usd
from lumni.people.keyring import utc_now
from lumni.services import Services
from lumni.types import Json

router = APIRouter(tags=["models"])
_CHOOSERS = {
    "auto": "Lumni classifies the request and chooses.",
    "fast": "Lumni chooses among the fast models.",
    "powerful": "Lumni chooses among the powerful models.",
}


@router.get("/v1/models", responses=documented(400, 401, 403, 404), operation_id="listModels", summary="List models")
async def list_models(request: Request) -> dict[str, Any]:
    """`auto`, `fast` and `powerful`, then every model group that this key may use now, in OpenAI's list shape.

    With `x-lumni-assignment` those for the assignment. In an exam its model only; nothing while everything is closed.
    """
    return {"object": "list", "data": _listed(request)}


@router.get(
    "/v1/models/{model:path}",
    responses=documented(400, 401, 403, 404), operation_id="getModel", summary="One model",
)  # fmt: skip
async def get_model(model: Annotated[str, Path(examples=["auto"])], request: Request) -> dict[str, Any]:
    """One model by any name that a request may use. Unknown names, and those not for this key now, get a 404."""
    services = services_of(request)
    ids, exam = _allowed(request)
    chooser = next((one for one in _choosers(services) if one["id"] == model), None)
    if chooser and (ids or ids is None) and exam is None:
        return chooser
    members = _only(services.catalogue.resolve(model), ids)
    if not members:
        raise ModelNotFound(f"There is no model {model!r} here. GET /v1/models lists them.", param="model")
    return _group(model, members)


def _listed(request: Request) -> list[Json]:
    services = services_of(request)
    ids, exam = _allowed(request)
    groups = ((name, _only(members, ids)) for name, members in services.catalogue.groups.items())
    listed = [_group(name, members) for name, members in groups if members]
    return listed if exam or not listed else _choosers(services) + listed


def _allowed(request: Request) -> tuple[frozenset[str] | None, Exam | None]:
    """Ids of the deployments that may be used now, ``None`` for all; and the exam that runs."""
    services = services_of(request)
    principal = principal_of(request)
    assignment = timetable.named(assignment_in(visit_of(request).headers), principal)
    rules = services.pipeline.budgets.rules_of(principal.course)
    try:
        principal, exam = timetable.bounds(principal, assignment, rules, utc_now())
    except PermissionDenied:
        return frozenset(), None
    return allowed(principal.allowlists, services.catalogue), exam


def _only(members: tuple[Deployment, ...], ids: frozenset[str] | None) -> tuple[Deployment, ...]:
    return members if ids is None else tuple(member for member in members if member.id in ids)


def _choosers(services: Services) -> list[Json]:
    created = int(services.started_at.timestamp())
    return [
        {"id": name, "object": "model", "created": created, "owned_by": "lumni", "description": text}
        for name, text in _CHOOSERS.items()
    ]


def _group(name: str, members: tuple[Deployment, ...]) -> Json:
    first = members[0]
    return {
        "id": name,
        "object": "model",
        "created": first.created,
        "owned_by": first.owned_by or first.provider,
        "tier": first.tier,
        "deployments": [_deployment(member) for member in members],
    }


def _deployment(deployment: Deployment) -> Json:
    able = deployment.capabilities
    price = deployment.price
    return {
        "id": deployment.id,
        "provider": deployment.provider,
        "model": deployment.model,
        "priority": deployment.priority,
        "free": deployment.free,
        "list_price": price
        and {
            "prompt": f"{to_usd(price.prompt):f}",
            "completion": f"{to_usd(price.completion):f}",
            "currency": "USD",
            "per_tokens": 1_000_000,
        },
        "capabilities": {name: getattr(able, name) for name in able.__slots__},
    }
