"""The upstream as the pipeline sees it: send a request to ranked deployments, get an answer."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from lumni import sse
from lumni.catalogue.model import Catalogue, Deployment
from lumni.errors import LumniError
from lumni.settings import Settings
from lumni.types import Attempt, ChatRequest, Json, Lane, Usage
from lumni.upstream.answer import StreamedAnswer, WholeAnswer
from lumni.upstream.failures import AttemptFailed, Failure
from lumni.upstream.journey import Budget, Gate, Journey
from lumni.upstream.parameters import Supported
from lumni.upstream.refusals import Refusals
from lumni.upstream.rehearsal import Rehearsals
from lumni.upstream.relay import RelayLane
from lumni.upstream.router import build_router
from lumni.upstream.runtime import close_clients, load_litellm
from lumni.upstream.splice import Diverged, Splice
from lumni.upstream.stream import ProviderStream
from lumni.upstream.translated import TranslatedLane


class Upstream:
    """One Router a process. :meth:`start` imports LiteLLM, which takes seconds, so it is done once, before serving."""

    def __init__(self, catalogue: Catalogue, settings: Settings) -> None:
        self._catalogue = catalogue
        self._settings = settings
        self._router: Any = None
        self._params: dict[str, Mapping[str, Any]] = {}

    async def start(self) -> None:
        await asyncio.to_thread(self._load)
        if not all(self._relayed(deployment) for deployment in self._catalogue.enabled):
            await self._translated.warm_up()

    def _load(self) -> None:
        litellm = load_litellm()
        self._router = build_router(litellm, self._catalogue, self._settings)
        supported, refusals = Supported(litellm), Refusals(time.monotonic)
        self._rehearsals = Rehearsals(litellm, supported)
        self._translated = TranslatedLane(litellm, supported, refusals)
        self._relay = RelayLane(self._rehearsals, supported, refusals)
        for deployment in self._catalogue.enabled:
            if deployment.lane != "translated":
                self._rehearsals.script(deployment, forced=deployment.lane == "relay")

    async def close(self) -> None:
        """Close the providers' connections. Does nothing if the start failed before there were any."""
        if self._router is None:
            return
        self._router.discard()
        await self._relay.close()
        await close_clients(load_litellm())

    def lane(self, request: ChatRequest, deployment: Deployment) -> Lane:
        """Who carries the request to this deployment. ``relay``: nobody translates anything."""
        if not self._relayed(deployment):
            return "translated"
        relayed = deployment.lane == "relay" or self._rehearsals.is_plain(deployment, request)
        return "relay" if relayed else "translated"

    def _relayed(self, deployment: Deployment) -> bool:
        """Whether anything may go to it as it came."""
        return deployment.lane != "translated" and self._rehearsals.script(deployment) is not None

    async def send(
        self, request: ChatRequest, candidates: Sequence[Deployment], gate: Gate, trail: list[Attempt]
    ) -> WholeAnswer | StreamedAnswer:
        """The first candidate's answer, or the next one's if it fails. Raises :class:`LumniError`."""
        settings = self._settings
        budget = Budget(settings.num_retries + 1, settings.max_attempts, self._seconds(request))
        answer: Any = await self._travel(request, candidates, gate, trail, budget, request.deadline)
        return ResumingStream(self, request, answer, gate, trail) if request.stream else answer

    async def reopen(
        self, request: ChatRequest, deployment: Deployment, gate: Gate, trail: list[Attempt]
    ) -> ProviderStream:
        """The same request at the same deployment once more, for a stream that broke off.

        It counts as an attempt of the request. The time budget ended with the stream's first content; this has its own.
        """
        budget = Budget(1, self._settings.max_attempts, self._seconds(request))
        deadline = asyncio.get_running_loop().time() + budget.seconds
        stream: ProviderStream = await self._travel(request, [deployment], gate, trail, budget, deadline)
        return stream

    def _seconds(self, request: ChatRequest) -> float:
        """How long one call may take: to its end, or to a stream's first content."""
        settings = self._settings
        if request.stream:
            return min(settings.attempt_timeout, settings.first_token_timeout)
        return settings.attempt_timeout

    async def _travel(
        self,
        request: ChatRequest,
        candidates: Sequence[Deployment],
        gate: Gate,
        trail: list[Attempt],
        budget: Budget,
        deadline: float,
    ) -> Any:
        """A whole answer or a :class:`ProviderStream`, as the request asks."""
        lanes: dict[str, Lane] = {}

        async def attempt(deployment: Deployment, seconds: float) -> WholeAnswer | ProviderStream:
            lane = lanes[deployment.id] = self.lane(request, deployment)
            carrier = self._relay if lane == "relay" else self._translated
            params = self._params.get(deployment.id) or await self._ask_params(deployment)
            if request.stream:
                return await carrier.open(request, deployment, params, seconds, self._settings.stream_idle_timeout)
            return await carrier.complete(request, deployment, params, seconds)

        return await Journey(self._router, request, candidates, gate, attempt, trail, budget, lanes).run(deadline)

    async def _ask_params(self, deployment: Deployment) -> Mapping[str, Any]:
        """The Router's parameters of a deployment. By its id it always chooses the same: once is enough to ask."""
        chosen = await self._router.async_get_available_deployment(model=deployment.id, messages=[], request_kwargs={})
        params: Mapping[str, Any] = chosen["litellm_params"]
        self._params[deployment.id] = params
        return params


class ResumingStream:
    """A stream that, once cut, is asked for again and goes on if the second answer starts like the first."""

    def __init__(
        self, upstream: Upstream, request: ChatRequest, stream: ProviderStream, gate: Gate, trail: list[Attempt]
    ) -> None:
        self.deployment = stream.deployment
        self.lane = stream.lane
        self.headers = stream.headers
        self._shaped = stream  # its ids, and its memory of what was said, stay those of the answer
        self._upstream = upstream
        self._request = request
        self._stream = stream
        self._gate = gate
        self._trail = trail
        self._rest: AsyncIterator[bytes] | None = None  # of the second answer

    @property
    def usage(self) -> Usage:
        return self._stream.usage

    @property
    def usage_body(self) -> Json:
        return self._stream.usage_body

    @property
    def finish_reason(self) -> str | None:
        return self._shaped.finish_reason or self._stream.finish_reason

    @property
    def closing(self) -> list[Json]:
        return self._shaped.closing

    @property
    def resumed(self) -> bool:
        return self._stream is not self._shaped

    def __aiter__(self) -> "ResumingStream":
        """The answer's events. Raises :class:`AttemptFailed` when the stream broke off for good."""
        return self

    async def __anext__(self) -> bytes:
        if self._rest is None:
            try:
                return await anext(self._shaped)
            except AttemptFailed as cut:
                await self._shaped.aclose()
                await self._fell(cut.failure)
                self._rest = self._resume(self._shaped, cut)
        return await anext(self._rest)

    async def _resume(self, first: ProviderStream, cut: AttemptFailed) -> AsyncIterator[bytes]:
        try:
            second = await self._upstream.reopen(self._request, self.deployment, self._gate, self._trail)
        except LumniError:
            raise cut from None
        self._stream = second
        splice = Splice(first.shaper.spoken)
        try:
            async for events in second:
                for chunk in sse.chunks_in(events):
                    for rest in splice.feed(chunk):
                        yield first.shaper.events(rest)
            splice.finish()
        except Diverged:
            raise cut from None
        except AttemptFailed as again:
            await self._fell(again.failure)
            raise cut from None
        first.close_with({i: s.finish or "stop" for i, s in second.shaper.spoken.items()})

    async def _fell(self, failure: Failure) -> None:
        """The attempt that seemed to have gone well broke off."""
        await self._gate.failed(self.deployment, failure)
        self._trail[-1] = dataclasses.replace(
            self._trail[-1], outcome=failure.outcome, status=failure.status, reason=failure.detail
        )

    async def aclose(self) -> None:
        """Hang up on the provider."""
        with suppress(Exception):
            await self._stream.aclose()
