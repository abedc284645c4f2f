"""The translated lane: one attempt at one deployment through ``litellm.acompletion``."""

import asyncio
import math
from collections.abc import Collection, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

from lumni.catalogue.model import Deployment
from lumni.types import ChatRequest, Outcome, Trace
from lumni.upstream import failures, normalise, parameters
from lumni.upstream.answer import WholeAnswer
from lumni.upstream.failures import AttemptFailed, Failure
from lumni.upstream.parameters import Supported
from lumni.upstream.refusals import Refusals
from lumni.upstream.stream import ProviderStream, check_tools
from lumni.upstream.tap import StreamTap

# Retries are the journey's. LiteLLM's MCP gateway, which every request with tools loads, needs a package of the proxy.
GUARDS = {"max_retries": 0, "num_retries": 0, "_skip_mcp_handler": True}


class TranslatedLane:
    """LiteLLM translates the request for the provider and the answer back."""

    def __init__(self, litellm: Any, supported: Supported, refusals: Refusals) -> None:
        self._litellm = litellm
        self._supported = supported
        self._refusals = refusals
        self._warm: asyncio.Future[None] | None = None

    async def warm_up(self) -> None:
        """Load what LiteLLM's first answer and first stream would, once: up to 50 MiB and a second of work.

        Most of that is done in a thread, so that others are served meanwhile. One that only relays needs none of it.
        """
        if self._warm is None:
            self._warm = asyncio.ensure_future(_warm_up(self._litellm))
        await asyncio.shield(self._warm)

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
        body["model"] = body["model"].removeprefix(f"{params['model'].split('/', 1)[0]}/")  # put before it for some
        if not body["choices"]:
            raise AttemptFailed(Failure(Outcome.UNAVAILABLE, detail="the provider sent an answer without choices"))
        for choice in body["choices"]:
            check_tools(request, choice["message"].get("tool_calls") or (), choice["finish_reason"])
        usage = normalise.usage_of(dumped.get("usage") or {})
        return WholeAnswer(deployment, body, usage, headers_of(response))

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
        await self.warm_up()
        provider, supported = deployment.model.split("/", 1)[0], self._supported.by(deployment)
        params = _traced(params, request.trace)

        async def ask(refused: frozenset[str]) -> Any:
            arguments = parameters.for_deployment(request.body, supported, refused, provider)
            given = {**params, **arguments, **GUARDS, "messages": request.messages}
            try:
                return await self._litellm.acompletion(**given)
            except Exception as error:
                raise AttemptFailed(failures.read(error, failures.secrets_in(params))) from error

        return await self._refusals.spare(request, deployment, ask)


async def _warm_up(litellm: Any) -> None:
    await asyncio.to_thread(_import_rest)
    call = {"model": "lumni-lab/echo", "messages": [{"role": "user", "content": "warm up"}]}
    await litellm.acompletion(**call)
    async for _ in await litellm.acompletion(**call, stream=True):
        pass


def _import_rest() -> None:
    import_module("openai.resources")
    import_module("litellm.main").encoding  # noqa: B018  (made when it is first asked for)


class TranslatedStream(ProviderStream):
    """LiteLLM's stream as OpenAI's events."""

    lane = "translated"

    def __init__(
        self, request: ChatRequest, deployment: Deployment, wrapper: Any, idle: float, secrets: Collection[str] = ()
    ) -> None:
        super().__init__(request, deployment, headers_of(wrapper), idle, secrets)
        self._wrapper = wrapper
        self._tap = StreamTap(wrapper)

    async def aclose(self) -> None:
        with suppress(Exception):
            await self._wrapper.aclose()

    async def _read(self, due: float) -> bytes:
        try:
            async with asyncio.timeout_at(None if due == math.inf else due):
                chunk = await anext(self._wrapper)
        except StopAsyncIteration:
            self._end(self._tap.reasons())
            return b""
        dumped = chunk.model_dump()
        if dumped.get("usage"):
            self._usage = normalise.usage_body(dumped["usage"])
        return self.shaper.events(dumped)


def _traced(params: Mapping[str, Any], trace: Trace | None) -> Mapping[str, Any]:
    """With the request's place in its trace, for a provider that is part of it."""
    if trace is None:
        return params
    return {**params, "extra_headers": {**(params.get("extra_headers") or {}), "traceparent": trace.header}}


def headers_of(response: Any) -> Mapping[str, str]:
    """The provider's headers, as LiteLLM keeps them: those it doesn't know carry the prefix ``llm_provider-``."""
    return (getattr(response, "_hidden_params", None) or {}).get("additional_headers") or {}
