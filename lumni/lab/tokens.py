"""The lab's own token counting: every piece of a text is one token, and the pieces joined are the text again."""

import re
from collections.abc import Iterable
from typing import Any

import orjson

# Words of up to seven letters with the space before them: English then comes to about four characters a token.
_PIECE = re.compile(r" ?\w{1,7}|[^\w\s]{1,3}|\s+")
_MESSAGE_OVERHEAD = 3
_REPLY_OVERHEAD = 3
_IMAGE_TOKENS = {"low": 85, "high": 765, "auto": 765}
_OTHER_PART_TOKENS = 100


def split_tokens(text: str) -> list[str]:
    """The pieces of ``text``, in order; ``"".join(split_tokens(text)) == text``."""
    return _PIECE.findall(text)


def count_tokens(text: str) -> int:
    """How many tokens the lab charges for ``text``."""
    return sum(1 for _ in _PIECE.finditer(text))


def count_json_tokens(value: Any) -> int:
    """Tokens of a value as it would be written in JSON, four bytes each."""
    return -(-len(orjson.dumps(value)) // 4)


def count_prompt_tokens(body: dict[str, Any]) -> int:
    """Tokens of a chat body's messages and tools: text, images (85 at low detail, 765 otherwise), calls, schemas."""
    total = _REPLY_OVERHEAD + sum(_message_tokens(message) for message in body["messages"])
    if body.get("tools"):
        total += count_json_tokens(body["tools"])
    return total


def _message_tokens(message: dict[str, Any]) -> int:
    total = _MESSAGE_OVERHEAD + _content_tokens(message.get("content"))
    if message.get("tool_calls"):
        total += count_json_tokens(message["tool_calls"])
    return total


def _content_tokens(content: str | Iterable[Any] | None) -> int:
    if not content:
        return 0
    if isinstance(content, str):
        return count_tokens(content)
    return sum(_part_tokens(part) for part in content)


def _part_tokens(part: Any) -> int:
    if isinstance(part, str):
        return count_tokens(part)
    kind = part.get("type")
    if kind in ("text", "refusal"):
        return count_tokens(str(part.get(kind) or ""))
    if kind == "image_url":
        image = part.get("image_url")
        detail = image.get("detail", "auto") if isinstance(image, dict) else "auto"
        return _IMAGE_TOKENS.get(detail, _IMAGE_TOKENS["auto"])
    return _OTHER_PART_TOKENS
