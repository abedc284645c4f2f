"""Watching a provider's raw stream, below LiteLLM's wrapper, for what the wrapper hides.

LiteLLM invents a ``stop`` for a stream that ended without one, skips chunks that are not JSON, keeps the finish reason
of one choice of several, and takes an answer that contains the text ``[DONE]`` for the end of the stream.
"""

import inspect
from collections.abc import AsyncIterator
from typing import Any

import orjson

from lumni.types import Outcome
from lumni.upstream.failures import AttemptFailed, Failure


class StreamTap:
    """``finishes`` maps a choice's index to the finish reason that the provider really sent."""

    def __init__(self, wrapper: Any) -> None:
        from litellm.llms.base_llm.base_model_iterator import BaseModelResponseIterator
        from openai import AsyncStream

        self.finishes: dict[int, str] = {}
        self._wrapper = wrapper
        source = wrapper.completion_stream
        if isinstance(source, AsyncStream) or inspect.isasyncgen(source):
            wrapper.completion_stream = self._objects(source)
        elif isinstance(source, BaseModelResponseIterator):
            source.streaming_response = self._lines(source.streaming_response)

    def reasons(self) -> dict[int, str]:
        """Finish reasons by choice; empty when the stream broke off."""
        if self.finishes:
            return self.finishes
        seen = self._wrapper.received_finish_reason
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

    def _look_at(self, data: str) -> None:
        try:
            chunk = orjson.loads(data)
        except ValueError:
            raise AttemptFailed(Failure(Outcome.CUT, detail="the provider sent a chunk that is not JSON")) from None
        for choice in chunk.get("choices") or () if isinstance(chunk, dict) else ():
            if choice.get("finish_reason"):
                self.finishes[choice.get("index") or 0] = choice["finish_reason"]
