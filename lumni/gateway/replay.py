"""A whole answer as a stream, and a stream as a whole answer: what was asked the one way may be answered the other."""

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from typing import Any

from lumni import sse
from lumni.gateway.reply import Reply
from lumni.types import ChatRequest, Json

PIECE = 64  # characters of a replayed chunk: as long as a few words
_HEAD = ("id", "created", "model", "system_fingerprint", "service_tier")
_ROLE = {"role": "assistant", "content": "", "refusal": None}


class Unusual(Exception):
    """A stream says something that nobody can put together again."""


def reply(body: Json, request: ChatRequest, metadata: Json, headers: Mapping[str, str]) -> Reply:
    """The whole answer ``body`` as the client wants it; ``metadata`` is its ``lumni`` object."""
    if not request.stream:
        return Reply(headers, body={**body, "lumni": metadata} if request.metadata_in_body else body)
    written = list(chunks(body, usage_asked=request.include_usage))
    if request.metadata_in_body:
        written[-1] = {**written[-1], "lumni": metadata}
    return Reply(headers, events=_at_once(b"".join(map(sse.event, written))))


async def _at_once(events: bytes) -> AsyncGenerator[bytes]:
    yield events


def chunks(body: Json, *, usage_asked: bool) -> Iterator[Json]:
    """OpenAI's chunks of a ``chat.completion``: for each choice the role, what it says and the finish; then usage.

    ``usage_asked``: the client asked for usage; OpenAI then puts ``"usage": null`` into every chunk but the last.
    """
    head: Json = {name: body[name] for name in _HEAD if name in body} | {"object": "chat.completion.chunk"}
    tail: Json = {"usage": None} if usage_asked else {}
    for choice in body["choices"]:
        index, logs = choice["index"], choice.get("logprobs")
        for delta in (_ROLE, *_deltas(choice["message"], whole=bool(logs))):
            said = logs if delta.keys() & {"content", "refusal"} and delta is not _ROLE else None
            shown = {"index": index, "delta": delta, "logprobs": said, "finish_reason": None}
            yield {**head, "choices": [shown], **tail}
        finish = {"index": index, "delta": {}, "logprobs": None, "finish_reason": choice["finish_reason"]}
        yield {**head, "choices": [finish], **tail}
    if usage_asked:
        yield {**head, "choices": [], "usage": body["usage"]}


def _deltas(message: Json, *, whole: bool) -> Iterator[Json]:
    """Texts in pieces, or ``whole`` where each token's probability belongs to them; each tool call in one."""
    for name, value in message.items():
        if name in ("role", "tool_calls") or value in (None, "", []):
            continue
        if isinstance(value, str) and not whole:
            yield from ({name: value[start : start + PIECE]} for start in range(0, len(value), PIECE))
        else:
            yield {name: value}
    for index, call in enumerate(message.get("tool_calls") or ()):
        yield {"tool_calls": [{"index": index, **call}]}


def assemble(chunks: Iterable[Json], usage: Json) -> Json:
    """The ``chat.completion`` that was said in ``chunks``, all of one answer. Raises :class:`Unusual`."""
    head: Json = {}
    choices: dict[int, Json] = {}
    for chunk in chunks:
        head = head or chunk
        for said in chunk["choices"]:
            _hear(choices.setdefault(said["index"], _silent(said["index"])), said)
    body: Json = {name: head[name] for name in _HEAD if head.get(name) is not None} | {"object": "chat.completion"}
    return {**body, "choices": [_spoken(choices[index]) for index in sorted(choices)], "usage": usage}


def _silent(index: int) -> Json:
    return {"index": index, "texts": {}, "tools": {}, "logprobs": None, "finish_reason": None}


def _hear(choice: Json, said: Json) -> None:
    for name, value in said["delta"].items():
        if name == "tool_calls":
            for call in value:
                _call(choice["tools"], call)
        elif isinstance(value, str):
            choice["texts"].setdefault(name, []).append(value)
        elif value is not None:
            raise Unusual(name)
    if logs := said.get("logprobs"):
        heard = choice["logprobs"] = choice["logprobs"] or {"content": None, "refusal": None}
        for part in heard:
            if logs.get(part):
                heard[part] = [*(heard[part] or ()), *logs[part]]
    choice["finish_reason"] = said["finish_reason"] or choice["finish_reason"]


def _call(tools: dict[int, Json], call: Json) -> None:
    """The first fragment of a call carries its id and name, later ones only more of its arguments."""
    function: Any = call.get("function") or {}
    if call["index"] in tools:
        tools[call["index"]]["function"]["arguments"] += function.get("arguments") or ""
        return
    named = {"name": function.get("name") or "", "arguments": function.get("arguments") or ""}
    tools[call["index"]] = {"id": call.get("id") or "", "type": "function", "function": named}


def _spoken(choice: Json) -> Json:
    texts = {name: "".join(pieces) for name, pieces in choice["texts"].items() if name != "role"}
    tools = [choice["tools"][index] for index in sorted(choice["tools"])]
    message: Json = {"role": "assistant", **texts}
    message["content"] = texts.get("content") or (None if tools or texts.get("refusal") else "")
    message["refusal"] = texts.get("refusal") or None
    if tools:
        message["tool_calls"] = tools
    return {
        "index": choice["index"],
        "message": message,
        "logprobs": choice["logprobs"],
        "finish_reason": choice["finish_reason"],
    }
