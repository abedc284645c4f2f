"""``POST /v1/chat/completions``: the canonical surface."""

import orjson
from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from lumni.api import wire
from lumni.api.documents import CHAT_RESPONSES, chat_body
from lumni.api.sse import EventStream, until_disconnect
from lumni.gateway.reply import Reply
from lumni.services import Services
from lumni.types import ChatRequest

router = APIRouter(tags=["chat"])


@router.post("/v1/chat/completions", responses=CHAT_RESPONSES, openapi_extra=chat_body(), summary="Chat completion")
async def chat_completions(request: Request) -> Response:
    """OpenAI's chat completion, streaming or not. `model` may be `auto`: then Lumni chooses and says why."""
    services: Services = request.app.state.services
    body = wire.parse(await request.body())
    chat = wire.chat_request(body, request.headers, services.settings, request.scope["lumni.request_id"])
    reply = await ask(request, services, chat)
    if reply is None:
        return Response(status_code=499)
    if reply.chunks is not None:
        return EventStream(reply.chunks, reply.headers)
    return Response(orjson.dumps(reply.body), headers=dict(reply.headers), media_type="application/json")


async def ask(request: Request, services: Services, chat: ChatRequest) -> Reply | None:
    """The pipeline's reply, or ``None`` when the client hung up meanwhile (which the record then says)."""
    try:
        return await until_disconnect(
            request.receive, services.pipeline.complete(chat, request.scope["lumni.principal"])
        )
    except ClientDisconnect:
        return None
