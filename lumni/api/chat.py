"""``POST /v1/chat/completions``: the canonical surface. What it shares with the others is here too."""

import asyncio
from collections.abc import Mapping

from fastapi import APIRouter, Response
from starlette.requests import ClientDisconnect

from lumni.api import wire
from lumni.api.documents import chat_body, chat_responses
from lumni.api.presence import while_wanted
from lumni.api.replies import response_of
from lumni.api.visit import Here, Visit
from lumni.errors import LumniError
from lumni.gateway.reply import Reply
from lumni.types import ChatRequest, Json

router = APIRouter(tags=["chat"])
PATH = "/v1/chat/completions"


@router.post(
    PATH,
    responses=chat_responses("A chunk of the answer as OpenAI writes it, or an error, as JSON; at the end `[DONE]`."),
    openapi_extra=chat_body(),
    operation_id="createChatCompletion",
    summary="Chat completion",
)
async def chat_completions(visit: Here) -> Response:
    """OpenAI's chat completion, streaming or not. `model` may be `auto`: then Lumni chooses and says why."""
    return response_of(await ask(visit, "chat.completions"), visit)


async def ask(visit: Visit, surface: str, defaults: Mapping[str, object] | None = None) -> Reply:
    """The pipeline's reply to the request. Every request that comes here leaves a record, also a wrong one.

    ``defaults`` stand in for what the body leaves out. Raises :class:`LumniError`, and :class:`ClientDisconnect` when
    the client hung up meanwhile.
    """
    return await while_wanted(visit.presence, visit.services.pipeline.drain, _ask(visit, surface, defaults or {}))


async def _ask(visit: Visit, surface: str, defaults: Mapping[str, object]) -> Reply:
    chat = await _read(visit, surface, defaults)
    return await visit.services.pipeline.complete(chat, visit.caller)


async def _read(visit: Visit, surface: str, defaults: Mapping[str, object]) -> ChatRequest:
    services, envelope = visit.services, wire.envelope_of(visit, surface)
    body: Json = {}
    try:
        wire.check_encoding(visit.headers)
        body = {**defaults, **wire.parse(await visit.body())}
        return wire.chat_request(body, visit.headers, services.settings, envelope)
    except LumniError as error:
        services.pipeline.reject(wire.refused(body, envelope), visit.caller, error)
        raise
    except (ClientDisconnect, asyncio.CancelledError):
        services.pipeline.abandon(wire.refused(body, envelope), visit.caller)
        raise
