"""Providers that misbehave on command, behind a real gateway."""

from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from llmock.pytest_plugin import LLMock
from llmock.testing import LLMockServer
from openai import OpenAI

from tests.services.gateway import Gateway

PROVIDERS = {"openai": "/v1", "groq": "/groq/openai/v1", "mistral": "/mistral/v1", "gemini": "/gemini/v1beta"}
# Seconds; small, so that a provider that hangs costs a test little.
TIMES = {
    "REQUEST_TIMEOUT": "6",
    "ATTEMPT_TIMEOUT": "1.2",
    "FIRST_TOKEN_TIMEOUT": "0.8",
    "STREAM_IDLE_TIMEOUT": "0.5",
    "NUM_RETRIES": "2",
    "HEALTH_CHECK_INTERVAL": "3600",  # the calls that tests count are the ones that they made
}


@dataclass(frozen=True)
class Stage:
    """The gateway between an official client and two providers."""

    gateway: Gateway
    client: OpenAI
    first: LLMock
    second: LLMock


def _entry(group: str, provider: str, url: str, priority: int) -> str:
    return f"""
  - model_name: {group}
    litellm_params: {{model: {provider}/stand-in, api_base: "{url}{PROVIDERS[provider]}", api_key: sk-stand-in-secret}}
    model_info: {{id: {group}-{priority}, priority: {priority}}}"""


@pytest.fixture(scope="session")
def session_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """``<provider>`` is served by the first llmock, ``<provider>-pair`` by the first and then the second."""
    with LLMockServer() as one, LLMockServer() as two:
        entries = [_entry(name, name, one.url, 0) for name in PROVIDERS]
        for name in PROVIDERS:
            entries += [_entry(f"{name}-pair", name, one.url, 0), _entry(f"{name}-pair", name, two.url, 1)]
        config = "model_list:" + "".join(entries) + "\n"
        with Gateway(tmp_path_factory.mktemp("faults"), config, **TIMES) as gateway:
            client = OpenAI(base_url=gateway.base_url, api_key=gateway.key, max_retries=0, timeout=20)
            with client:
                yield Stage(gateway, client, LLMock(one), LLMock(two))


@pytest.fixture
def stage(session_stage: Stage) -> Stage:
    session_stage.first.reset()
    session_stage.second.reset()
    with httpx.Client(base_url=session_stage.gateway.url, headers={"x-api-key": session_stage.gateway.key}) as admin:
        for provider in PROVIDERS:  # what one test did to them is nothing to the next
            admin.post(f"/admin/providers/{provider}/circuit-breaker/reset").raise_for_status()
    return session_stage
