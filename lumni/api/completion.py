"""``POST /completion``: messages in, an OpenAI answer out; its stream is lines of ``data: {"content": …}``."""

from collections.abc import AsyncGenerator

import orjson
from fastapi import APIRouter, Request, Response

from lumni.api import wire
from lumni.api.chat import ask
from lumni.api.documents import CHAT_RESPONSES, chat_body
from lumni.api.sse import EventStream
from lumni.services import Services
from lumni.types import Json

router = APIRouter(tags=["chat"])


@router.post(
    "/completion", responses=CHAT_RESPONSES, openapi_extra=chat_body(model_required=False), summary="Completion"
)
async def completion(request: Request) -> Response:
    """The same as `/v1/chat/completions` with a simpler stream. `model` defaults to `auto`."""
    services: Services = request.app.state.services
    body = {"model": "auto", **wire.parse(await request.body())}
    chat = wire.chat_request(body, request.headers, services.settings, request.scope["lumni.request_id"], "completion")
    reply = await ask(request, services, chat)
    if reply is None:
        return Response(status_code=499)
    if reply.chunks is not None:
        return EventStream(_contents(reply.chunks), reply.headers)
    return Response(orjson.dumps(reply.body), headers=dict(reply.headers), media_type="application/json")


async def _contents(chunks: AsyncGenerator[Json]) -> AsyncGenerator[Json]:
    """The text of the first choice; everything else about the answer in the last line, with an empty ``content``."""
    try:
        async for chunk in chunks:
            for choice in chunk["choices"]:
                if choice["index"] == 0 and (choice["delta"].get("content") or choice["finish_reason"]):
                    line: Json = {"content": choice["delta"].get("content") or ""}
                    if choice["finish_reason"]:
                        line["finish_reason"] = choice["finish_reason"]
                    yield line
            if "lumni" in chunk:
                yield {"content": "", "lumni": chunk["lumni"]}
    finally:
        await chunks.aclose()
