"""A stream whose client can't be reached any more is closed, so that it is settled."""

from collections.abc import AsyncGenerator, MutableMapping
from typing import Any

import pytest

from lumni.api.sse import EventStream
from lumni.gateway.drain import Drain


async def test_a_stream_that_can_t_even_begin_is_closed_at_once() -> None:
    """003-34: its record doesn't wait for the garbage collector."""
    closed = []

    async def events() -> AsyncGenerator[bytes]:
        try:
            yield b""
            yield b"data: {}\n\n"
        finally:
            closed.append(True)

    async def receive() -> Any:
        raise AssertionError("nobody asks for what the client says")

    async def send(message: MutableMapping[str, Any]) -> None:
        raise OSError(f"the connection is gone: {message['type']}")

    begun = events()
    await anext(begun)
    with pytest.raises(OSError, match=r"http\.response\.start"):
        await EventStream(begun, {}, Drain())({"type": "http"}, receive, send)
    assert closed
