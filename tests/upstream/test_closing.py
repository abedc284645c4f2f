"""A gateway that ends leaves no connection behind."""

import gc
from typing import Any

import aiohttp
import pytest

from lumni.errors import LumniError
from tests.upstream.wire import STREAM, delta, deployment, events, line, wire


def open_sessions() -> int:
    gc.collect()
    return sum(isinstance(one, aiohttp.ClientSession) and not one.closed for one in gc.get_objects())


@pytest.mark.parametrize("provider", ["openai", "groq", "gemini", "anthropic", "ollama_chat"])
@pytest.mark.parametrize("stream", [False, True])
async def test_no_session_outlives_the_upstream(litellm: Any, provider: str, stream: bool) -> None:
    """Not even one whose provider's answers make no sense."""
    before = open_sessions()
    async with wire([STREAM + events(delta("one"), delta(finish="stop"), done=True)]) as there:
        async with line(deployment("a", there.base, provider)) as here:
            try:
                _ = await here.text() if stream else await here.ask()
            except LumniError:
                assert here.records[0].attempts
            assert there.asked
        assert open_sessions() <= before
        assert not litellm.in_memory_llm_clients_cache.cache_dict
