"""The relay lane: one attempt at one deployment that speaks OpenAI's format, over a connection of our own.

LiteLLM's Router decides as it does for the other lane; only the call itself is ours. Nothing becomes a model on the
way: of an answer is read what must be known, and a stream's text goes from the provider's event into the client's.
"""

import asyncio
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

import aiohttp
import orjson

from lumni import sse
from lumni.catalogue.model import Deployment
from lumni.types import ChatRequest, Json, Outcome
from lumni.upstream import failures, normalise
from lumni.upstream.answer import WholeAnswer
from lumni.upstream.connections import Connections
from lumni.upstream.events import EventReader
from lumni.upstream.failures import AttemptFailed, Failure
from lumni.upstream.parameters import Supported
from lumni.upstream.refusals import Refusals
from lumni.upstream.rehearsal import Rehearsals, payload
from lumni.upstream.stream import ProviderStream, check_tools

_NOTHING: Json = {}
_MARK = "\ue000"
GUESSES = 3
"""Chunks of a stream from which we try to learn what all of its chunks have in common."""
LINGER_SECONDS = 2.0
"""How long a connection may take to end an answer that is already whole; then it isn't kept."""


class RelayLane:
    """Calls providers in OpenAI's format. Owns the connections to them."""

    def __init__(self, rehearsals: Rehearsals, supported: Supported, refusals: Refusals) -> None:
        self._rehearsals = rehearsals
        self._supported = supported
        self._refusals = refusals
        self._connections = Connections()

    async def close(self) -> None:
        await self._connections.close()

    async def complete(
        self, request: ChatRequest, deployment: Deployment, params: Mapping[str, Any], seconds: float
    ) -> WholeAnswer:
        """One whole answer within ``seconds``. Raises :class:`AttemptFailed`."""
        secrets = failures.secrets_in(params)
        try:
            async with asyncio.timeout(seconds):
                response = await self._call(request, deployment, params, secrets)
                async with response:
                    said = await response.read()
        except Exception as error:
            raise AttemptFailed(failures.read(error, secrets)) from error
        headers = headers_of(response)
        body = _completion(said, headers, secrets)
        for choice in body["choices"]:
            check_tools(request, choice["message"].get("tool_calls") or (), choice["finish_reason"])
        return WholeAnswer(deployment, body, normalise.usage_of(body["usage"]), headers, "relay")

    async def open(
        self, request: ChatRequest, deployment: Deployment, params: Mapping[str, Any], seconds: float, idle: float
    ) -> "RelayStream":
        """A stream with its first content, within ``seconds``; ``idle`` bounds later silences.

        Raises :class:`AttemptFailed`, also for a stream that ends before it said anything.
        """
        secrets = failures.secrets_in(params)
        try:
            async with asyncio.timeout(seconds):
                response = await self._call(request, deployment, params, secrets)
                stream = RelayStream(request, deployment, response, idle, secrets)
                try:
                    await stream.commit()
                except BaseException:
                    response.close()
                    raise
        except Exception as error:
            raise AttemptFailed(failures.read(error, secrets)) from error
        return stream

    async def _call(
        self, request: ChatRequest, deployment: Deployment, params: Mapping[str, Any], secrets: Collection[str]
    ) -> aiohttp.ClientResponse:
        """An answer with status 200, whose body is still to be read."""
        script = self._rehearsals.script(deployment)
        if script is None:
            raise AttemptFailed(Failure(Outcome.ERROR, detail="nobody knows how to call it in OpenAI's format"))
        session, supported = self._connections.of(deployment), self._supported.by(deployment)
        extra = params.get("extra_headers") or _NOTHING
        headers = {**script.headers, **{str(name).lower(): str(value) for name, value in extra.items()}}

        async def ask(refused: frozenset[str]) -> aiohttp.ClientResponse:
            body = payload(script, deployment, request.body, supported, refused, stream=request.stream)
            return await _post(session, script.url, headers, body, secrets)

        return await self._refusals.spare(request, deployment, ask)


async def _post(
    session: aiohttp.ClientSession, url: str, headers: Mapping[str, str], body: Json, secrets: Collection[str]
) -> aiohttp.ClientResponse:
    # A redirect would take the key to somebody else.
    response = await session.post(url, data=sse.dumps(body), headers=headers, allow_redirects=False)
    if response.status == 200:
        return response
    async with response:
        raise AttemptFailed(failures.refusal(response.status, headers_of(response), await response.read(), secrets))


def headers_of(response: aiohttp.ClientResponse) -> dict[str, str]:
    """By their names in lower case."""
    return {name.lower(): value for name, value in response.headers.items()}


def _completion(said: bytes, headers: Mapping[str, str], secrets: Collection[str]) -> Json:
    """The provider's answer as OpenAI's ``chat.completion``. Raises :class:`AttemptFailed` for anything else."""
    try:
        body = sse.loads(said)
        if failure := failures.error_inside(body, headers, secrets):
            raise AttemptFailed(failure)
        for choice in body["choices"]:
            _respell(choice["message"])
        if not body["choices"]:
            raise AttemptFailed(Failure(Outcome.UNAVAILABLE, detail="the provider sent an answer without choices"))
        return normalise.completion(_whole_head(body))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        detail = "the provider sent an answer that can't be read"
        raise AttemptFailed(Failure(Outcome.UNAVAILABLE, 200, detail=detail, headers=headers)) from error


def _whole_head(body: Json) -> Json:
    """With what OpenAI requires of an answer, should the provider have left it out."""
    if body.get("id") and body.get("created"):
        return body
    return {
        **body,
        "id": body.get("id") or f"chatcmpl-{uuid4().hex}",
        "created": body.get("created") or int(time.time()),
    }


def _respell(message: Json) -> None:
    """As LiteLLM spells it: ``reasoning`` (Groq, Cerebras, OpenRouter) and Mistral's lists of parts."""
    content = message.get("content")
    if isinstance(content, list):
        message["content"] = "".join(part.get("text") or "" for part in content if part.get("type") == "text")
        thoughts = [part for part in content if part.get("type") == "thinking"]
        if thought := "".join(text.get("text") or "" for part in thoughts for text in part.get("thinking") or ()):
            message["reasoning_content"] = thought
    if "reasoning" in message:
        message.setdefault("reasoning_content", message.pop("reasoning"))
    message.pop("reasoning_details", None)


class RelayStream(ProviderStream):
    """A provider's events as ours."""

    lane = "relay"

    def __init__(
        self,
        request: ChatRequest,
        deployment: Deployment,
        response: aiohttp.ClientResponse,
        idle: float,
        secrets: Collection[str] = (),
    ) -> None:
        super().__init__(request, deployment, headers_of(response), idle, secrets)
        self._response = response
        self._reader = EventReader()
        self._finishes: dict[int, str] = {}
        self._done = False
        self._broken: AttemptFailed | None = None
        self._around: tuple[()] | tuple[bytes, bytes] = ()
        self._guesses = GUESSES

    async def aclose(self) -> None:
        """Hang up; a connection that has ended its answer is kept for the next one."""
        content = self._response.content
        if self._done and not content.is_eof():
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self._response.close)
        else:
            self._response.close()

    async def _read(self) -> bytes:
        if self._broken:
            raise self._broken
        piece = await self._response.content.readany()
        written = []
        try:
            for data in self._reader.feed(piece) if piece else self._reader.end():
                if data == b"[DONE]":
                    self._done = True
                    break
                written.append(self._again(data) or self._take(data))
            if self._done or not piece:
                self._end(self._finishes)
        except AttemptFailed as broken:
            if not any(written):
                raise
            self._broken, self._ended = broken, False  # what came before it was said
        return b"".join(written)

    def _again(self, data: bytes) -> bytes:
        """A chunk that differs from an earlier one in its text alone, as most do: its bytes go on as they are.

        What stands around the text is the same, and what stands there is one string of JSON: so nothing else is said.
        """
        if not self._around or not (data.startswith(self._around[0]) and data.endswith(self._around[1])):
            return b""
        written = data[len(self._around[0]) : len(data) - len(self._around[1])]
        try:
            text = orjson.loads(written)
        except ValueError:
            return b""
        return self.shaper.add_text(text, written) if type(text) is str and text else b""

    def _remember(self, data: bytes, chunk: Json) -> None:
        """What stands around the text of a chunk that has nothing else to say."""
        self._guesses -= 1
        (choice,) = chunk["choices"]
        other = {**chunk, "choices": [{**choice, "delta": {**choice["delta"], "content": _MARK}}]}
        with suppress(TypeError, ValueError):
            before, found, after = data.rpartition(orjson.dumps(choice["delta"]["content"]))
            if found and orjson.loads(before + orjson.dumps(_MARK) + after) == other:
                self._around = (before, after)

    def _take(self, data: bytes) -> bytes:
        """One chunk of the provider's."""
        try:
            chunk = orjson.loads(data)
        except ValueError:
            chunk = _unusual(data)
        try:
            if chunk.get("error"):
                raise AttemptFailed(self._what_else(chunk))
            choices = chunk["choices"]
            reason = None
            for choice in choices:
                if reason := choice.get("finish_reason"):
                    self._finishes[choice.get("index") or 0] = str(reason)
                delta = choice.get("delta")
                if delta and (len(delta) > 1 or type(delta.get("content")) is not str):
                    _respell(delta)
            if usage := chunk.get("usage") or (chunk.get("x_groq") or _NOTHING).get("usage"):
                self._usage = normalise.usage_body(usage)
            if not self.shaper.head:
                chunk = _whole_head(chunk)
            elif self._guesses and not (reason or usage) and self.shaper.more_text(chunk):
                self._remember(data, chunk)
            return self.shaper.events(chunk) if choices else b""
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
