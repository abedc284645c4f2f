"""LiteLLM, imported once for all of these tests: it takes seconds."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from lumni.upstream.runtime import close_clients, load_litellm


@pytest.fixture(scope="session")
def litellm() -> Any:
    return load_litellm()


@pytest.fixture(params=["relay", "translated"])
def lane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each lane in turn carries the test's requests, to whoever speaks OpenAI's format."""
    monkeypatch.setattr("tests.upstream.wire.LANE", request.param)
    lane: str = request.param
    return lane


@pytest.fixture(autouse=True)
async def hang_up(litellm: Any) -> AsyncIterator[None]:
    """Close the connections that a test's bare calls of LiteLLM leave open, while their event loop is still there."""
    yield
    await close_clients(litellm)
