"""What the lab reads from a chat body: the question, the images, the tool results; and the checks it makes."""

from collections.abc import Iterator
from typing import Any

from lumni.errors import InvalidRequest

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_MAX_CHOICES = 128
_MAX_TOP_LOGPROBS = 20


def check(body: dict[str, Any]) -> None:
    """Raise ``InvalidRequest`` for what OpenAI would refuse too: messages, roles, counts."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidRequest("`messages` must be a list with at least one message.", param="messages")
    for position, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            where = f"messages[{position}].role"
            raise InvalidRequest(f"`{where}` must be one of {', '.join(sorted(_ROLES))}.", param=where)
        if not isinstance(message.get("content"), str | list | None):
            where = f"messages[{position}].content"
            raise InvalidRequest(f"`{where}` must be a string, a list of parts or null.", param=where)
    _check_range(body, "n", 1, _MAX_CHOICES)
    _check_range(body, "max_tokens", 0, None)
    _check_range(body, "max_completion_tokens", 0, None)
    _check_range(body, "top_logprobs", 0, _MAX_TOP_LOGPROBS)
    if body.get("top_logprobs") is not None and not body.get("logprobs"):
        raise InvalidRequest("`top_logprobs` needs `logprobs: true`.", param="top_logprobs")


def _check_range(body: dict[str, Any], name: str, low: int, high: int | None) -> None:
    value = body.get(name)
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < low or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"between {low} and {high}"
        raise InvalidRequest(f"`{name}` must be a whole number, {bounds}.", param=name)


def text_of(content: Any) -> str:
    """The text of a message's content, its parts joined by newlines."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part if isinstance(part, str) else part.get("text") for part in parts]
    return "\n".join(text for text in texts if isinstance(text, str))


def question(body: dict[str, Any]) -> str:
    """The last user text, or the last text of anyone."""
    messages = body["messages"]
    for message in reversed(messages):
        if message["role"] == "user":
            return text_of(message.get("content"))
    return text_of(messages[-1].get("content"))


def images(body: dict[str, Any]) -> int:
    """How many images the last user message carries."""
    for message in reversed(body["messages"]):
        if message["role"] == "user":
            content = message.get("content")
            parts = content if isinstance(content, list) else []
            return sum(1 for part in parts if isinstance(part, dict) and part.get("type") == "image_url")
    return 0


def tool_results(body: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and text of the tool results that end the conversation, oldest first."""
    names = {call.get("id"): _call_name(call) for message in body["messages"] for call in _calls(message)}
    found = []
    for message in reversed(body["messages"]):
        if message["role"] not in ("tool", "function"):
            break
        name = message.get("name") or names.get(message.get("tool_call_id")) or "tool"
        found.append((name, text_of(message.get("content"))))
    return found[::-1]


def _calls(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for call in message.get("tool_calls") or []:
        if isinstance(call, dict):
            yield call


def _call_name(call: dict[str, Any]) -> str:
    return str((call.get("function") or call.get("custom") or {}).get("name") or "tool")
