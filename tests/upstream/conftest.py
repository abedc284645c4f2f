"""LiteLLM, imported once for all of these tests: it takes seconds."""

import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lumni.upstream.runtime import close_clients, load_litellm


@pytest.fixture(scope="session")
def litellm() -> Any:
    # The first Router imports more: the warnings of all that are none of ours, whichever test comes first.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = load_litellm()
        from litellm.router import Router

        Router(model_list=[{"model_name": "m", "litellm_params": {"model": "openai/m", "api_key": "k"}}])
    return module


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
