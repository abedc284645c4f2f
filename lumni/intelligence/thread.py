"""What a chat body says, read once and within bounds, whatever a client put into it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

HEAD, TAIL = 3_000, 1_000
"""Characters of a user turn that are looked at: people ask at the start or at the end of what they paste."""

IMAGE_PARTS = frozenset({"image_url", "input_image", "image"})
OTHER_ATTACHMENTS = frozenset({"file", "input_file", "input_audio"})


class Turn(NamedTuple):
    """What a user said at one point of a conversation; a later turn changes nothing about it.

    ``text`` lacks its middle if it is long, ``length`` counts all of it. ``number`` is 1 for the first turn, ``before``
    the characters of the conversation up to it, ``attachments`` those that have come with it or earlier.
    """

    text: str = ""
    length: int = 0
    number: int = 1
    before: int = 0
    attachments: int = 0


class Thread(NamedTuple):
    """One conversation. Lengths are in characters of text; attachments don't count towards them.

    ``turns`` are the user's, at least one: in a body without any, the last message counts as one. ``size`` is in bytes
    of UTF-8, over all ``messages`` and the tool calls inside them.
    """

    turns: tuple[Turn, ...] = (Turn(),)
    length: int = 0
    size: int = 0
    images: int = 0
    messages: int = 0

    @property
    def last(self) -> Turn:
        return self.turns[-1]


def mappings(value: object) -> Sequence[Mapping[str, Any]]:
    """The mappings of a list; nothing of anything else."""
    if not isinstance(value, (list, tuple)):
        return ()
    return [
        item for item in value if isinstance(item, (dict, Mapping))
    ]  # dict: known without asking the abstract class


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
    turns: list[Turn] = []
    otherwise = Turn()
    length = size = images = attachments = 0
    messages = mappings(body.get("messages"))
    for message in messages:
        content = message.get("content")
        if isinstance(content, str):
            text, own, heard = content, len(content), True
            size += utf8_size(content)
        else:
            pieces = tuple(texts(content))
            text, own, heard = "\n".join(pieces), sum(map(len, pieces)), bool(pieces)
            size += sum(map(utf8_size, pieces))
            kinds = [kind for part in mappings(content) if isinstance(kind := part.get("type"), str)]
            images += sum(kind in IMAGE_PARTS for kind in kinds)
            attachments += sum(kind in IMAGE_PARTS or kind in OTHER_ATTACHMENTS for kind in kinds)
        if "tool_calls" in message:
            size += _tool_call_size(message)
        if message.get("role") == "user":
            turns.append(Turn(_ends(text), own, len(turns) + 1, length, attachments))
        elif heard and not turns:
            otherwise = Turn(_ends(text), own, 1, length, attachments)
        length += own
    return Thread(tuple(turns) or (otherwise,), length, size, images, len(messages))


def _tool_call_size(message: Mapping[str, Any]) -> int:
    functions = (call.get("function") for call in mappings(message.get("tool_calls")))
    arguments = (function.get("arguments") for function in functions if isinstance(function, Mapping))
    return sum(utf8_size(text) for text in arguments if isinstance(text, str))


def _ends(text: str) -> str:
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"
