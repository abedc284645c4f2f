"""``POST /v1/chat/completions``: the canonical surface. What it shares with the others is here too."""

from collections.abc import Mapping

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from lumni import sse
from lumni.api import errors, wire
from lumni.api.documents import chat_body, chat_responses
from lumni.api.sse import EventStream, until_disconnect
from lumni.errors import ClientDisconnected, LumniError
from lumni.gateway.reply import Reply
from lumni.services import Services
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
async def chat_completions(request: Request) -> Response:
    """OpenAI's chat completion, streaming or not. `model` may be `auto`: then Lumni chooses and says why."""
    reply = await ask(request, "chat.completions")
    if reply.events is not None:
        return EventStream(reply.events, reply.headers, services_of(request).pipeline.drain)
    return whole(reply)


class ChatRoute:
    """The same route as plain ASGI, before FastAPI, which costs a tenth of a request and does nothing for this one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            response = await chat_completions(Request(scope, receive))
        except LumniError as error:
            response = errors.response(error)
        except ClientDisconnect:
            response = errors.gone()
        await response(scope, receive, send)


async def ask(request: Request, surface: str, defaults: Mapping[str, object] | None = None) -> Reply:
    """The pipeline's reply to the request. Every request that comes here leaves a record, also a wrong one.

    ``defaults`` stand in for what the body leaves out. Raises :class:`LumniError`, and :class:`ClientDisconnect` when
    the client hung up meanwhile.
    """
    services = services_of(request)
    chat = await _read(request, surface, defaults or {})
    work = services.pipeline.complete(chat, request.scope["lumni.principal"])
    return await until_disconnect(request.receive, services.pipeline.drain, work)


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def whole(reply: Reply) -> Response:
    """An answer that is no stream."""
    return Response(sse.dumps(reply.body or {}), headers=dict(reply.headers), media_type="application/json")


async def _read(request: Request, surface: str, defaults: Mapping[str, object]) -> ChatRequest:
    services = services_of(request)
    trace = services.begin_trace(request.headers.get("traceparent"))
    envelope = wire.envelope(request.scope, surface, trace)
    body: Json = {}
    try:
        wire.check_encoding(request.headers)
        body = {**defaults, **wire.parse(await request.body())}
        return wire.chat_request(body, request.headers, services.settings, envelope)
    except LumniError as error:
        services.pipeline.reject(wire.refused(body, envelope), request.scope["lumni.principal"], error)
        raise
    except ClientDisconnect:
        left = ClientDisconnected("The client left before its request was complete.")
        services.pipeline.reject(wire.refused(body, envelope), request.scope["lumni.principal"], left)
        raise
