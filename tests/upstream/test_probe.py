"""Free calls: where they are, what their answers mean, and what nobody gets to see of them."""

import asyncio
import json

import pytest

from lumni.catalogue.model import Deployment
from lumni.types import Outcome
from lumni.upstream.probe import LARGEST, Finding, FreeCall, Prober, free_call
from tests.upstream.wire import HEAD, wire

KEY = "sk-of-the-class-123456"


def at(model: str, **params: str) -> FreeCall | None:
    provider = model.split("/", 1)[0]
    return free_call(Deployment("d", "g", provider, "a", model, {"model": model, "api_key": KEY, **params}))


BEARER = ("authorization", f"Bearer {KEY}")


@pytest.mark.parametrize(
    ("model", "url", "header"),
    [
        ("groq/openai/gpt-oss-20b", "https://api.groq.com/openai/v1/models", BEARER),
        ("gemini/gemini-2.5-flash", "https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000",
         ("x-goog-api-key", KEY)),
        ("anthropic/claude-sonnet-5", "https://api.anthropic.com/v1/models?limit=1000", ("x-api-key", KEY)),
        ("openrouter/x:free", "https://openrouter.ai/api/v1/key", BEARER),
    ],
)  # fmt: skip
def test_a_provider_s_own_free_call_needs_the_key(model: str, url: str, header: tuple[str, str]) -> None:
    """002-12"""
    call = at(model)
    assert call is not None
    assert (call.url, call.proves_key) == (url, True)
    assert header in call.headers


@pytest.mark.parametrize(
    ("model", "base", "url"),
    [
        ("openai/llama", "http://gpu.school.example/v1/", "http://gpu.school.example/v1/models"),
        ("ollama_chat/llama", "http://localhost:11434", "http://localhost:11434/api/tags"),
        ("anthropic/claude", "http://proxy.example/v1/messages", "http://proxy.example/v1/models?limit=1000"),
    ],
)
def test_a_server_of_one_s_own_may_show_its_list_to_anyone(model: str, base: str, url: str) -> None:
    """002-12: so that its good answer proves no key."""
    call = at(model, api_base=base)
    assert call is not None
    assert (call.url, call.proves_key) == (url, False)


@pytest.mark.parametrize("model", ["bedrock/claude", "campus/llama", "hosted_vllm/llama", "azure/gpt", "ollama/llama"])
def test_where_no_free_call_is_known_there_is_none(model: str) -> None:
    """002-12: also for servers whose address nobody stated."""
    assert at(model) is None


def test_a_call_shows_neither_key_nor_address() -> None:
    """003-40"""
    call = at("openai/llama", api_base="http://user:password@gpu.school.example/v1")
    assert KEY not in repr(call)
    assert "password" not in repr(call)


async def ask(*parts: bytes) -> Finding:
    prober = Prober()
    try:
        async with wire(parts) as served:
            call = at("openai/llama", api_base=served.base)
            assert call is not None
            return await prober.ask(call)
    finally:
        await prober.close()


def told(status: int, message: str = "no") -> bytes:
    return HEAD % (status, b"application/json") + json.dumps({"error": {"message": message}}).encode()


@pytest.mark.parametrize(
    ("status", "message", "outcome"),
    [
        (401, "Incorrect API key", Outcome.AUTH),
        (403, "Forbidden", Outcome.AUTH),
        (400, "API_KEY_INVALID", Outcome.AUTH),
        (401, "You have insufficient permissions. Missing scopes: api.model.read", Outcome.SKIPPED),
        (404, "Not found", Outcome.SKIPPED),
        (302, "over there", Outcome.UNAVAILABLE),
        (429, "slower", Outcome.RATE_LIMITED),
        (500, "oh", Outcome.UNAVAILABLE),
    ],
)
async def test_what_a_refusal_means(status: int, message: str, outcome: Outcome) -> None:
    """002-12: a key that may only chat isn't called refused."""
    finding = await ask(told(status, message))
    assert finding.outcome is outcome
    assert str(status) in finding.detail


@pytest.mark.parametrize(
    ("body", "models"),
    [
        (b'{"data": [{"id": "a"}, {"id": "b"}]}', {"a", "b"}),
        (b'{"models": [{"name": "models/gemini-2.5-flash"}]}', {"gemini-2.5-flash"}),
        (b'{"data": {"label": "a key"}}', set()),
        (b'[1, "a"]', set()),
        (b"<html>", set()),
        (b"", set()),
    ],
)
async def test_lists_of_every_form_are_read(body: bytes, models: set[str]) -> None:
    """002-12: and what is no list is none."""
    finding = await ask(HEAD % (200, b"application/json") + body)
    assert finding == Finding(Outcome.OK, models=frozenset(models))


async def test_the_key_is_in_no_words() -> None:
    """003-40: even if the provider quotes it."""
    finding = await ask(told(401, f"Bad key {KEY}"))
    assert finding.detail == "HTTP 401: Bad key [hidden]"


async def test_an_endless_list_is_cut_off() -> None:
    finding = await ask(HEAD % (200, b"application/json") + b"x" * (LARGEST + 1))
    assert finding.outcome is Outcome.UNAVAILABLE


async def test_silence_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lumni.upstream.probe.SECONDS", 0.05)
    async with wire([None]) as silent:
        prober = Prober()
        call = at("openai/llama", api_base=silent.base)
        assert call is not None
        assert (await prober.ask(call)).outcome is Outcome.TIMEOUT
        await silent.until_left()
        await prober.close()


async def test_nobody_there_is_no_error_of_ours() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    prober = Prober()
    for base in (f"http://127.0.0.1:{port}", "http://[", "nonsense"):
        call = at("openai/llama", api_base=base)
        assert call is not None
        assert (await prober.ask(call)).outcome is Outcome.UNAVAILABLE
    await prober.close()
