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


LANES = ("relay", "translated")


def _entry(group: str, provider: str, url: str, priority: int, lane: str) -> str:
    return f"""
  - model_name: {group}
    litellm_params: {{model: {provider}/stand-in, api_base: "{url}{PROVIDERS[provider]}", api_key: sk-stand-in-secret}}
    model_info: {{id: {group}-{priority}, priority: {priority}, lane: {lane}}}"""


@pytest.fixture(scope="session", params=LANES)
def session_stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """``<provider>`` is served by the first llmock, ``<provider>-pair`` by the first and then the second.

    One stage for each lane.
    """
    with LLMockServer() as one, LLMockServer() as two:
        entries = [_entry(name, name, one.url, 0, request.param) for name in PROVIDERS]
        for name in PROVIDERS:
            entries += [
                _entry(f"{name}-pair", name, url, place, request.param) for place, url in enumerate((one.url, two.url))
            ]
        config = "model_list:" + "".join(entries) + "\n"
        with Gateway(tmp_path_factory.mktemp("faults"), config, **TIMES) as gateway:
            client = OpenAI(base_url=gateway.base_url, api_key=gateway.key, max_retries=0, timeout=120)
            with client:
                yield Stage(gateway, client, LLMock(one), LLMock(two))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Gemini's own format is never relayed, and Mistral's is relayed as OpenAI's is: once is enough."""
    spare = [item for item in items if _is_spare(item)]
    config.hook.pytest_deselected(items=spare)
    items[:] = [item for item in items if item not in spare]


def _is_spare(item: pytest.Item) -> bool:
    given = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return given.get("session_stage") == "relay" and given.get("provider") in ("gemini", "mistral")


@pytest.fixture
def stage(session_stage: Stage) -> Stage:
    session_stage.first.reset()
    session_stage.second.reset()
    with httpx.Client(base_url=session_stage.gateway.url, headers={"x-api-key": session_stage.gateway.key}) as admin:
        for provider in PROVIDERS:  # what one test did to them is nothing to the next
            admin.post(f"/admin/providers/{provider}/circuit-breaker/reset").raise_for_status()
    return session_stage
