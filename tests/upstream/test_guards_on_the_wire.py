"""LiteLLM's habits and the guards against them, each on the wire: first LiteLLM alone, then the line that Lumni drives.

A test of the first kind that fails means: LiteLLM has changed, drop the guard.
"""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lumni.catalogue.load import load_catalogue
from lumni.errors import InvalidRequest, LumniError, RateLimited, StreamInterrupted
from lumni.settings import Settings
from lumni.types import Principal
from tests.upstream.wire import (
    HEAD,
    QUESTION,
    STREAM,
    Wire,
    chunks_of,
    delta,
    deployment,
    events,
    line,
    refusal,
    whole,
    wire,
)

ASKED: Any = {"messages": QUESTION, "api_key": "k", "max_retries": 0}
TOOL: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
IGNORANT = ("nvidia_nim", "sambanova", "hyperbolic", "zai", "deepinfra")


def choice(index: int, text: str | None = None, finish: str | None = None) -> dict[str, Any]:
    chunk = delta(text, finish)
    chunk["choices"][0]["index"] = index
    return chunk


def bare_router(*served: Wire, **settings: Any) -> Any:
    """LiteLLM's Router as its own documents build one, over deployments ``0``, ``1``, …"""
    from litellm.router import Router

    models = [
        {
            "model_name": f"group {number}",
            "litellm_params": {"model": "openai/m", "api_base": one.base, "api_key": "k", "max_retries": 0},
            "model_info": {"id": str(number)},
        }
        for number, one in enumerate(served)
    ]
    return Router(model_list=models, disable_cooldowns=True, **settings)


# Groq's answers without a service tier


async def test_litellm_fails_on_groq_s_answer_without_a_service_tier(
    litellm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from litellm.types.utils import ModelResponse

    monkeypatch.delattr(ModelResponse, "service_tier")
    async with wire() as served:
        with pytest.raises(Exception, match="service_tier"):
            await litellm.acompletion(model="groq/m", api_base=served.base, **ASKED)


async def test_groq_s_answer_without_a_service_tier_is_given() -> None:
    async with wire([whole("hello")]) as served, line(deployment("a", served.base, "groq")) as here:
        body = (await here.ask()).body
    assert body is not None
    assert body["choices"][0]["message"]["content"] == "hello"


# Several choices

TWO = [choice(0, "one"), choice(1, "two"), choice(1, finish="length"), choice(0, finish="stop")]


@pytest.mark.parametrize("provider", ["openai", "groq"])
async def test_litellm_loses_the_finish_of_a_second_choice(litellm: Any, provider: str) -> None:
    async with wire([STREAM + events(*TWO, done=True)]) as served:
        stream = await litellm.acompletion(model=f"{provider}/m", api_base=served.base, stream=True, n=2, **ASKED)
        finishes = [(c.index, c.finish_reason) async for chunk in stream for c in chunk.choices if c.finish_reason]
    assert sorted(finishes) != [(0, "stop"), (1, "length")]


@pytest.mark.parametrize("provider", ["openai", "groq"])
async def test_every_choice_has_its_own_finish(provider: str) -> None:
    async with (
        wire([STREAM + events(*TWO, done=True)]) as served,
        line(deployment("a", served.base, provider)) as here,
    ):
        reply = await here.ask(stream=True, n=2)
        choices = [one async for chunk in chunks_of(reply) for one in chunk["choices"]]
    assert sorted((c["index"], c["finish_reason"]) for c in choices if c["finish_reason"]) == [
        (0, "stop"),
        (1, "length"),
    ]


# Retries and fallbacks


async def test_the_router_never_retries_a_call_by_id() -> None:
    async with wire([refusal(503, "later")], [whole()]) as served:
        with pytest.raises(Exception, match="later"):
            await bare_router(served, num_retries=2).acompletion(model="0", messages=QUESTION)
        assert len(served.asked) == 1


async def test_a_call_is_retried() -> None:
    async with (
        wire([refusal(503, "later")], [whole()]) as served,
        line(deployment("a", served.base), num_retries=1) as here,
    ):
        await here.ask()
        assert len(served.asked) == 2


async def test_the_router_sleeps_after_its_last_retry(monkeypatch: pytest.MonkeyPatch, litellm: Any) -> None:
    """The guarded behaviour is ``test_the_gaps_between_rounds_grow``."""
    from litellm import router as module
    from litellm.types.router import RetryPolicy

    happened = []

    class Clockless:
        async def sleep(self, seconds: float) -> None:
            happened.append("sleep")

        def __getattr__(self, name: str) -> Any:
            return getattr(asyncio, name)

    async def fail(**_: Any) -> None:
        happened.append("call")
        raise litellm.ServiceUnavailableError(message="later", model="m", llm_provider="openai")

    monkeypatch.setattr(module, "asyncio", Clockless())
    with pytest.raises(litellm.ServiceUnavailableError):
        await bare_router().async_function_with_retries(
            original_function=fail,
            model="m",
            model_group_retry_policy={"m": RetryPolicy(DefaultRetries=2, ServiceUnavailableErrorRetries=2)},
            metadata={},
        )
    assert happened[-1] == "sleep"


async def test_the_router_sends_a_wrong_request_to_everyone() -> None:
    async with wire([refusal(400, "temperature is wrong")]) as one, wire([refusal(400, "so it is")]) as two:
        with pytest.raises(Exception, match=r"wrong|so it is"):
            await bare_router(one, two).acompletion(model="0", fallbacks=["1"], messages=QUESTION)
        assert (len(one.asked), len(two.asked)) == (1, 1)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_wrong_request_is_sent_to_one_and_a_long_one_to_the_next(stream: bool) -> None:
    async with (
        wire([refusal(400, "temperature is wrong")], [refusal(400, "maximum context length is 10")]) as one,
        wire([STREAM + events(delta("hi"), delta(finish="stop"), done=True)] if stream else [whole()]) as two,
        line(deployment("a", one.base), deployment("b", two.base, priority=1)) as here,
    ):
        with pytest.raises(InvalidRequest, match="temperature is wrong"):
            await here.ask(stream=stream)
        assert (len(one.asked), len(two.asked)) == (1, 0)
        reply = await here.ask(stream=stream)
        assert reply.headers["x-lumni-deployment"] == "b"
        if reply.events is not None:
            await reply.events.aclose()


@pytest.mark.parametrize("provider", IGNORANT)
async def test_litellm_retries_at_these_providers_although_told_not_to(litellm: Any, provider: str) -> None:
    busy = refusal(503, "later").replace(b"connection:", b"retry-after-ms: 1\r\nconnection:")
    async with wire([busy]) as served:
        with pytest.raises(litellm.ServiceUnavailableError):
            await litellm.acompletion(model=f"{provider}/m", api_base=served.base, **ASKED)
        assert len(served.asked) > 1


@pytest.mark.parametrize("provider", IGNORANT)
async def test_these_providers_are_asked_once(provider: str, tmp_path: Path) -> None:
    """They are addressed as ``openai/`` with their own base."""
    async with wire([refusal(503, "later")]) as served:
        listed = f"model_list: [{{model_name: all, litellm_params: {{model: {provider}/m, api_key: the-key, "
        found = catalogue(tmp_path, listed + f'api_base: "{served.base}"}}}}]').deployments[0]
        assert found.params["model"] == "openai/m"
        assert catalogue(tmp_path, listed + "}}]").deployments[0].params["api_base"].startswith("https://")
        async with line(found) as here:
            with pytest.raises(LumniError):
                await here.ask()
        assert len(served.asked) == 1


async def test_a_limit_in_the_parameters_never_reaches_litellm(tmp_path: Path) -> None:
    """LiteLLM would bound parallel requests by it, see ``test_rpm_in_the_parameters_limits_parallel_requests``."""
    listed = "model_list: [{model_name: all, litellm_params: {model: openai/m, api_key: the-key, rpm: 1, tpm: 9}}]"
    assert not {"rpm", "tpm", "max_parallel_requests"} & catalogue(tmp_path, listed).deployments[0].params.keys()


def catalogue(directory: Path, text: str) -> Any:
    path = directory / "litellm_config.yaml"
    path.write_text(text, encoding="utf-8")
    return load_catalogue(Settings(litellm_config=path), {})


# Usage

COUNTED = {**delta(), "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}}
SPOKEN = STREAM + events(delta("hi"), delta(finish="stop"), COUNTED, done=True)


async def test_litellm_does_not_ask_for_the_usage_of_a_stream(litellm: Any) -> None:
    async with wire([SPOKEN]) as served:
        async for _ in await litellm.acompletion(model="openai/m", api_base=served.base, stream=True, **ASKED):
            pass
        assert "stream_options" not in served.asked[0]


@pytest.mark.parametrize("include", [False, True])
async def test_the_usage_is_always_asked_for_and_told_if_asked(include: bool) -> None:
    async with wire([SPOKEN]) as served, line(deployment("a", served.base)) as here:
        request = here.request(stream=True)
        reply = await here.pipeline.complete(replace(request, include_usage=include), Principal("k"))
        chunks = [chunk async for chunk in chunks_of(reply)]
        assert served.asked[0]["stream_options"] == {"include_usage": True}
    assert [chunk["usage"]["total_tokens"] for chunk in chunks if chunk.get("usage")] == ([7] if include else [])
    [record] = here.records
    assert (record.prompt_tokens, record.completion_tokens, record.usage_estimated) == (3, 4, False)


# Streams

BROKEN = (
    STREAM
    + events(delta("one "))
    + b'data: {"id": "c", "choi\n\n'
    + events(delta("three"), delta(finish="stop"), done=True)
)


@pytest.mark.parametrize("provider", ["groq", "mistral"])
async def test_litellm_skips_a_broken_chunk(litellm: Any, provider: str) -> None:
    async with wire([BROKEN]) as served:
        stream = await litellm.acompletion(model=f"{provider}/m", api_base=served.base, stream=True, **ASKED)
        text = "".join([c.delta.content or "" async for chunk in stream for c in chunk.choices])
    assert text == "one three"


@pytest.mark.parametrize("provider", ["groq", "mistral", "openai"])
async def test_a_broken_chunk_is_asked_for_again(provider: str) -> None:
    mended = STREAM + events(delta("one "), delta("two "), delta("three"), delta(finish="stop"), done=True)
    async with wire([BROKEN], [mended]) as served, line(deployment("a", served.base, provider)) as here:
        assert await here.text() == "one two three"
        assert len(served.asked) == 2


@pytest.mark.parametrize("provider", ["groq", "mistral", "openai"])
async def test_the_word_done_in_an_answer_is_text(provider: str) -> None:
    """LiteLLM alone: ``test_done_inside_an_answer_ends_the_stream``."""
    said = STREAM + events(delta("say "), delta("[DONE]"), delta(" now"), delta(finish="stop"), done=True)
    async with wire([said]) as served, line(deployment("a", served.base, provider)) as here:
        assert await here.text() == "say [DONE] now"
        assert len(served.asked) == 1


async def test_tools_need_no_package_of_the_proxy() -> None:
    """LiteLLM alone: ``test_tools_import_the_proxy_s_mcp_gateway``."""
    async with wire() as served, line(deployment("a", served.base)) as here:
        await here.ask(tools=[TOOL])
        assert served.asked[0]["tools"] == [TOOL]


# Gemini's streams


def gemini(text: str, **more: Any) -> dict[str, Any]:
    return {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}, **more}]}


OVERLOADED = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


async def test_litellm_calls_gemini_only_when_its_stream_is_read(litellm: Any) -> None:
    async with wire([STREAM + events(gemini("hi", finishReason="STOP"))]) as served:
        stream = await litellm.acompletion(model="gemini/m", api_base=served.base, stream=True, **ASKED)
        assert served.asked == []
        assert [chunk async for chunk in stream]
        assert len(served.asked) == 1


async def test_a_stream_of_gemini_s_that_is_refused_goes_to_the_next() -> None:
    """It counts as begun only with its first content."""
    async with (
        wire([refusal(503, "overloaded")]) as one,
        wire([STREAM + events(gemini("hi", finishReason="STOP"))]) as two,
        line(deployment("a", one.base, "gemini"), deployment("b", two.base, "gemini", priority=1)) as here,
    ):
        assert await here.text() == "hi"
        assert (len(one.asked), len(two.asked)) == (1, 1)


SPENT = {
    "code": 429,
    "message": "You exceeded your current quota.\nPlease retry in 40.403s.",
    "status": "RESOURCE_EXHAUSTED",
    "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "40s"}],
}


def spent(indent: int | None = None) -> bytes:
    return HEAD % (429, b"application/json") + json.dumps({"error": SPENT}, indent=indent).encode()


async def test_litellm_takes_403_in_gemini_s_words_for_its_status(litellm: Any) -> None:
    async with wire([spent()]) as served:
        with pytest.raises(Exception, match="exceeded your current quota") as caught:
            await litellm.acompletion(model="gemini/m", api_base=served.base, **ASKED)
    assert getattr(caught.value, "status_code", None) == 403


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("stream", [False, True])
async def test_gemini_s_status_is_its_own(stream: bool, indent: int | None) -> None:
    """Else a spent quota would count as a dead key whenever its wait has these digits."""
    async with wire([spent(indent)]) as served, line(deployment("a", served.base, "gemini")) as here:
        with pytest.raises(RateLimited) as caught:
            await here.ask(stream=stream)
    assert [attempt["outcome"] for attempt in caught.value.extra["attempts"]] == ["rate_limited"]
    assert caught.value.retry_after == pytest.approx(40, abs=10)


async def test_litellm_wraps_gemini_s_stream_error_for_its_own_repair(litellm: Any) -> None:
    """So its class tells nothing: what happened is read from the exception inside."""
    async with wire([STREAM + events(gemini("hi"), OVERLOADED)]) as served:
        stream = await litellm.acompletion(model="gemini/m", api_base=served.base, stream=True, **ASKED)
        with pytest.raises(Exception, match="overloaded") as caught:
            _ = [chunk async for chunk in stream]
    assert type(caught.value).__name__ == "MidStreamFallbackError"


async def test_gemini_s_stream_error_is_an_interruption_with_its_words() -> None:
    async with (
        wire([STREAM + events(gemini("hi"), OVERLOADED)]) as served,
        line(deployment("a", served.base, "gemini")) as here,
    ):
        with pytest.raises(StreamInterrupted, match="overloaded"):
            await here.text()
        assert len(served.asked) == 2, "the same is asked once more before"
    [record] = here.records
    assert (record.outcome, record.error_code) == ("cut", "stream_cut")
