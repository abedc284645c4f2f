"""What goes to the socket, and what ends the work for a client that is gone."""

import asyncio
import logging
from typing import Any, cast

import pytest
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.flow_control import FlowControl

from lumni.api.exchange import Exchange
from lumni.api.presence import Presence, while_wanted
from lumni.errors import ShuttingDown
from lumni.gateway.drain import Drain

DATE = (b"date", b"Sun, 22 Nov 2026 00:00:00 GMT")


class Socket:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True


def exchange(method: str = "POST", *, keep_alive: bool = True) -> tuple[Exchange, Socket]:
    transport = cast("Any", Socket())
    quiet = logging.getLogger("tests")
    made = Exchange(
        scope=cast("Any", {"method": method}),
        transport=transport,
        flow=FlowControl(transport),
        logger=quiet,
        access_logger=quiet,
        access_log=False,
        default_headers=[DATE],
        message_event=asyncio.Event(),
        expect_100_continue=False,
        keep_alive=keep_alive,
        on_response=lambda: None,
    )
    return made, transport


def start(*headers: tuple[bytes, bytes], status: int = 200) -> Any:
    return {"type": "http.response.start", "status": status, "headers": headers}


def body(data: bytes, *, more: bool = False) -> Any:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def test_an_answer_is_one_write() -> None:
    """Issue 7: head and body in one packet, with the server's own headers, and the connection lives on."""
    served, socket = exchange()
    await served.send(start((b"content-length", b"2")))
    await served.send(body(b"hi"))
    assert socket.written == [b"HTTP/1.1 200 OK\r\ndate: %b\r\ncontent-length: 2\r\n\r\nhi" % DATE[1]]
    assert served.response_complete
    assert not socket.closed


async def test_a_stream_is_chunked_and_its_head_comes_with_the_first_piece() -> None:
    """Issue 7: each piece is written as it comes."""
    served, socket = exchange(keep_alive=False)
    await served.send(start())
    await served.send(body(b"data: 1\n\n", more=True))
    await served.send(body(b"data: 2\n\n", more=True))
    await served.send(body(b""))
    assert len(socket.written) == 3
    assert socket.written[0].endswith(b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n9\r\ndata: 1\n\n\r\n")
    assert socket.written[1:] == [b"9\r\ndata: 2\n\n\r\n", b"0\r\n\r\n"]
    assert socket.closed


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)])
async def test_what_has_no_body_has_no_framing(method: str, status: int) -> None:
    """003-07: the next answer on the connection isn't taken for a body."""
    served, socket = exchange(method)
    await served.send(start(status=status))
    await served.send(body(b"for nobody" if method == "HEAD" else b""))
    assert b"".join(socket.written).endswith(DATE[1] + b"\r\n\r\n")


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"a\0b", b"a\x7f"])
async def test_a_header_can_t_smuggle_another(value: bytes) -> None:
    """003-07: whatever a route makes of what a client sent, nothing is written then."""
    served, socket = exchange()
    with pytest.raises(RuntimeError, match="control character"):
        await served.send(start((b"x-made-of", value)))
    assert not socket.written


@pytest.mark.parametrize("data", [b"h", b"him"])
async def test_a_body_of_another_length_than_announced_is_no_answer(data: bytes) -> None:
    """003-07."""
    served, socket = exchange()
    await served.send(start((b"content-length", b"2")))
    with pytest.raises(RuntimeError, match="content-length"):
        await served.send(body(data))
    assert not socket.written


async def test_nothing_is_written_out_of_turn() -> None:
    """003-07: no body without a head, no second answer."""
    served, _ = exchange()
    with pytest.raises(RuntimeError, match="out of turn"):
        await served.send(body(b""))
    await served.send(start((b"content-length", b"0")))
    with pytest.raises(RuntimeError, match="out of turn"):
        await served.send(start())
    await served.send(body(b""))
    with pytest.raises(RuntimeError, match="out of turn"):
        await served.send(body(b""))


class Work:
    """Waits for ever; once it is cancelled it cleans up, which takes a while."""

    def __init__(self) -> None:
        self.begun, self.may_end, self.clean = asyncio.Event(), asyncio.Event(), False

    async def __call__(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await self.may_end.wait()
            self.clean = True


async def test_a_client_that_leaves_ends_the_work_which_may_clean_up() -> None:
    """003-34: once, however often it is told to; the task itself is as good as new."""
    presence, drain, work = Presence(), Drain(), Work()
    task = asyncio.create_task(while_wanted(presence, drain, work()))
    await work.begun.wait()
    presence.leave()
    await asyncio.sleep(0)
    presence.leave()
    await asyncio.sleep(0)
    work.may_end.set()
    with pytest.raises(ClientDisconnect):
        await task
    assert work.clean
    assert task.cancelling() == 0


@pytest.mark.parametrize("late", [False, True])
async def test_the_end_of_the_drain_ends_the_work(*, late: bool) -> None:
    """002-45: also work that only begins by then, so that it is told of as any other."""
    presence, drain, work = Presence(), Drain(), Work()
    work.may_end.set()
    if late:
        drain.end()
    task = asyncio.create_task(while_wanted(presence, drain, work()))
    await work.begun.wait()
    drain.end()
    with pytest.raises(ShuttingDown):
        await task
    assert work.clean


async def test_work_that_is_done_is_none_of_the_next_ones_business() -> None:
    """003-34: who leaves after the answer, or while nothing runs, breaks off nothing."""
    presence, drain = Presence(), Drain()

    async def answer() -> str:
        return "done"

    assert await while_wanted(presence, drain, answer()) == "done"
    presence.leave()
    drain.end()
    await asyncio.sleep(0)
    assert await while_wanted(presence, drain, answer()) == "done"
    await asyncio.sleep(0)


async def test_whoever_cancels_the_task_itself_gets_a_cancellation() -> None:
    """003-34: the server's own end isn't mistaken for a client's."""
    work = Work()
    work.may_end.set()
    task = asyncio.create_task(while_wanted(Presence(), Drain(), work()))
    await work.begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.clean
