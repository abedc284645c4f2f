"""The relay lane: one attempt at one deployment that speaks OpenAI's format, over a connection of our own.

LiteLLM's Router decides as it does for the other lane; only the call itself is ours. Nothing becomes a model on the
way: of an answer is read what must be known.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from yarl import URL

from lumni import sse
from lumni.catalogue.model import Deployment
from lumni.types import ChatRequest, Json, Outcome
from lumni.upstream import failures, normalise
from lumni.upstream.answer import WholeAnswer
from lumni.upstream.connections import Connections, Pool
from lumni.upstream.exchange import Exchange
from lumni.upstream.failures import AttemptFailed, Failure
from lumni.upstream.parameters import Supported
from lumni.upstream.refusals import Refusals
from lumni.upstream.rehearsal import Rehearsals, Script, payload
from lumni.upstream.relay_stream import RelayStream
from lumni.upstream.spelling import respell, whole_head
from lumni.upstream.stream import check_tools

_NOTHING: Json = {}


@dataclass(frozen=True, slots=True)
class _Callee:
    """All of a deployment's calls that no request changes."""

    script: Script
    supported: frozenset[str]
    pool: Pool
    url: URL
    headers: Mapping[str, str] = field(repr=False)
    head: bytes = field(repr=False)
    secrets: Sequence[str] = field(repr=False)


class RelayLane:
    """Calls providers in OpenAI's format. Owns the connections to them."""

    def __init__(self, rehearsals: Rehearsals, supported: Supported, refusals: Refusals) -> None:
        self._rehearsals = rehearsals
        self._supported = supported
        self._refusals = refusals
        self._connections = Connections()
        self._callees: dict[str, _Callee] = {}

    async def close(self) -> None:
        await self._connections.close()

    async def complete(
        self, request: ChatRequest, deployment: Deployment, params: Mapping[str, Any], seconds: float
    ) -> WholeAnswer:
        """One whole answer within ``seconds``. Raises :class:`AttemptFailed`."""
        callee = self._callee(deployment, params)
        try:
            async with asyncio.timeout(seconds):
                exchange = await self._call(request, deployment, callee)
                with closing(exchange):
                    said = await exchange.whole()
        except Exception as error:
            raise AttemptFailed(failures.read(error, callee.secrets)) from error
        body = _completion(said, exchange.headers, callee.secrets)
        for choice in body["choices"]:
            check_tools(request, choice["message"].get("tool_calls") or (), choice["finish_reason"])
        return WholeAnswer(deployment, body, normalise.usage_of(body["usage"]), exchange.headers, "relay")

    async def open(
        self, request: ChatRequest, deployment: Deployment, params: Mapping[str, Any], seconds: float, idle: float
    ) -> RelayStream:
        """A stream with its first content, within ``seconds``; ``idle`` bounds later silences.

        Raises :class:`AttemptFailed`, also for a stream that ends before it said anything.
        """
        callee = self._callee(deployment, params)
        try:
            async with asyncio.timeout(seconds):
                exchange = await self._call(request, deployment, callee)
                stream = RelayStream(request, deployment, exchange, idle, callee.secrets)
                try:
                    await stream.commit()
                except BaseException:
                    exchange.close()
                    raise
        except Exception as error:
            raise AttemptFailed(failures.read(error, callee.secrets)) from error
        return stream

    def _callee(self, deployment: Deployment, params: Mapping[str, Any]) -> _Callee:
        callee = self._callees.get(deployment.id)
        if callee is None:
            callee = self._callees[deployment.id] = self._prepared(deployment, params)
        return callee

    def _prepared(self, deployment: Deployment, params: Mapping[str, Any]) -> _Callee:
        secrets = failures.secrets_in(params)
        script = self._rehearsals.script(deployment)
        if script is None:
            raise AttemptFailed(Failure(Outcome.ERROR, detail="nobody knows how to call it in OpenAI's format"))
        try:
            url = URL(script.url)
            pool = self._connections.of(f"{deployment.provider}/{deployment.account}", url)
            extra = params.get("extra_headers") or _NOTHING
            headers = {**script.headers, **{str(name).lower(): str(value) for name, value in extra.items()}}
            head = pool.head(url, headers)
        except ValueError as error:
            raise AttemptFailed(failures.read(error, secrets)) from error
        return _Callee(script, self._supported.by(deployment), pool, url, headers, head, secrets)

    async def _call(self, request: ChatRequest, deployment: Deployment, callee: _Callee) -> Exchange:
        """An answer with status 200, whose body is still to be read."""
        head = callee.head
        if request.trace:
            head = callee.pool.head(callee.url, {**callee.headers, "traceparent": request.trace.header})

        async def ask(refused: frozenset[str]) -> Exchange:
            body = payload(callee.script, deployment, request.body, callee.supported, refused, stream=request.stream)
            exchange = await callee.pool.post(head, sse.dumps(body))
            try:
                if await exchange.begin() == 200:
                    return exchange
                said = await exchange.whole()
            except BaseException:
                exchange.close()
                raise
            # A redirect, too: it would take the key to somebody else.
            raise AttemptFailed(failures.refusal(exchange.status, exchange.headers, said, callee.secrets))

        return await self._refusals.spare(request, deployment, ask)


def _completion(said: bytes, headers: Mapping[str, str], secrets: Collection[str]) -> Json:
    """The provider's answer as OpenAI's ``chat.completion``. Raises :class:`AttemptFailed` for anything else."""
    try:
        body = sse.loads(said)
        if failure := failures.error_inside(body, headers, secrets):
            raise AttemptFailed(failure)
        for choice in body["choices"]:
            respell(choice["message"])
        if not body["choices"]:
            raise AttemptFailed(Failure(Outcome.UNAVAILABLE, detail="the provider sent an answer without choices"))
        return normalise.completion(whole_head(body))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        detail = "the provider sent an answer that can't be read"
        raise AttemptFailed(Failure(Outcome.UNAVAILABLE, 200, detail=detail, headers=headers)) from error
