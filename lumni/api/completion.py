"""``POST /completion``: messages in, an OpenAI answer out; its stream is lines of ``data: {"content": …}``."""

from fastapi import APIRouter, Response

from lumni import sse
from lumni.api.chat import ask
from lumni.api.documents import chat_body, chat_responses
from lumni.api.replies import response_of
from lumni.api.visit import Here

router = APIRouter(tags=["chat"])
PATH = "/completion"


@router.post(
    PATH,
    responses=chat_responses('`{"content": …}` or an error, as JSON; at the end `[DONE]`.'),
    openapi_extra=chat_body(model_required=False),
    operation_id="createCompletion",
    summary="Completion",
)
async def completion(visit: Here) -> Response:
    """The same as `/v1/chat/completions` with a simpler stream. `model` defaults to `auto`."""
    return response_of(await ask(visit, "completion", {"model": "auto"}), visit, content_events)


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
