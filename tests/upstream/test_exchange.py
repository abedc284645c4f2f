"""HTTP/1.1 to providers: what comes over a connection, whole or in pieces, and which connections are kept."""

import asyncio
import gzip
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any

import httptools
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from lumni.upstream.connections import Connections, Pool
from lumni.upstream.exchange import BACKLOG, LARGEST_HEAD, Exchange

OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\n\r\n"
SIZED = OK + b"content-length: 12\r\n\r\nhello, world"
PACKED = gzip.compress(b"hello, world")
ANSWERS = {
    "chunked": CHUNKED,
    "with trailers": CHUNKED[:-2] + b"x-more: 1\r\n\r\n",
    "of a known length": SIZED,
    "after an interim one": b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + SIZED,
    "packed": OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b" % (len(PACKED), PACKED),
    "with bare line feeds": CHUNKED.replace(b"\r\n", b"\n", 2),
}
CUT = {"chunked": CHUNKED[:-5], "of a known length": SIZED[:-1], "in its headers": SIZED[:30]}


class Transport(asyncio.Transport):
    """Remembers what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = self.paused = False
        self.unsent = 0

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.paused = True

    def resume_reading(self) -> None:
        self.paused = False


def exchange(free: Callable[[], None] = lambda: None) -> tuple[Exchange, Transport]:
    transport = Transport()
    return Exchange(transport, free, asyncio.get_running_loop()), transport


@pytest.mark.parametrize("answer", ANSWERS)
@given(cuts=st.sets(st.integers(1, 150)))
async def test_an_answer_is_the_same_however_it_is_cut(answer: str, cuts: set[int]) -> None:
    sent, freed = ANSWERS[answer], list[int]()
    one, transport = exchange(lambda: freed.append(1))
    places = sorted({0, *(cut for cut in cuts if cut < len(sent)), len(sent)})
    for start, end in pairwise(places):
        one.heard(sent[start:end])
    assert await one.begin() == 200
    assert one.headers["content-type"] == "text/plain"
    assert await one.whole() == b"hello, world"
    assert (freed, transport.closed) == ([1], False)


@pytest.mark.parametrize("answer", ANSWERS)
async def test_what_has_come_is_given_at_once(answer: str) -> None:
    one, _ = exchange()
    waiting = asyncio.ensure_future(one.more())
    read = b""
    for byte in ANSWERS[answer]:
        one.heard(bytes([byte]))
        for _ in range(3):
            await asyncio.sleep(0)
        if waiting.done():
            read += waiting.result()
            waiting = asyncio.ensure_future(one.more())
    assert read == b"hello, world"
    assert await waiting == b""


@pytest.mark.parametrize("answer", CUT)
async def test_an_answer_that_breaks_off_is_none(answer: str) -> None:
    """But what came before is given first."""
    one, _ = exchange()
    one.heard(CUT[answer])
    one.lost(None)
    if answer != "in its headers":
        assert b"hello, world".startswith(await one.more())
    with pytest.raises(ConnectionError):
        await one.more()


async def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    for error in (None, ConnectionResetError()):
        one, _ = exchange()
        one.heard(OK + b"\r\nhello")
        one.lost(error)
        if error is None:
            assert await one.whole() == b"hello"
        else:
            with pytest.raises(ConnectionError):
                await one.whole()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        OK + b"content-encoding: br\r\ncontent-length: 1\r\n\r\nx",
        OK + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\nx",
        OK + b"x: " + b"x" * LARGEST_HEAD,
    ],
)
async def test_what_is_no_answer_closes_the_connection(nonsense: bytes) -> None:
    one, transport = exchange()
    reading = asyncio.ensure_future(one.whole())
    await asyncio.sleep(0)
    one.heard(nonsense)
    with pytest.raises((OSError, httptools.HttpParserError)):
        await reading
    assert transport.closed


@pytest.mark.parametrize("more", [SIZED, b"x", b"H", SIZED[:20]])
async def test_more_than_was_asked_for_spoils_the_connection_only(more: bytes) -> None:
    freed = list[int]()
    one, transport = exchange(lambda: freed.append(1))
    one.heard(SIZED + more)
    assert (one.status, await one.whole()) == (200, b"hello, world")
    assert transport.closed
    assert not freed


async def test_who_answers_before_the_request_is_out_is_asked_no_more_over_that_connection() -> None:
    """It may never read the rest, and the next request would wait behind that."""
    freed = list[int]()
    one, transport = exchange(lambda: freed.append(1))
    transport.unsent = 1
    one.heard(SIZED)
    assert await one.whole() == b"hello, world"
    assert transport.closed
    assert not freed


async def test_an_answer_without_an_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor what little bytes unfold to: memory is bounded, whatever a provider sends."""
    monkeypatch.setattr("lumni.upstream.exchange.LARGEST_ANSWER", 2**20)
    one, transport = exchange()
    one.heard(OK + b"\r\n")
    reading = asyncio.ensure_future(one.whole())
    for _ in range(18):
        await asyncio.sleep(0)
        one.heard(b"x" * 2**16)
    with pytest.raises(OSError, match="without an end"):
        await asyncio.wait_for(reading, 60)
    assert transport.closed
    packed = gzip.compress(b"x" * 2**21)
    one, transport = exchange()
    one.heard(OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b" % (len(packed), packed))
    with pytest.raises(OSError, match="larger than any"):
        await one.whole()


async def test_who_reads_nothing_holds_no_connection() -> None:
    """Once the attempt is given up, the connection ends, however much of the request is still to be sent."""
    lost, served = asyncio.Event(), asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await lost.wait()
        writer.transport.abort()
        served.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**10)
    connections = Connections()
    url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    pool = connections.of("account", url)
    one = await pool.post(pool.head(url, {}), b"x" * 2**25)
    told = one.lost
    one.lost = lambda error: (told(error), lost.set())  # type: ignore[assignment, method-assign, func-returns-value]
    one.close()
    async with asyncio.timeout(60):
        await served.wait()
    await connections.close()
    server.close()


async def test_a_silence_ends_at_its_time_and_not_before() -> None:
    """The one timer follows as the time is put off."""
    one, _ = exchange()
    one.heard(CHUNKED[:-5])
    loop = asyncio.get_running_loop()
    assert await one.more(loop.time() + 0.05) == b"hello, world"
    late = loop.time() + 0.2
    patient = asyncio.ensure_future(one.more(late))
    with pytest.raises(TimeoutError):
        await patient
    assert loop.time() >= late
    one.heard(CHUNKED[-5:])
    assert await one.more(loop.time() + 60) == b""


async def test_what_nobody_reads_holds_the_provider_up() -> None:
    one, transport = exchange()
    one.heard(OK + b"\r\n" + b"x" * (BACKLOG + 1))
    assert transport.paused
    assert len(await one.more()) == BACKLOG + 1
    assert not transport.paused


async def test_an_end_that_comes_late_still_keeps_the_connection() -> None:
    freed = list[int]()
    one, transport = exchange(lambda: freed.append(1))
    one.heard(CHUNKED[:-5])
    one.linger(0.01)
    one.heard(CHUNKED[-5:])
    await asyncio.sleep(0.05)
    assert (freed, transport.closed) == ([1], False)
    two, transport = exchange()
    two.heard(CHUNKED[:-5])
    two.linger(0.01)
    async with asyncio.timeout(60):
        while not transport.closed:
            await asyncio.sleep(0.01)


class Server:
    """Answers each request of a connection with the next of ``answers``, and notes what it was sent."""

    def __init__(self, answers: Sequence[bytes]) -> None:
        self.answers = list(answers)
        self.connections = 0
        self.asked: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.url = URL()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        while not reader.at_eof():
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                await reader.readexactly(int(head.split("content-length: ")[1]))
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            self.asked.append(head)
            writer.write(self.answers.pop(0))
        writer.close()


@asynccontextmanager
async def serving(*answers: bytes) -> AsyncIterator[tuple[Server, Pool]]:
    served, connections = Server(answers), Connections()
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    served.url = URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/chat?a=b")
    try:
        yield served, connections.of("account", served.url)
    finally:
        await connections.close()
        for writer in served.writers:
            writer.close()
        server.close()


async def ask(pool: Pool, url: URL, **headers: str) -> bytes:
    one = await pool.post(pool.head(url, headers), b"{}")
    await one.begin()
    return await one.whole()


async def test_a_connection_is_kept_unless_its_answer_says_otherwise() -> None:
    leaving = SIZED.replace(b"Content-Type: text/plain", b"Connection: close")
    async with serving(SIZED, CHUNKED, leaving, SIZED) as (there, pool):
        for _ in range(4):
            assert await ask(pool, there.url, authorization="Bearer x") == b"hello, world"
        assert there.connections == 2
        head = there.asked[0].splitlines()
        assert head[0] == "POST /v1/chat?a=b HTTP/1.1"
        assert f"host: 127.0.0.1:{there.url.port}" in head
        assert "authorization: Bearer x" in head


async def test_a_connection_that_was_closed_meanwhile_is_not_used() -> None:
    async with serving(SIZED, SIZED) as (there, pool):
        await ask(pool, there.url)
        there.writers[0].close()
        async with asyncio.timeout(60):
            while pool._idle:
                await asyncio.sleep(0.01)
        assert await ask(pool, there.url) == b"hello, world"
        assert there.connections == 2


async def test_an_idle_connection_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lumni.upstream.connections.KEPT_SECONDS", 0.05)
    async with serving(SIZED) as (there, pool):
        await ask(pool, there.url)
        async with asyncio.timeout(60):
            while pool._idle or not there.writers[0].is_closing():
                await asyncio.sleep(0.01)


async def test_no_header_smuggles_another() -> None:
    for value in ("x\r\ny: z", "x\ny", "x\0"):
        with pytest.raises(ValueError, match="header"):
            Pool(URL("http://a")).head(URL("http://a/b"), {"x": value})


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with serving(SIZED, SIZED) as (proxy, _):
        monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{proxy.url.port}")
        pool = Pool(URL("http://provider.example"))
        assert await ask(pool, URL("http://provider.example/v1")) == b"hello, world"
        assert proxy.asked[0].startswith("POST http://provider.example/v1 HTTP/1.1\r\nhost: provider.example\r\n")
        assert "proxy-authorization: Basic dXNlcjpzZWNyZXQ=" in proxy.asked[0]
        await pool.close()


def certificate(folder: Path) -> Path:
    """A key and a certificate of 127.0.0.1 that it signed itself, in one file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "provider")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "provider.pem"
    path.write_bytes(key.private_bytes(*pem) + made.public_bytes(serialization.Encoding.PEM))
    return path


SECURED = """
import asyncio, ssl, sys
from yarl import URL
from lumni.upstream.connections import Pool

async def serve(reader, writer):
    for _ in range(2):
        head = await reader.readuntil(b"\\r\\n\\r\\n")
        await reader.readexactly(2)
        writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 5\\r\\n\\r\\nhello")
    await reader.read()
    writer.close()

async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = URL(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    pool = Pool(url.origin())
    for _ in range(2):
        one = await pool.post(pool.head(url, {}), b"{}")
        assert await one.begin() == 200
        print((await one.whole()).decode())
    await pool.close()
    server.close()

if sys.argv[2] == "uvloop":
    import uvloop
    uvloop.run(main())
else:
    asyncio.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_tls_is_spoken_with_whom_the_machine_trusts(tmp_path: Path, loop: str) -> None:
    path = certificate(tmp_path)

    def run(**environ: str) -> Any:
        command = [sys.executable, "-c", SECURED, str(path), loop]
        return subprocess.run(
            command, env={**os.environ, **environ}, capture_output=True, text=True, timeout=300, check=False
        )

    assert run(SSL_CERT_FILE=str(path)).stdout == "hello\nhello\n"
    assert "CERTIFICATE_VERIFY_FAILED" in run().stderr
