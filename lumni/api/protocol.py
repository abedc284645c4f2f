"""HTTP/1.1 over a socket, with an end to what a client can make us keep, skip or wait for."""

import asyncio
from typing import Any
from urllib.parse import unquote

import httptools
import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from lumni.api.exchange import Exchange
from lumni.api.presence import Presence
from lumni.errors import HeadersTooLarge, InvalidRequest, LumniError

LINGER_SECONDS = 5.0
"""How long a client may go on with a refused body: long enough to read the refusal (RFC 9112, section 9.6)."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which alone would keep a head and trailers of any size, and read a refused body for ever.

    A client that sends more than ``h11_max_incomplete_event_size`` bytes (uvicorn's name for it) of a request line,
    headers, trailers or chunk framing is cut off. It keeps at most that and what one read brings. Heads that are
    complete within one read are left to ``middleware.Limits``. A client that owes a head or a body, or the rest of one,
    may be silent for ``timeout_keep_alive`` seconds.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._most_pending = config.h11_max_incomplete_event_size or 0
        self._pending = 0  # bytes since the parser last came to a head's begin or end, or to a piece of a body
        self._advanced = False
        self._in_head = True
        self._whole = True  # nothing is missing of the request that came last
        self._upgrading = False  # the request that is being read asks for another protocol
        self._linger: asyncio.TimerHandle | None = None
        self._presence = Presence()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_more()

    def data_received(self, data: bytes) -> None:
        self._advanced = False
        self._unset_keepalive_if_required()
        try:
            self._read(data)
        except httptools.HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.send_400_response("Invalid HTTP request received.")
        if self.cycle is None or self.cycle.response_complete or not (self._whole or self.pipeline):
            self._await_more()
        self._pending = 0 if self._advanced else self._pending + len(data)
        if self._pending > self._most_pending:
            self._refuse(HeadersTooLarge(f"The request line and headers are larger than {self._most_pending} bytes."))

    def _read(self, data: bytes) -> None:
        """Parse it. Raises ``HttpParserError``.

        The parser stops behind a head that asks for another protocol and takes the body for that. Such a wish may be
        left aside (RFC 9110, section 7.8), and then all is read once more without it.
        """
        while data:
            try:
                self.parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as stopped:
                rest = data[stopped.args[0] :]
                data = self._head_without_upgrade() + rest if self._upgrading else b""  # nothing follows a CONNECT

    def _head_without_upgrade(self) -> bytes:
        line = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        headers = [b"%b: %b" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([line, *headers, b"", b""])

    def _await_more(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_lingering()
        super().connection_lost(exc)
        self._presence.leave()

    def on_message_begin(self) -> None:
        self._advanced, self._in_head, self._whole = True, True, False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # what comes later is a trailer, which nobody reads
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """uvicorn's, with an exchange of ours, and without what no setting of ours asks for."""
        self._advanced = True
        method = self.parser.get_method()
        self._upgrading = self.parser.should_upgrade() and method != b"CONNECT"
        if self._upgrading:
            return
        url, version = httptools.parse_url(self.url), self.parser.get_http_version()
        raw_path = url.path or b"/"
        path = raw_path.decode("ascii")
        self.scope["http_version"] = version
        self.scope["method"] = method.decode("ascii")
        self.scope["path"] = unquote(path) if "%" in path else path
        self.scope["raw_path"] = raw_path
        self.scope["query_string"] = url.query or b""
        self.scope["extensions"] = {Presence.EXTENSION: self._presence}  # type: ignore[dict-item]  # ours is no dict
        before, self.cycle = (
            self.cycle,
            Exchange(
                scope=self.scope,
                transport=self.transport,
                flow=self.flow,
                logger=self.logger,
                access_logger=self.access_logger,
                access_log=False,
                default_headers=self.server_state.default_headers,
                message_event=asyncio.Event(),
                expect_100_continue=self.expect_100_continue and version != "1.0",
                keep_alive=version != "1.0" and self.parser.should_keep_alive(),
                on_response=self.on_response_complete,
            ),
        )
        self._in_head = False
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:  # requests in one go take their turn
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        self._advanced = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        self._advanced, self._in_head, self._whole = True, True, True
        self._stop_lingering()
        super().on_message_complete()
        if not self.pipeline:  # a long body may have paused it; but who leaves is noticed by reading only
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._whole and self.cycle.response_complete and not self.transport.is_closing():
            self._linger = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        """uvicorn's answer to what is no HTTP, in OpenAI's shape."""
        self._refuse(InvalidRequest(f"This is no valid HTTP request: {msg}", code="invalid_http"))

    def _refuse(self, error: LumniError) -> None:
        """Close the connection; say why if an answer is due and no other is on its way."""
        if self.transport.is_closing():
            return
        if self._in_head:
            due = self.cycle is None or self.cycle.response_complete
        else:
            due = not self.cycle.response_started and not self.pipeline
        if due:
            body = orjson.dumps(error.body())
            lines = {**error.headers(), "content-type": "application/json", "content-length": len(body)}
            head = "".join(f"{name}: {value}\r\n" for name, value in {**lines, "connection": "close"}.items())
            self.transport.write(STATUS_LINE[error.status] + head.encode("ascii") + b"\r\n" + body)
        self.transport.close()

    def _stop_lingering(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None
