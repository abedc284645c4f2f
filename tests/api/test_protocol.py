"""What clients do on the socket itself: heads and bodies without end, upgrades, and what is no HTTP."""

import json
import re
import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.gateway import Gateway

MEGABYTE = 2**20
FLOOD = 10 * MEGABYTE
FLOODS = 12  # at once: kept whole, they would need far more than MOST_GROWTH
MOST_GROWTH = 40 * MEGABYTE
IN_FLIGHT = 8 * MEGABYTE  # what the kernel's buffers may have taken before the client hears of the end
BODY_LIMIT = 100_000


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("sockets"), MAX_BODY_BYTES=str(BODY_LIMIT)) as started:
        yield started


def connect(gateway: Gateway) -> socket.socket:
    host, port = gateway.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=120)


def pour(connection: socket.socket, start: bytes, piece: bytes, total: int = FLOOD) -> int:
    """Send ``start``, then ``piece`` again and again, until cut off or ``total`` bytes are out; how many that were."""
    sent = 0
    try:
        connection.sendall(start)
        while sent < total:
            connection.sendall(piece)
            sent += len(piece)
    except ConnectionError:
        pass
    return sent


def drain(connection: socket.socket) -> bytes:
    """All that comes until the gateway closes; a test that waits for that in vain fails with a time-out."""
    answer = b""
    try:
        while more := connection.recv(65536):
            answer += more
    except ConnectionError:
        pass
    return answer


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of the next answer, by its content-length."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        more = connection.recv(65536)
        assert more, answer
        answer += more
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)content-length: (\d+)", head)
    assert length, head
    while len(body) < int(length[1]):
        body += connection.recv(65536)
    return int(head.split()[1]), body


def status_of(answer: bytes) -> int | None:
    """``None`` where the reset of the connection has overtaken the answer."""
    return int(answer.split()[1]) if answer else None


def authorized(gateway: Gateway, *headers: str) -> bytes:
    lines = ["POST /v1/chat/completions HTTP/1.1", "host: x", f"authorization: Bearer {gateway.key}",
             "content-type: application/json", *headers, "", ""]  # fmt: skip
    return "\r\n".join(lines).encode()


HEAD = b"GET /health HTTP/1.1\r\nhost: x\r\n"
LONG = b"x" * 65536
ENDLESS = {
    "many headers": (HEAD, b"a: b\r\n" * 10_000),
    "a header's value": (HEAD + b"a: ", LONG),
    "a header's name": (HEAD, LONG),
    "the request line": (b"GET /", LONG),
    "the query": (b"GET /health?q=", LONG),
    "the method": (b"GET", LONG),
    "empty lines": (b"", b"\r\n" * 30_000),
}
IN_A_BODY = {
    "trailers": (b"1\r\nx\r\n0\r\n", b"a: b\r\n" * 10_000),
    "a trailer's value": (b"1\r\nx\r\n0\r\na: ", LONG),
    "a chunk's extension": (b"1;", LONG),
}


class Peak:
    """The most memory that a process has had since this was made, in bytes beyond what it had then (Linux)."""

    def __init__(self, pid: int) -> None:
        if sys.platform != "linux":
            pytest.skip("reads /proc")
        self._status = Path(f"/proc/{pid}/status")
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): sets the peak to what is resident now
        self._before = self._read("VmRSS")

    def growth(self) -> int:
        return self._read("VmHWM") - self._before

    def _read(self, name: str) -> int:
        found = re.search(rf"{name}:\s+(\d+) kB", self._status.read_text())
        assert found
        return int(found[1]) * 1024


def flood(gateway: Gateway, start: bytes, piece: bytes) -> list[tuple[int, bytes]]:
    """What happens to ``FLOODS`` connections that are all open at once: the bytes each one got rid of, its answer."""
    connections = [connect(gateway) for _ in range(FLOODS)]
    try:
        sent = [pour(connection, start, piece) for connection in connections]
        return [(out, drain(connection)) for out, connection in zip(sent, connections, strict=True)]
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.parametrize("name", ENDLESS)
def test_a_head_without_end_is_cut_off(gateway: Gateway, name: str) -> None:
    """003-07: with a 431 (400 for what is no HTTP) or a closed connection, long before 10 MB; memory stays bounded."""
    peak = Peak(gateway.process.pid)
    for sent, answer in flood(gateway, *ENDLESS[name]):
        assert sent < IN_FLIGHT
        assert status_of(answer) in {None, 431, 400 if name == "the method" else 431}
    assert peak.growth() < MOST_GROWTH


@pytest.mark.parametrize("name", IN_A_BODY)
def test_a_body_with_endless_framing_is_cut_off(gateway: Gateway, name: str) -> None:
    """003-07: what chunked coding lets a client send besides the body is bounded as the head is."""
    start, piece = IN_A_BODY[name]
    peak = Peak(gateway.process.pid)
    for sent, answer in flood(gateway, authorized(gateway, "transfer-encoding: chunked") + start, piece):
        assert sent < IN_FLIGHT
        assert status_of(answer) in {None, 431}
    assert peak.growth() < MOST_GROWTH


CHUNK = b"%x\r\n%b\r\n" % (len(LONG), LONG)


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_without_end_is_refused_and_cut_off(gateway: Gateway, announced: bool) -> None:
    """003-07: 413, read by a client that listens, and memory stays bounded however long it goes on."""
    framing = f"content-length: {10**12}" if announced else "transfer-encoding: chunked"
    peak = Peak(gateway.process.pid)
    with connect(gateway) as connection:
        pour(connection, authorized(gateway, framing), LONG if announced else CHUNK, 2 * BODY_LIMIT)
        status, body = read_answer(connection)
        assert status == 413
        assert json.loads(body)["error"]["code"] == "request_too_large"
        pour(connection, b"", LONG if announced else CHUNK, 50 * FLOOD)
        assert drain(connection) == b""  # ends only if the gateway closes
    assert peak.growth() < MOST_GROWTH


def test_a_client_that_stalls_in_a_refused_body_is_cut_off(gateway: Gateway) -> None:
    """003-07: it holds no connection by sending nothing more."""
    with connect(gateway) as connection:
        connection.sendall(authorized(gateway, f"content-length: {10**12}"))
        assert read_answer(connection)[0] == 413
        assert drain(connection) == b""


def test_a_connection_lives_on_after_a_refused_body_that_ends(gateway: Gateway) -> None:
    """003-07: the next request on it is served."""
    with connect(gateway) as connection:
        connection.sendall(authorized(gateway, f"content-length: {2 * BODY_LIMIT}") + b"x" * 2 * BODY_LIMIT)
        assert read_answer(connection)[0] == 413
        connection.sendall(HEAD + b"\r\n")
        assert read_answer(connection) == (200, b'{"status":"ok"}')


def test_a_head_in_small_pieces_gets_its_431(gateway: Gateway) -> None:
    """003-07: in OpenAI's shape, at the limit of `max_header_bytes`, 32 KiB by default."""
    with connect(gateway) as connection:
        connection.sendall(HEAD)
        sent = 0
        while not select.select([connection], [], [], 0.01)[0] and sent < MEGABYTE:
            sent += connection.send(b"a: " + b"b" * 1019 + b"\r\n")
        status, body = read_answer(connection)
        assert status == 431
        assert json.loads(body)["error"]["code"] == "headers_too_large"
        assert drain(connection) == b""


@pytest.mark.parametrize("line", [b"GET /health?" + b"q" * 40_000, b"GET /" + b"q" * 40_000])
def test_a_long_request_line_gets_a_431(gateway: Gateway, line: bytes) -> None:
    """003-07: also if it comes at once."""
    with connect(gateway) as connection:
        connection.sendall(line + b" HTTP/1.1\r\nhost: x\r\n\r\n")
        assert read_answer(connection)[0] == 431


def test_requests_in_one_go_are_all_answered(gateway: Gateway) -> None:
    """003-07: bounds are for one request, not for a connection: pipelined ones, long bodies and trailers too."""
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "y" * 60_000}]}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\nchecksum: 1\r\n\r\n"
    with connect(gateway) as connection:
        connection.sendall(authorized(gateway, "transfer-encoding: chunked") + chunks)
        status, answer = read_answer(connection)
        assert status == 200, answer
        for _ in range(50):
            connection.sendall(HEAD + b"a: " + b"b" * 1000 + b"\r\n\r\n")
            assert read_answer(connection)[0] == 200
        connection.sendall((HEAD + b"\r\n") * 2)
        assert drain_two(connection) == 2


def drain_two(connection: socket.socket) -> int:
    answer = b""
    while answer.count(b'{"status":"ok"}') < 2:
        more = connection.recv(65536)
        assert more, answer
        answer += more
    return answer.count(b"HTTP/1.1 200")


def asked(gateway: Gateway, *headers: str, version: str = "1.1") -> tuple[bytes, bytes]:
    """Head and body of a chat request."""
    sent = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "What is a list?"}]}).encode()
    head = authorized(gateway, f"content-length: {len(sent)}", *headers)
    return head.replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1), sent


H2C = ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAoAAAAAIAAAAA")


@pytest.mark.parametrize("pieces", ["at once", "body later", "byte by byte"])
def test_who_would_rather_speak_http_2_is_answered(gateway: Gateway, pieces: str) -> None:
    """003-07: Java's own client asks for that with each request. The wish is left aside, and the body read all the
    same; the next request on the connection is one of its own."""
    head, body = asked(gateway, *H2C)
    with connect(gateway) as connection:
        for _ in range(2):
            sent = [head + body] if pieces == "at once" else [head, body]
            if pieces == "byte by byte":
                sent = [bytes([byte]) for byte in head + body]
            for piece in sent:
                connection.sendall(piece)
            status, answer = read_answer(connection)
            assert status == 200, answer
        connection.sendall(head + body + head + body)
        assert read_answer(connection)[0] == 200


def test_an_address_without_a_path_is_answered(gateway: Gateway) -> None:
    """003-07: a proxy may write it so."""
    with connect(gateway) as connection:
        connection.sendall(b"GET http://x HTTP/1.1\r\nhost: x\r\n\r\n")
        assert read_answer(connection)[0] == 401
    assert "Traceback" not in gateway.log()


def test_a_client_of_http_1_0_is_not_told_to_continue(gateway: Gateway) -> None:
    """003-07: it would take that for the answer (RFC 9110, section 10.1.1)."""
    head, body = asked(gateway, "expect: 100-continue", version="1.0")
    with connect(gateway) as connection:
        connection.sendall(head + body)
        assert drain(connection).startswith(b"HTTP/1.1 200 OK\r\n")


def test_who_leaves_with_more_than_one_request_open_is_no_fault(gateway: Gateway) -> None:
    """003-34"""
    head, body = asked(gateway)
    with connect(gateway) as connection:
        connection.sendall((head + body) * 3)
    with connect(gateway) as connection:
        connection.sendall(head + body)
        assert read_answer(connection)[0] == 200
    assert "Traceback" not in gateway.log()


@pytest.mark.parametrize(
    "request_bytes", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"{}\r\n\r\n"]
)
def test_what_is_no_http_gets_a_400(gateway: Gateway, request_bytes: bytes) -> None:
    """003-07: in OpenAI's shape, and the connection ends."""
    with connect(gateway) as connection:
        connection.sendall(request_bytes)
        status, body = read_answer(connection)
        assert status == 400
        assert json.loads(body)["error"]["code"] == "invalid_http"
        assert drain(connection) == b""


UPGRADE = (
    "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
)


@pytest.mark.parametrize(("path", "with_key", "expected"), [
    ("/v1/chat/completions", False, 401), ("/v1/chat/completions", True, 405), ("/v1/realtime", True, 404),
])  # fmt: skip
def test_a_websocket_is_refused(gateway: Gateway, path: str, with_key: bool, expected: int) -> None:
    """003-07: no 101, but an error in OpenAI's shape; the gateway logs no fault and serves the next client."""
    more = f"authorization: Bearer {gateway.key}\r\n" if with_key else ""
    with connect(gateway) as connection:
        connection.sendall(UPGRADE.format(path=path, more=more).encode())
        status, body = read_answer(connection)
        assert status == expected
        assert json.loads(body)["error"]["type"]
    with connect(gateway) as connection:
        connection.sendall(HEAD + b"\r\n")
        assert read_answer(connection)[0] == 200
    assert "Traceback" not in gateway.log()
    assert "WebSocket" not in gateway.log()
