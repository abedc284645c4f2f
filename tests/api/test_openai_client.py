"""The official client against a real gateway."""

from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.services.gateway import Gateway


@pytest.fixture
def client(lab_gateway: Gateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=lab_gateway.base_url, api_key=lab_gateway.key, max_retries=0) as client:
        yield client


def test_the_official_client_reads_an_answer(client: OpenAI) -> None:
    """000-03, 004-07: request and response parse with the official SDK."""
    answer = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": "What is a list?"}])
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_the_official_client_reads_a_stream(client: OpenAI) -> None:
    """002-07: server-sent events; the same words as without streaming."""
    whole = client.chat.completions.create(model="fast", messages=[{"role": "user", "content": "What is a list?"}])
    with client.chat.completions.create(
        model="fast", messages=[{"role": "user", "content": "What is a list?"}], stream=True
    ) as stream:
        chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
