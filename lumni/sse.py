"""JSON and OpenAI's server-sent events, as bytes and back."""

import json
from typing import Any

import orjson

Json = dict[str, Any]

DONE = b"data: [DONE]\n\n"


def dumps(value: Json) -> bytes:
    """JSON, also of what a model may say but UTF-8 can't: half a surrogate pair is written as an escape."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode()


def loads(text: bytes) -> Any:
    """The same way back, half a surrogate pair included. Raises ``ValueError``."""
    try:
        return orjson.loads(text)
    except ValueError:
        return json.loads(text)


def event(chunk: Json) -> bytes:
    """``data: {json}`` and an empty line."""
    return b"data: " + dumps(chunk) + b"\n\n"


def chunks_in(events: bytes) -> list[Json]:
    """The chunks of whole events that :func:`event` wrote."""
    return [loads(one[6:]) for one in events.split(b"\n\n") if one]
