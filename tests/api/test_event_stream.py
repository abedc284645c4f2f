"""A stream whose client can't be reached any more is closed, so that it is settled."""

from collections.abc import AsyncGenerator, MutableMapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lumni.api.presence import Presence
from lumni.api.replies import EventStream
from lumni.api.visit import Visit
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
    services = SimpleNamespace(pipeline=SimpleNamespace(drain=Drain()))
    visit = cast("Visit", SimpleNamespace(services=services, presence=Presence()))
    with pytest.raises(OSError, match=r"http\.response\.start"):
        await EventStream(begun, {}, visit)({"type": "http"}, receive, send)
    assert closed
