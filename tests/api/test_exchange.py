"""What goes to the socket, and what ends the work for a client that is gone."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any, cast

import pytest
from httpx import ASGITransport, AsyncClient
from starlette.requests import ClientDisconnect
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.server import ServerState

from lumni.api.exchange import Exchange
from lumni.api.presence import Presence, while_wanted
from lumni.api.protocol import BoundedProtocol
from lumni.app import create_app
from lumni.errors import LumniError, ShuttingDown
from lumni.gateway.drain import Drain
from lumni.people.keyring import Keyring
from lumni.services import Services
from lumni.settings import Settings

DATE = (b"date", b"Sun, 22 Nov 2026 00:00:00 GMT")


class Socket:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def exchange(method: str = "POST", version: str = "1.1", *, keep_alive: bool = True) -> tuple[Exchange, Socket]:
    transport = cast("Any", Socket())
    quiet = logging.getLogger("tests")
    made = Exchange(
        scope=cast("Any", {"method": method, "http_version": version}),
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


async def test_a_client_of_http_1_0_gets_no_chunks() -> None:
    """003-07: it knows none (RFC 9112, section 6.1): a stream ends with its connection."""
    served, wire = exchange(version="1.0")
    await served.send(start())
    await served.send(body(b"one", more=True))
    await served.send(body(b"two"))
    head, _, said = b"".join(wire.written).partition(b"\r\n\r\n")
    assert said == b"onetwo"
    assert b"transfer-encoding" not in head
    assert b"connection: close" in head
    assert wire.closed


async def test_nothing_is_written_to_who_is_gone() -> None:
    """003-34: however the server heard of it; what is left of an answer is no fault of ours."""
    served, wire = exchange()
    await served.send(start())
    wire.close()
    await served.send(body(b"one", more=True))
    await served.send(body(b"two"))
    assert not wire.written
    assert served.disconnected


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


class Wire(Socket):
    """What a protocol needs of a transport besides."""

    reading = True

    def get_extra_info(self, name: str) -> Any:
        return None

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


async def test_who_sends_a_long_body_is_heard_leaving_too() -> None:
    """003-34: once the request is whole, the socket is read again, however much of it came at once."""
    told: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        """Reads the body, then waits for ever."""
        while (message := await receive())["more_body"]:
            told.append(len(message["body"]))
        told.append(len(message["body"]))
        presence = scope["extensions"][Presence.EXTENSION]
        try:
            await while_wanted(presence, Drain(), asyncio.Event().wait())
        except ClientDisconnect:
            told.append("left")

    state, wire = ServerState(), cast("Any", Wire())
    protocol = BoundedProtocol(Config(app, log_config=None, lifespan="off", ws="none"), state, {})
    protocol.connection_made(wire)
    size = 4 * HIGH_WATER_LIMIT
    protocol.data_received(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (size + 1))
    await asyncio.sleep(0)
    protocol.data_received(b"x")
    while not told:
        await asyncio.sleep(0)
    protocol.data_received(b"y" * size)
    assert wire.reading
    while told != [1, size]:
        await asyncio.sleep(0)
    assert wire.reading
    protocol.connection_lost(None)
    await asyncio.wait(set(state.tasks))
    assert told == [1, size, "left"]


class Timers:
    """An event loop whose timers go off when they are told to."""

    def __init__(self) -> None:
        self.create_task = asyncio.get_running_loop().create_task
        self.set: list[Any] = []

    def call_later(self, _: float, call: Any) -> Any:
        timer = SimpleNamespace(call=call)
        timer.cancel = lambda: self.set.remove(timer)
        self.set.append(timer)
        return timer

    def go_off(self) -> None:
        for timer in list(self.set):
            timer.call()


SIZED = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n"


@pytest.mark.parametrize("said", [
    [], [b"GET"], [b"GET / HTTP/1.1\r\nhost: x\r\n"], [b"\r\n"], [SIZED, b"body"], [SIZED + b"body", b"\r\n"],
    [SIZED + b"body", b"GET / "],
])  # fmt: skip
async def test_a_silent_client_holds_no_connection(said: list[bytes]) -> None:
    """003-07: not before its first request, nor in the middle of a head, nor after a body that nobody wanted."""

    async def refuse(_: Any, __: Any, send: Any) -> None:
        await send(start((b"content-length", b"0"), status=401))
        await send(body(b""))

    state, wire, timers = ServerState(), cast("Any", Wire()), cast("Any", Timers())
    protocol = BoundedProtocol(Config(refuse, log_config=None, lifespan="off", ws="none"), state, {}, timers)
    protocol.connection_made(wire)
    for piece in said:
        protocol.data_received(piece)
        while state.tasks:
            await asyncio.sleep(0)
    assert len(timers.set) == 1
    timers.go_off()
    assert wire.closed


@pytest.mark.parametrize("said", [[SIZED], [SIZED, b"bo"], [SIZED + b"body" + SIZED, b"bo"]])
async def test_a_body_that_stops_coming_holds_no_connection(said: list[bytes]) -> None:
    """003-07: whoever waits for it is told that the client left; an answer that is on its way ends first."""
    left: list[str] = []
    answered = asyncio.Event()

    async def read(_: Any, receive: Any, send: Any) -> None:
        message = await receive()
        while message.get("more_body"):
            message = await receive()
        if message["type"] == "http.disconnect":
            left.append("left")
            return
        await answered.wait()
        await send(start((b"content-length", b"0"), status=200))
        await send(body(b""))

    state, wire, timers = ServerState(), cast("Any", Wire()), cast("Any", Timers())
    protocol = BoundedProtocol(Config(read, log_config=None, lifespan="off", ws="none"), state, {}, timers)
    protocol.connection_made(wire)
    for piece in said:
        protocol.data_received(piece)
        await asyncio.sleep(0)
    if len(said[0]) > len(SIZED):  # two in one go: the first is being answered
        assert timers.set == []
        answered.set()
        while protocol.pipeline:
            await asyncio.sleep(0)
        protocol.data_received(b"d")
    timers.go_off()
    assert wire.closed
    protocol.connection_lost(None)
    while state.tasks:
        await asyncio.sleep(0)
    assert left == ["left"]


async def test_behind_a_proxy_the_clients_own_address_counts() -> None:
    """000-60: limits of claims are those of who asks, not of the proxy; only a proxy on this machine is believed."""
    heard: list[str] = []

    async def claim(code: str, email: str, address: str) -> None:
        heard.append(address)
        raise LumniError("not now")

    people = SimpleNamespace(claims=SimpleNamespace(claim=claim))
    app = create_app(cast("Services", SimpleNamespace(settings=Settings(), keyring=Keyring(""), people=people)))
    for peer in ("127.0.0.1", "198.51.100.7"):
        transport = ASGITransport(cast("Any", app), client=(peer, 1))
        async with AsyncClient(transport=transport, base_url="http://lumni") as client:
            await client.post("/claim", data={"code": "c", "email": "e"}, headers={"x-forwarded-for": "203.0.113.9"})
    assert heard == ["203.0.113.9", "198.51.100.7"]


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
