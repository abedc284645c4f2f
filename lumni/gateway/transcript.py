"""What an answer said, for courses that want content kept; read from a stream's events only where it is wanted."""

import logging
from collections.abc import Sequence
from typing import Protocol

from lumni import sse
from lumni.types import ChatRequest, Json, Principal

logger = logging.getLogger(__name__)


class Keeper(Protocol):
    """Takes content of a request without making anybody wait. ``lumni.people.privacy`` decides what is kept of it."""

    def keep(self, request: ChatRequest, principal: Principal, answer: str) -> None: ...


class Transcript:
    """The answer to one request, heard event by event."""

    def __init__(self, keeper: Keeper, request: ChatRequest, principal: Principal) -> None:
        self._keeper = keeper
        self._request = request
        self._principal = principal
        self._wanted = principal.privacy != "none"
        self._listening = self._wanted or request.receipt
        self._events: list[bytes] = []

    def hear(self, events: bytes) -> None:
        """Events of a stream, as the client gets them."""
        if self._listening:
            self._events.append(events)

    def end(self, body: Json | None = None, closing: Sequence[Json] = ()) -> str | None:
        """Hand over what was said: in the ``body`` of a whole answer, or in what was heard of a stream.

        The text of the first choice if the client wants a receipt of it; ``closing`` is what it will still hear.
        """
        if not self._listening:
            return None
        try:
            chunks = list(sse.chunks_in(b"".join(self._events))) if body is None else [body]
            if self._wanted:
                self._keeper.keep(self._request, self._principal, "".join(map(_said, chunks)))
            return "".join(map(_first, [*chunks, *closing])) if self._request.receipt else None
        except Exception:
            logger.exception("the content of %s can't be kept", self._request.request_id)
            return None


def _said(chunk: Json) -> str:
    """Texts of the choices, and calls of tools as JSON."""
    texts: list[str] = []
    for choice in chunk.get("choices") or ():
        message: Json = choice.get("message") or choice.get("delta") or {}
        texts += [text for name in ("content", "refusal") if isinstance(text := message.get(name), str)]
        if calls := message.get("tool_calls"):
            texts.append(sse.dumps({"tool_calls": calls}).decode())
    return "".join(texts)


def _first(chunk: Json) -> str:
    """The text of the first choice."""
    texts = [
        text
        for choice in chunk.get("choices") or ()
        if choice.get("index", 0) == 0
        and isinstance(text := (choice.get("message") or choice.get("delta") or {}).get("content"), str)
    ]
    return "".join(texts)
