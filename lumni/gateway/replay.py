"""A whole answer as a stream, and a stream as a whole answer: what was asked the one way may be answered the other."""

import json
import re
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any

import orjson

from lumni import sse
from lumni.gateway.reply import Reply
from lumni.types import ChatRequest, Json

_PIECE = re.compile(r"\s*\S{1,24}|\s+")  # a word with what is before it, about as models stream them
_MARK = "\ue000"  # stands for a text, to find its place in a written chunk
_HEAD = ("id", "created", "model", "system_fingerprint", "service_tier")
_ROLE = {"role": "assistant", "content": "", "refusal": None}


class Unusual(Exception):
    """A stream says something that nobody can put together again."""


def reply(body: Json, request: ChatRequest, metadata: Json, headers: Mapping[str, str]) -> Reply:
    """The whole answer ``body`` as the client wants it; ``metadata`` is its ``lumni`` object."""
    if not request.stream:
        return Reply(headers, body={**body, "lumni": metadata} if request.metadata_in_body else body)
    closing = {"lumni": metadata} if request.metadata_in_body else {}
    return Reply(headers, events=_at_once(events(body, closing, usage_asked=request.include_usage)))


async def _at_once(events: bytes) -> AsyncGenerator[bytes]:
    yield events


def events(body: Json, closing: Json, *, usage_asked: bool) -> bytes:
    """A ``chat.completion`` as OpenAI's chunks: for each choice the role, what it says and the finish; then usage.

    ``usage_asked``: the client asked for usage; OpenAI then puts ``"usage": null`` into every chunk but the last.
    ``closing`` joins the last one.
    """
    head: Json = {name: body[name] for name in _HEAD if name in body} | {"object": "chat.completion.chunk"}
    tail: Json = {"usage": None} if usage_asked else {}
    written: list[bytes] = []
    last: Json = {}
    for choice in body["choices"]:
        index, logs = choice["index"], choice.get("logprobs")

        def chunk(delta: Json, logs: Json | None = None, reason: str | None = None, index: int = index) -> Json:
            said = {"index": index, "delta": delta, "logprobs": logs, "finish_reason": reason}
            return {**head, "choices": [said], **tail}

        if last:
            written.append(sse.event(last))
        written.append(sse.event(chunk(_ROLE)))
        for name, value in choice["message"].items():
            if name in ("role", "tool_calls") or value in (None, "", []):
                continue
            if isinstance(value, str) and not logs:
                written.append(_in_pieces(chunk({name: _MARK}), value))
            else:  # each token's probability belongs to the text
                written.append(sse.event(chunk({name: value}, logs if name in ("content", "refusal") else None)))
        for place, call in enumerate(choice["message"].get("tool_calls") or ()):
            written.append(sse.event(chunk({"tool_calls": [{"index": place, **call}]})))
        last = chunk({}, None, choice["finish_reason"])
    if usage_asked:
        written.append(sse.event(last))
        last = {**head, "choices": [], "usage": body["usage"]}
    return b"".join([*written, sse.event({**last, **closing})])


def _in_pieces(chunk: Json, text: str) -> bytes:
    """Events like ``chunk``, with one piece of ``text`` each at the mark's place."""
    before, _, after = sse.event(chunk).rpartition(orjson.dumps(_MARK))
    pieces = _PIECE.findall(text)
    try:
        return b"".join([before + orjson.dumps(piece) + after for piece in pieces])
    except TypeError:  # half a surrogate pair
        return b"".join([before + json.dumps(piece).encode() + after for piece in pieces])


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
