"""LiteLLM for the tests that send through the whole line: its first answer takes seconds."""

import asyncio
from typing import Any

import pytest

from tests.gateway.provider import provider
from tests.upstream.conftest import hang_up, litellm
from tests.upstream.wire import deployment, line

__all__ = ["hang_up", "litellm"]


@pytest.fixture(scope="session", autouse=True)
def warm(litellm: Any) -> None:
    async def ask_once() -> None:
        async with provider() as made, line(deployment("d", made.base, lane="translated")) as lane:
            await lane.ask()

    asyncio.run(ask_once())
