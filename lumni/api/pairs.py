"""``POST /v1/pairs`` and ``POST /v1/pairs/{id}/vote``: two answers without their names, and which was better."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from lumni.api import wire
from lumni.api.documents import chat_body
from lumni.api.errors import documented
from lumni.api.explain import STORED_WITHIN
from lumni.api.presence import while_wanted
from lumni.api.visit import Here, principal_of, services_of
from lumni.calibration import Choice

router = APIRouter(tags=["feedback"])


class PairAnswer(BaseModel):
    label: Literal["a", "b"]
    message: dict[str, Any]


class Pair(BaseModel):
    """Two answers to one question. Nothing in it says which model gave which."""

    object: Literal["pair"]
    id: str
    answers: list[PairAnswer]


class Vote(BaseModel):
    """`tie`: both are as good. `neither`: both are wrong."""

    model_config = ConfigDict(extra="forbid")

    choice: Choice = Field(description="The better answer.")


class Revealed(BaseModel):
    label: Literal["a", "b"]
    tier: Literal["fast", "powerful"]
    provider: str | None
    model: str | None
    request_id: str


class Voted(BaseModel):
    """Which was which."""

    object: Literal["vote"]
    id: str
    choice: Choice
    answers: list[Revealed]


@router.post(
    "/v1/pairs",
    response_model=Pair,
    responses=documented(400, 401, 403, 404, 413, 429, 503, 504),
    openapi_extra=chat_body(model_required=False),
    operation_id="createPair",
    summary="A blind pair of answers",
)
async def create_pair(visit: Here) -> Any:
    """A chat body, answered by a fast and by a powerful model, and shown without their names.

    It counts as two requests. `model`, `provider` and `fallback` are ours to choose; `stream` is refused.
    """
    services = visit.services
    wire.check_encoding(visit.headers)
    body = {"model": "auto", **wire.parse(await visit.body())}
    chat = wire.chat_request(body, visit.headers, services.settings, wire.envelope_of(visit, "pairs"))
    return await while_wanted(visit.presence, services.pipeline.drain, services.pairs.ask(chat, visit.caller))


@router.post(
    "/v1/pairs/{pair_id}/vote",
    response_model=Voted,
    responses=documented(400, 401, 404, 409, 413),
    operation_id="votePair",
    summary="Which answer was better",
)
async def vote(
    vote: Vote, request: Request, pair_id: Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[!-~]+$")]
) -> Any:
    """Says which was which, so it can be done once. Votes teach the classifier once somebody decides so."""
    services = services_of(request)
    await services.writer.settled(STORED_WITHIN)
    principal = principal_of(request)
    return await services.pairs.vote(principal, pair_id, vote.choice)
