"""What a stream writes, and that one whose client can't be reached any more is closed, so that it is settled."""

from collections.abc import AsyncGenerator, MutableMapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lumni.api.presence import Presence
from lumni.api.replies import EventStream
from lumni.api.visit import Visit
from lumni.gateway.drain import Drain
from lumni.gateway.reply import Closing


def visit() -> Visit:
    services = SimpleNamespace(pipeline=SimpleNamespace(drain=Drain()))
    return cast("Visit", SimpleNamespace(services=services, presence=Presence()))


async def receive() -> Any:
    raise AssertionError("nobody asks for what the client says")


async def test_the_last_events_go_out_with_the_end() -> None:
    """What comes before them goes out at once."""
    written: list[tuple[bytes, bool]] = []

    async def events() -> AsyncGenerator[bytes]:
        yield b"data: 1\n\n"
        assert written == [(b"data: 1\n\n", True)]
        yield Closing(b"data: 2\n\n")

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.body":
            written.append((message["body"], message["more_body"]))

    await EventStream(events(), {}, visit())({"type": "http"}, receive, send)
    assert written[1:] == [(b"data: 2\n\ndata: [DONE]\n\n", False)]


async def test_a_stream_that_can_t_even_begin_is_closed_at_once() -> None:
    """003-34: its record doesn't wait for the garbage collector."""
    closed = []

    async def events() -> AsyncGenerator[bytes]:
        try:
            yield b""
            yield b"data: {}\n\n"
        finally:
            closed.append(True)

    async def send(message: MutableMapping[str, Any]) -> None:
        raise OSError(f"the connection is gone: {message['type']}")

    begun = events()
    await anext(begun)
    with pytest.raises(OSError, match=r"http\.response\.start"):
        await EventStream(begun, {}, visit())({"type": "http"}, receive, send)
    assert closed
