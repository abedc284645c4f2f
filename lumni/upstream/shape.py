"""The shape of a request: all that could matter to its translation for a provider, without what it says."""

from collections.abc import Iterator, Mapping
from typing import Any

from lumni.types import ChatRequest, Json
from lumni.upstream.parameters import STANDARD, WITHHELD

Shape = frozenset[str]

# Nobody but LiteLLM carries these.
_TRANSLATED = frozenset({"audio", "function_call", "functions", "modalities", "prediction", "web_search_options"})
_MESSAGE_FIELDS = frozenset({"role", "content", "name", "refusal", "tool_calls", "tool_call_id", "reasoning_content"})
_PARTS = frozenset({"text", "image_url", "input_audio"})
_FREE_TEXT = frozenset({"stop"})
# Of a tool's or an answer's schema, what some providers don't take.
_KEYWORDS = frozenset(
    {
        "$defs", "$id", "$ref", "$schema", "additionalProperties", "allOf", "anyOf", "cache_control", "const",
        "default", "format", "oneOf", "pattern", "strict",
    }
)  # fmt: skip


def shape_of(request: ChatRequest) -> Shape | None:
    """``None`` for a request that no provider is sent as it is. There are only so many others."""
    body = request.body
    marks = {"stream"} if request.stream else set()
    for name, value in body.items():
        if name in WITHHELD or value is None:
            continue
        if name in _TRANSLATED:
            return None
        marks.update(_marks(name, value))
    for message in request.messages:
        content = message.get("content")
        if type(content) is str and content and len(message) == 2:  # as most are
            marks.add(f"{message['role']}: text role")
            continue
        mark = _message(message)
        if mark is None:
            return None
        marks.add(mark)
    if request.messages and request.messages[-1]["role"] == "assistant":
        marks.add("to be continued")
    return frozenset(marks)


def _marks(name: str, value: Any) -> Iterator[str]:
    """Numbers by whether they are 0 or 1, words as they are, schemas by their keywords."""
    if name not in STANDARD:
        yield "unknown fields"  # by whatever name, they are passed on
    elif isinstance(value, bool | int | float):
        yield f"{name}={value}" if value in (0, 1) else name
    elif isinstance(value, str) and name not in _FREE_TEXT:
        yield f"{name}={value[:32]}"
    elif isinstance(value, Mapping):
        yield f"{name}:{str(value.get('type'))[:32]}"
        yield from (f"{name}.{word}" for word in _words_in(value))
    elif isinstance(value, list):
        yield f"{name}[]"
        yield from (f"{name}.{word}" for word in _words_in(value))
    else:
        yield name


def _message(message: Mapping[str, Any]) -> str | None:
    content = message.get("content")
    if message.keys() - _MESSAGE_FIELDS:
        return None
    if isinstance(content, list):
        kinds = {str(part.get("type")) if isinstance(part, Mapping) else "" for part in content}
        if kinds - _PARTS or any(len(part) > 2 or not _is_plain_image(part) for part in content):
            return None
        said = "+".join(sorted(kinds))
    else:
        said = "text" if content else "nothing" if content is None else "no text"
    more = "+".join(sorted(name for name, value in message.items() if value is not None and name != "content"))
    return f"{message['role']}: {said} {more}"


def _is_plain_image(part: Mapping[str, Any]) -> bool:
    image = part.get("image_url")
    return image is None or (isinstance(image, Mapping) and image.keys() <= {"url", "detail"})


def _words_in(value: Any) -> set[str]:
    """The schema keywords anywhere inside, and the kinds of tools."""
    found: set[str] = set()
    level: list[Any] = [value]
    while level:
        node = level.pop()
        if isinstance(node, Mapping):
            found |= _KEYWORDS & node.keys()
            level.extend(node.values())
        elif isinstance(node, list):
            if not node:
                found.add("[]")
            level.extend(node)
    return found


def sample(body: Json) -> Json:
    """A request of the same shape that says nothing."""
    return {**body, "messages": [_silent(message) for message in body["messages"]]}


def _silent(message: Mapping[str, Any]) -> Json:
    content = message.get("content")
    if isinstance(content, str) and content:
        return {**message, "content": "x"}
    if isinstance(content, list):
        return {**message, "content": [{**part, "text": "x"} if "text" in part else part for part in content]}
    return dict(message)
