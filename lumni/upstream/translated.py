"""The translated lane: one attempt at one deployment through ``litellm.acompletion``."""

import asyncio
import dataclasses
import re
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
from typing import Any

import orjson

from lumni.catalogue.model import Deployment
from lumni.types import ChatRequest, Json, Outcome, Usage
from lumni.upstream import failures, normalise, parameters
from lumni.upstream.answer import WholeAnswer
from lumni.upstream.chunks import ChunkShaper
from lumni.upstream.failures import AttemptFailed, Failure
from lumni.upstream.refusals import Refusals
from lumni.upstream.tap import StreamTap
from lumni.upstream.toolcheck import broken_tool_call

_PICTURE = re.compile(rb'data:[^"]*')
# Retries are the journey's. LiteLLM's MCP gateway, which every request with tools loads, needs a package of the proxy.
_GUARDS = {"max_retries": 0, "num_retries": 0, "_skip_mcp_handler": True}


class TranslatedLane:
    """LiteLLM translates the request for the provider and the answer back. Holds what providers refused lately."""

    def __init__(self, litellm: Any) -> None:
        self._litellm = litellm
        self._supported: dict[str, frozenset[str]] = {}
        self._refusals = Refusals(time.monotonic)

    async def complete(
        self, request: ChatRequest, deployment: Deployment, params: Mapping[str, Any], seconds: float
    ) -> WholeAnswer:
        """One whole answer within ``seconds``. Raises :class:`AttemptFailed`."""
        try:
            async with asyncio.timeout(seconds):
                response = await self._call(request, deployment, {**params, "timeout": seconds})
            dumped = response.model_dump()
        except Exception as error:
            raise AttemptFailed(failures.read(error, failures.secrets_in(params))) from error
        body = normalise.completion(dumped)
        if not body["choices"]:
            raise AttemptFailed(Failure(Outcome.UNAVAILABLE, detail="the provider sent an answer without choices"))
        for choice in body["choices"]:
            check_tools(request, choice["message"].get("tool_calls") or (), choice["finish_reason"])
        return WholeAnswer(deployment, body, normalise.usage_of(dumped.get("usage") or {}), headers_of(response))

    async def open(
        self, request: ChatRequest, deployment: Deployment, params: Mapping[str, Any], seconds: float, idle: float
    ) -> "TranslatedStream":
        """A stream with its first content, within ``seconds``; ``idle`` bounds later silences.

        Raises :class:`AttemptFailed`, also for a stream that ends before it said anything.
        """
        try:
            async with asyncio.timeout(seconds):
                options = {"stream": True, "stream_options": {"include_usage": True}, "timeout": max(seconds, idle)}
                wrapper = await self._call(request, deployment, {**params, **options})
                stream = TranslatedStream(request, deployment, wrapper, idle, failures.secrets_in(params))
                try:
                    await stream.commit()
                except BaseException:
                    await stream.aclose()
                    raise
        except Exception as error:
            raise AttemptFailed(failures.read(error, failures.secrets_in(params))) from error
        return stream

    async def _call(self, request: ChatRequest, deployment: Deployment, params: Mapping[str, Any]) -> Any:
        """Ask; if the provider names optional parameters that it refuses, ask again without them."""
        refused = self._refusals.of(deployment.id)
        supported, provider = self._supported_by(deployment), deployment.model.split("/", 1)[0]
        for _ in range(3):
            arguments = parameters.for_deployment(request.body, supported, refused, provider)
            try:
                return await self._litellm.acompletion(
                    **{**params, **arguments, **_GUARDS, "messages": request.messages}
                )
            except Exception as error:
                failure = failures.read(error)
                named: set[str] = set()
                if failure.outcome is Outcome.BAD_REQUEST:
                    named = parameters.refused(request.body, failure.detail) - refused
                if not named:
                    raise
                if parameters.is_lasting(failure.detail):
                    self._refusals.learn(deployment.id, named)
                refused |= named
        raise AttemptFailed(Failure(Outcome.BAD_REQUEST, 400, detail="the provider keeps refusing parameters"))

    def _supported_by(self, deployment: Deployment) -> frozenset[str]:
        if deployment.id not in self._supported:
            provider = deployment.model.split("/", 1)[0]
            listed = self._litellm.get_supported_openai_params(model=deployment.model_id, custom_llm_provider=provider)
            self._supported[deployment.id] = frozenset(listed or parameters.STANDARD)
        return self._supported[deployment.id]


class TranslatedStream:
    """LiteLLM's stream as OpenAI chunks. See :class:`lumni.upstream.answer.StreamedAnswer`."""

    def __init__(
        self, request: ChatRequest, deployment: Deployment, wrapper: Any, idle: float, secrets: Collection[str] = ()
    ) -> None:
        self.deployment = deployment
        self.headers = headers_of(wrapper)
        self._usage: Json = {}
        self.finish_reason: str | None = None
        self.shaper = ChunkShaper()
        self._request = request
        self._wrapper = wrapper
        self._tap = StreamTap(wrapper)
        self._idle = idle
        self._secrets = secrets
        self._head: list[Json] = []
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
        while not self._ended and not any(spoken.text or spoken.tools for spoken in self.shaper.spoken.values()):
            self._head.extend(await self._read())
        if not self._head:
            raise AttemptFailed(Failure(Outcome.UNAVAILABLE, detail="the stream ended before it said anything"))

    async def __aiter__(self) -> AsyncIterator[Json]:
        """Raises :class:`AttemptFailed` with ``CUT`` when the stream breaks off."""
        for chunk in self._head:
            yield chunk
        while not self._ended:
            try:
                async with asyncio.timeout(self._idle):
                    chunks = await self._read()
            except asyncio.CancelledError:
                if failures.is_cancelled():
                    raise
                raise AttemptFailed(Failure(Outcome.CUT, detail="the provider's client gave up")) from None
            except Exception as error:
                failure = failures.read(error, self._secrets)
                detail = "the stream fell silent" if failure.outcome is Outcome.TIMEOUT else failure.detail
                raise AttemptFailed(dataclasses.replace(failure, outcome=Outcome.CUT, detail=detail)) from error
            for chunk in chunks:
                yield chunk

    async def aclose(self) -> None:
        """Hang up. A stream that breaks while closing is closed all the same."""
        with suppress(Exception):
            await self._wrapper.aclose()

    async def _read(self) -> list[Json]:
        """The next of LiteLLM's chunks in OpenAI's shape; at the end the finish chunks."""
        try:
            chunk = await anext(self._wrapper)
        except StopAsyncIteration:
            return self._end()
        dumped = chunk.model_dump()
        if dumped.get("usage"):
            self._usage = normalise.usage_body(dumped["usage"])
        return list(self.shaper.feed(dumped))

    def _end(self) -> list[Json]:
        self._ended = True
        reasons = self._tap.reasons()
        if not reasons:
            raise AttemptFailed(Failure(Outcome.CUT, detail="the stream ended without a finish reason"))
        # Before the finish: a repetition that mends the call still has to end the stream.
        for index, spoken in self.shaper.spoken.items():
            calls = [{"function": {"name": t.name, "arguments": t.arguments}} for t in spoken.tools.values()]
            check_tools(self._request, calls, reasons.get(index))
        chunks = list(self.shaper.finish(reasons))
        self.finish_reason = self.shaper.spoken[min(self.shaper.spoken)].finish
        return chunks


def headers_of(response: Any) -> Mapping[str, str]:
    """The provider's headers, as LiteLLM keeps them: those it doesn't know carry the prefix ``llm_provider-``."""
    return (getattr(response, "_hidden_params", None) or {}).get("additional_headers") or {}


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
