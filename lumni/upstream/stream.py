"""A provider's stream, whichever lane it came by: it counts as begun with its first content, and ends whole or not."""

import asyncio
import dataclasses
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

import orjson

from lumni.catalogue.model import Deployment
from lumni.types import ChatRequest, Json, Lane, Outcome, Usage
from lumni.upstream import failures, normalise
from lumni.upstream.chunks import ChunkShaper
from lumni.upstream.failures import AttemptFailed, Failure
from lumni.upstream.toolcheck import broken_tool_call

_PICTURE = re.compile(rb'data:[^"]*')


class ProviderStream(ABC):
    """OpenAI's events without the finish chunks, which are in ``closing`` once it ended.

    See :class:`lumni.upstream.answer.StreamedAnswer`.
    """

    lane: Lane

    def __init__(
        self,
        request: ChatRequest,
        deployment: Deployment,
        headers: Mapping[str, str],
        idle: float,
        secrets: Collection[str] = (),
    ) -> None:
        """``idle``: seconds that may pass until more is said. ``secrets`` are never told."""
        self.deployment = deployment
        self.headers = headers
        self.closing: list[Json] = []
        self.finish_reason: str | None = None
        self.shaper = ChunkShaper(usage_asked=request.include_usage)
        self._request = request
        self._idle = idle
        self._secrets = secrets
        self._usage: Json = {}
        self._head = b""
        self._ended = False

    @property
    def usage(self) -> Usage:
        """The provider's count; an estimate as long as there is none."""
        return normalise.usage_of(self.usage_body, estimated=not self._usage)

    @property
    def usage_body(self) -> Json:
        return self._usage or estimate(self._request, self.shaper)

    async def commit(self) -> None:
        """Read up to the first content: until then another deployment can still take over unseen."""
        while not self._ended and not self.shaper.said:
            self._head += await self._read(math.inf)
        if not self.shaper.said and not self.closing:
            raise AttemptFailed(Failure(Outcome.UNAVAILABLE, detail="the stream ended before it said anything"))

    def __aiter__(self) -> "ProviderStream":
        """Whole events, as many as came together. Raises :class:`AttemptFailed` with ``CUT`` when it breaks off."""
        return self

    async def __anext__(self) -> bytes:
        events, self._head = self._head, b""
        due = asyncio.get_running_loop().time() + self._idle
        try:
            while not events and not self._ended:
                events = await self._read(due)
        except asyncio.CancelledError:
            if failures.is_cancelled():
                raise
            raise AttemptFailed(Failure(Outcome.CUT, detail="the provider's client gave up")) from None
        except Exception as error:
            if not self._is_whole(error):
                failure = failures.read(error, self._secrets)
                detail = "the stream fell silent" if failure.outcome is Outcome.TIMEOUT else failure.detail
                raise AttemptFailed(dataclasses.replace(failure, outcome=Outcome.CUT, detail=detail)) from error
        if not events:
            raise StopAsyncIteration
        return events

    @abstractmethod
    async def aclose(self) -> None:
        """Hang up. A stream that breaks while closing is closed all the same."""

    @abstractmethod
    async def _read(self, due: float) -> bytes:
        """What came next, as events; calls :meth:`_end` at the end. Raises ``TimeoutError`` at ``due`` (loop time)."""

    def _is_whole(self, error: Exception) -> bool:  # noqa: ARG002
        """Whether nothing was missing but the end of the connection when it failed; then the stream has ended."""
        return False

    def _end(self, reasons: Mapping[int, str]) -> None:
        """``reasons`` are the finish reasons that the provider really sent, by choice."""
        self._ended = True
        if not reasons:
            raise AttemptFailed(Failure(Outcome.CUT, detail="the stream ended without a finish reason"))
        # Before the finish: a repetition that mends the call still has to end the stream.
        for index, spoken in self.shaper.spoken.items():
            calls = [{"function": {"name": t.name, "arguments": t.arguments}} for t in spoken.tools.values()]
            check_tools(self._request, calls, reasons.get(index))
        self.close_with(reasons)

    def close_with(self, reasons: Mapping[int, str]) -> None:
        """Finish every choice."""
        self.closing = list(self.shaper.finish(reasons))
        self.finish_reason = self.shaper.spoken[min(self.shaper.spoken)].finish


def estimate(request: ChatRequest, shaper: ChunkShaper) -> Json:
    """OpenAI's ``usage`` for a stream without one: a token for every four characters (OpenAI's rule of thumb).

    Pictures inside the request, which are not counted by their characters, are left out.
    """
    asked = (request.messages, request.body.get("tools"))
    with suppress(TypeError):  # nested deeper than orjson writes
        asked_size = len(_PICTURE.sub(b"", orjson.dumps(asked)))
        return normalise.usage_body({"prompt_tokens": asked_size // 4, "completion_tokens": _spoken(shaper) // 4})
    return normalise.usage_body({"completion_tokens": _spoken(shaper) // 4})


def _spoken(shaper: ChunkShaper) -> int:
    """Characters of all that was said."""
    return sum(
        sum(map(len, spoken.text.values()))
        + sum(len(tool.name) + len(tool.arguments) for tool in spoken.tools.values())
        for spoken in shaper.spoken.values()
    )


def check_tools(request: ChatRequest, calls: Any, finish_reason: str | None) -> None:
    """Raise :class:`AttemptFailed` for a call that no client can carry out; one cut by a length limit is no fault."""
    if calls and finish_reason != "length" and (fault := broken_tool_call(request.body.get("tools") or (), calls)):
        raise AttemptFailed(Failure(Outcome.UNAVAILABLE, detail=fault))
