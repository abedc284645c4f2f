"""``POST /completion``: messages in, an OpenAI answer out; its stream is lines of ``data: {"content": …}``."""

from fastapi import APIRouter, Request, Response

from lumni import sse
from lumni.api.chat import ask, services_of, whole
from lumni.api.documents import chat_body, chat_responses
from lumni.api.sse import EventStream

router = APIRouter(tags=["chat"])


@router.post(
    "/completion",
    responses=chat_responses('`{"content": …}` or an error, as JSON; at the end `[DONE]`.'),
    openapi_extra=chat_body(model_required=False),
    operation_id="createCompletion",
    summary="Completion",
)
async def completion(request: Request) -> Response:
    """The same as `/v1/chat/completions` with a simpler stream. `model` defaults to `auto`."""
    reply = await ask(request, "completion", {"model": "auto"})
    if reply.events is not None:
        return EventStream(reply.events, reply.headers, services_of(request).pipeline.drain, content_events)
    return whole(reply)


def content_events(events: bytes) -> bytes:
    """The first choice's text in each chunk, and at the end the ``lumni`` object with an empty ``content``."""
    written = []
    for chunk in sse.chunks_in(events):
        for choice in chunk["choices"]:
            text, reason = choice["delta"].get("content") or "", choice["finish_reason"]
            if choice["index"] == 0 and (text or reason):
                written.append({"content": text, "finish_reason": reason} if reason else {"content": text})
        if "lumni" in chunk:
            written.append({"content": "", "lumni": chunk["lumni"]})
    return b"".join(map(sse.event, written))
