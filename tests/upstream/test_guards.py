"""What LiteLLM does that Lumni guards against. A test that fails here means: LiteLLM has changed, drop the guard."""

import importlib.util
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from llmock.pytest_plugin import LLMock
from llmock.testing import LLMockServer

ASKED: Any = {"messages": [{"role": "user", "content": "hello"}], "api_key": "k"}
TOOL: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module")
def mock() -> Any:
    with LLMockServer() as server:
        yield LLMock(server)


async def streamed(litellm: Any, mock: LLMock, provider: str, after: Any = None) -> tuple[Any, list[str]]:
    """LiteLLM's wrapper and its finish reasons, without Lumni's tap."""
    base = mock.base_url(provider)
    wrapper = await litellm.acompletion(model=f"{provider}/m", api_base=base, stream=True, **ASKED)
    reasons = [c.choices[0].finish_reason async for c in wrapper if c.choices and c.choices[0].finish_reason]
    return wrapper, reasons


NAMES = """
import socket
asked = []
def refuse(host, *_, **__):
    asked.append(host)
    raise OSError("no network here")
socket.getaddrinfo = refuse
"""


def hosts_asked(statement: str) -> list[str]:
    """The hosts that a fresh interpreter looks up while it runs ``statement``."""
    fresh = subprocess.run(
        [sys.executable, "-c", f"{NAMES}{statement}\nprint('asked', *asked)"],
        env={}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return fresh.stdout.splitlines()[-1].split()[1:]


def test_the_price_map_would_be_fetched_from_the_network() -> None:
    assert hosts_asked("import litellm")


def test_nothing_is_fetched_from_the_network() -> None:
    assert hosts_asked("from lumni.upstream.runtime import load_litellm; load_litellm()") == []


def test_the_tokenizer_switch_is_off_by_default(litellm: Any) -> None:
    """The default would download; the guard sets what this reads."""
    assert litellm.disable_hf_tokenizer_download is True
    fresh = subprocess.run(
        [sys.executable, "-c", "import litellm; print(litellm.disable_hf_tokenizer_download)"],
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert fresh.stdout.strip() in {"None", "False"}


@pytest.mark.skipif(importlib.util.find_spec("mcp") is not None, reason="mcp is installed")
async def test_tools_import_the_proxy_s_mcp_gateway(litellm: Any, mock: LLMock) -> None:
    with pytest.raises(Exception, match="mcp"):
        await litellm.acompletion(model="openai/m", api_base=mock.base_url("openai"), tools=[TOOL], **ASKED)


@pytest.mark.parametrize("provider", ["openai", "groq", "mistral"])
async def test_a_truncated_stream_gets_a_stop_that_nobody_sent(litellm: Any, mock: LLMock, provider: str) -> None:
    mock.reset().truncate(after_chunks=2)
    assert (await streamed(litellm, mock, provider))[1] == ["stop"]


@pytest.mark.parametrize("provider", ["groq", "mistral"])
async def test_a_broken_chunk_is_skipped(litellm: Any, mock: LLMock, provider: str) -> None:
    mock.reset().corrupt(after_chunks=2)
    assert (await streamed(litellm, mock, provider))[1] == ["stop"]


async def test_gemini_s_reader_sees_a_stop_in_every_chunk(litellm: Any, mock: LLMock) -> None:
    mock.reset().truncate(after_chunks=3)
    wrapper = await litellm.acompletion(model="gemini/m", api_base=f"{mock.url}/gemini/v1beta", stream=True, **ASKED)
    assert [chunk async for chunk in wrapper]
    assert wrapper.intermittent_finish_reason == "stop"


async def test_done_inside_an_answer_ends_the_stream() -> None:
    from litellm.llms.openai.chat.gpt_transformation import OpenAIChatCompletionStreamingHandler

    async def lines() -> AsyncIterator[str]:
        yield 'data: {"id":"x","created":1,"choices":[{"index":0,"delta":{"content":"say [DONE] now"}}]}'

    reader = OpenAIChatCompletionStreamingHandler(streaming_response=lines(), sync_stream=False)
    said = [chunk async for chunk in reader]
    assert not any(choice.delta.content for chunk in said for choice in getattr(chunk, "choices", ()))


def test_a_retry_after_in_fractions_is_not_read(litellm: Any) -> None:
    """So the journey gives the Router whole seconds."""
    from litellm.utils import _get_retry_after_from_exception_header as read

    assert read({"retry-after": "7.5"}) == -1
    assert read({"retry-after": "8"}) == 8


def test_rpm_in_the_parameters_limits_parallel_requests(litellm: Any) -> None:
    from litellm.router_utils.client_initalization_utils import calculate_max_parallel_requests

    assert (
        calculate_max_parallel_requests(max_parallel_requests=None, rpm=7, tpm=None, default_max_parallel_requests=None)
        == 7
    )


def test_a_client_s_api_base_would_be_taken(litellm: Any) -> None:
    import inspect

    assert {"api_base", "api_key", "base_url"} & set(inspect.signature(litellm.acompletion).parameters)
