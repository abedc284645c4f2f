"""A provider's events as ours: a stream's text goes from the one into the other."""

from collections.abc import Collection
from contextlib import suppress
from typing import Any

import orjson

from lumni import sse
from lumni.catalogue.model import Deployment
from lumni.types import ChatRequest, Json, Outcome
from lumni.upstream import failures, normalise
from lumni.upstream.events import EventReader, Mould
from lumni.upstream.exchange import Exchange
from lumni.upstream.failures import AttemptFailed, Failure
from lumni.upstream.spelling import respell, whole_head
from lumni.upstream.stream import ProviderStream

GUESSES = 3
"""Chunks of a stream from which we try to learn what all of its chunks have in common."""
LINGER_SECONDS = 2.0
"""How long a connection may take to end an answer that is already whole; then it isn't kept."""
_NOTHING: Json = {}
_MARK = "\ue000"


class RelayStream(ProviderStream):
    """A provider's events as ours."""

    lane = "relay"

    def __init__(
        self,
        request: ChatRequest,
        deployment: Deployment,
        exchange: Exchange,
        idle: float,
        secrets: Collection[str] = (),
    ) -> None:
        super().__init__(request, deployment, exchange.headers, idle, secrets)
        self._exchange = exchange
        self._reader = EventReader()
        self._finishes: dict[int, str] = {}
        self._done = False
        self._broken: AttemptFailed | None = None
        self._mould: Mould | None = None
        self._guesses = GUESSES

    async def aclose(self) -> None:
        """Hang up; a connection that has ended its answer is kept for the next one."""
        if self._done:
            self._exchange.linger(LINGER_SECONDS)
        else:
            self._exchange.close()

    async def _read(self, due: float) -> bytes:
        if self._broken:
            raise self._broken
        piece = await self._exchange.more(due)
        written: list[bytes] = []
        try:
            if piece:
                self._reader.feed(piece)
            else:
                self._reader.end()
            self._take_all(written)
            if self._done or not piece:
                self._end(self._finishes)
        except AttemptFailed as broken:
            if not any(written):
                raise
            self._broken, self._ended = broken, False  # what came before it was said
        return b"".join(written)

    def _take_all(self, written: list[bytes]) -> None:
        """Put into ``written`` what the provider says, as events of ours."""
        self._take_texts(written)
        for data in self._reader.take():
            if data.startswith(b"[DONE]"):
                self._done = True
                return
            written.append(self._take(data))
            self._take_texts(written)

    def _take_texts(self, written: list[bytes]) -> None:
        """Chunks that differ from an earlier one in their text alone: its bytes go on as they are."""
        if self._mould:
            texts, spelled = self._reader.take_texts(self._mould)
            if texts:
                written.append(self.shaper.add_texts(texts, spelled))

    def _remember(self, data: bytes, chunk: Json) -> None:
        """What stands around the text of a chunk that has nothing else to say."""
        self._guesses -= 1
        (choice,) = chunk["choices"]
        other = {**chunk, "choices": [{**choice, "delta": {**choice["delta"], "content": _MARK}}]}
        with suppress(TypeError, ValueError):
            before, found, after = data.rpartition(orjson.dumps(choice["delta"]["content"]))
            if found and orjson.loads(before + orjson.dumps(_MARK) + after) == other:
                self._mould = Mould(before, after)

    def _take(self, data: bytes) -> bytes:
        """One chunk of the provider's."""
        try:
            chunk = orjson.loads(data)
        except ValueError:
            chunk = _unusual(data)
        try:
            if chunk.get("error"):
                raise AttemptFailed(self._what_else(chunk))
            choices = chunk["choices"] or ()  # null beside the usage of some
            reason = None
            for choice in choices:
                if reason := choice.get("finish_reason"):
                    self._finishes[choice.get("index") or 0] = str(reason)
                delta = choice.get("delta")
                if delta and (len(delta) > 1 or type(delta.get("content")) is not str):
                    respell(delta)
            if usage := chunk.get("usage") or (chunk.get("x_groq") or _NOTHING).get("usage"):
                self._usage = normalise.usage_body(usage)
            if not choices:
                return b""
            events = self.shaper.events(chunk if self.shaper.head else whole_head(chunk))
            if self._guesses and not (reason or usage) and self.shaper.more_text(chunk):
                self._remember(data, chunk)
            return events
        except (AttributeError, KeyError, TypeError, ValueError):
            raise AttemptFailed(self._what_else(chunk)) from None

    def _what_else(self, chunk: Any) -> Failure:
        """What isn't a chunk of OpenAI's."""
        failure = failures.error_inside(chunk, self.headers, self._secrets) if isinstance(chunk, dict) else None
        return failure or Failure(Outcome.CUT, detail="the provider sent a chunk that can't be read")

    def _is_whole(self, error: Exception) -> bool:
        missing = self.shaper.spoken.keys() - self._finishes.keys()
        if isinstance(error, AttemptFailed) or missing or not self._finishes:
            return False
        self._end(self._finishes)
        return True


def _unusual(data: bytes) -> Any:
    """A chunk with half a surrogate pair in it, which orjson refuses. Raises :class:`AttemptFailed`."""
    try:
        return sse.loads(data)
    except ValueError:
        raise AttemptFailed(Failure(Outcome.CUT, detail="the provider sent a chunk that is not JSON")) from None
