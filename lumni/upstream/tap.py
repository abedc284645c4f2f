"""Watching a provider's raw stream, below LiteLLM's wrapper, for what the wrapper hides.

LiteLLM invents a ``stop`` for a stream that ended without one, skips chunks that are not JSON, keeps the finish reason
of one choice of several, and takes an answer that contains the text ``[DONE]`` for the end of the stream.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson

from lumni.types import Outcome
from lumni.upstream.failures import AttemptFailed, Failure


class StreamTap:
    """``finishes`` maps a choice's index to the finish reason that the provider really sent."""

    def __init__(self, wrapper: Any) -> None:
        self.finishes: dict[int, str] = {}
        self._wrapper = wrapper
        self._tapped = False
        if wrapper.completion_stream is not None:
            wrapper.completion_stream = self._tap(wrapper.completion_stream)
        elif wrapper.make_call is not None:
            wrapper.make_call = self._later(wrapper.make_call)

    def _later(self, make_call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Gemini's call is made only when the first chunk is asked for."""

        async def call(**arguments: Any) -> Any:
            return self._tap(await make_call(**arguments))

        return call

    def _tap(self, source: Any) -> Any:
        """The same source, watched, if it is of a kind that is known."""
        from litellm.llms.base_llm.base_model_iterator import BaseModelResponseIterator
        from litellm.llms.vertex_ai.gemini.vertex_and_google_ai_studio_gemini import ModelResponseIterator
        from openai import AsyncStream

        self._tapped = True
        if isinstance(source, AsyncStream) or inspect.isasyncgen(source):
            return self._objects(source)
        if isinstance(source, BaseModelResponseIterator):
            source.streaming_response = self._lines(source.streaming_response)
        elif isinstance(source, ModelResponseIterator):
            source.chunk_parser = self._candidates(source.chunk_parser)
        else:
            self._tapped = False
        return source

    def reasons(self) -> dict[int, str]:
        """Finish reasons by choice; empty when the stream broke off."""
        if self._tapped:
            return self.finishes
        # Text and a finish reason in one chunk: LiteLLM calls that reason intermittent.
        seen = self._wrapper.received_finish_reason or self._wrapper.intermittent_finish_reason
        return {0: str(seen)} if seen else {}

    async def _objects(self, source: Any) -> AsyncIterator[Any]:
        """OpenAI's own client, and the lab: chunks are objects."""
        from openai import AsyncStream

        try:
            async for chunk in source:
                for choice in chunk.choices or ():
                    if choice.finish_reason:
                        self.finishes[choice.index] = choice.finish_reason
                yield chunk
        finally:
            await (source.close() if isinstance(source, AsyncStream) else source.aclose())

    async def _lines(self, source: Any) -> AsyncIterator[Any]:
        """LiteLLM's client for the other providers that speak OpenAI's format: chunks are lines."""
        async for line in source:
            data = line[5:].strip() if isinstance(line, str) and line.startswith("data:") else "[DONE]"
            if data == "[DONE]":
                yield line
            else:
                self._look_at(data)
                # The same JSON, in a spelling that LiteLLM doesn't take for the end of the stream.
                yield line.replace("[DONE]", r"\u005bDONE]")

    def _candidates(self, parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Gemini's own format. LiteLLM reads a ``stop`` out of every chunk that has no finish reason."""

        def parse_and_look(chunk: Any) -> Any:
            parsed = parse(chunk)
            candidates = chunk.get("candidates") or ()
            ended = {one.get("index") or 0 for one in candidates if one.get("finishReason")}
            for choice in parsed.choices if parsed is not None else ():
                if choice.finish_reason and (choice.index in ended or not candidates):
                    self.finishes[choice.index] = choice.finish_reason
            return parsed

        return parse_and_look

    def _look_at(self, data: str) -> None:
        try:
            chunk = orjson.loads(data)
        except ValueError:
            raise AttemptFailed(Failure(Outcome.CUT, detail="the provider sent a chunk that is not JSON")) from None
        for choice in chunk.get("choices") or () if isinstance(chunk, dict) else ():
            if choice.get("finish_reason"):
                self.finishes[choice.get("index") or 0] = choice["finish_reason"]
