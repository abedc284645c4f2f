"""What a chat body says, read once and within bounds, whatever a client put into it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

HEAD, TAIL = 6_000, 2_000
"""Characters of the last user turn that are looked at: people ask at the start or at the end of what they paste."""

IMAGE_PARTS = frozenset({"image_url", "input_image", "image"})
OTHER_ATTACHMENTS = frozenset({"file", "input_file", "input_audio"})


@dataclass(frozen=True, slots=True)
class Thread:
    """One conversation. Lengths are in characters of text; attachments don't count towards them.

    ``last`` is the text of the last user turn, without its middle if that is long. ``size`` is in bytes of UTF-8, over
    all messages and the tool calls inside them.
    """

    last: str = ""
    last_length: int = 0
    length: int = 0
    size: int = 0
    user_turns: int = 0
    images: int = 0
    attachments: int = 0


def mappings(value: object) -> Iterator[Mapping[str, Any]]:
    """The mappings of a list; nothing of anything else."""
    if isinstance(value, (list, tuple)):
        yield from (item for item in value if isinstance(item, Mapping))


def texts(content: object) -> Iterator[str]:
    """The texts of a message's ``content``: a string, or a list of parts."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, (list, tuple)):
        for part in content:
            text = part.get("text") if isinstance(part, Mapping) else part
            if isinstance(text, str):
                yield text


def utf8_size(text: str) -> int:
    """Bytes of UTF-8; lone surrogates, which JSON can carry, count as three."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def read(body: Mapping[str, Any]) -> Thread:
    """The thread in OpenAI's chat ``body``. Never raises: what isn't understood isn't counted."""
    last: tuple[str, ...] = ()
    length = size = user_turns = images = attachments = 0
    for message in mappings(body.get("messages")):
        content = message.get("content")
        pieces = tuple(texts(content))
        length += sum(map(len, pieces))
        size += sum(map(utf8_size, pieces)) + _tool_call_size(message)
        kinds = [part.get("type") for part in mappings(content)]
        images += sum(1 for kind in kinds if isinstance(kind, str) and kind in IMAGE_PARTS)
        attachments += sum(1 for kind in kinds if isinstance(kind, str) and kind in OTHER_ATTACHMENTS)
        if message.get("role") == "user":
            user_turns += 1
            last = pieces
        elif not user_turns:
            last = pieces or last
    return Thread(
        last=_ends("\n".join(last)),
        last_length=sum(map(len, last)),
        length=length,
        size=size,
        user_turns=user_turns,
        images=images,
        attachments=attachments + images,
    )


def _tool_call_size(message: Mapping[str, Any]) -> int:
    functions = (call.get("function") for call in mappings(message.get("tool_calls")))
    arguments = (function.get("arguments") for function in functions if isinstance(function, Mapping))
    return sum(utf8_size(text) for text in arguments if isinstance(text, str))


def _ends(text: str) -> str:
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"
