"""HTTP/1.1 over a socket, with an end to what a client can make us keep, skip or wait for."""

import asyncio
from typing import Any

import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from lumni.errors import HeadersTooLarge, InvalidRequest, LumniError

LINGER_SECONDS = 5.0
"""How long a client may go on with a refused body: long enough to read the refusal (RFC 9112, section 9.6)."""


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which alone would keep a head and trailers of any size, and read a refused body for ever.

    A client that sends more than ``h11_max_incomplete_event_size`` bytes (uvicorn's name for it) of a request line,
    headers, trailers or chunk framing is cut off. It keeps at most that and what one read brings. Heads that are
    complete within one read are left to ``middleware.Limits``.
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
        self._linger: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        self._advanced = False
        super().data_received(data)
        self._pending = 0 if self._advanced else self._pending + len(data)
        if self._pending > self._most_pending:
            self._refuse(HeadersTooLarge(f"The request line and headers are larger than {self._most_pending} bytes."))

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_lingering()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self._advanced, self._in_head, self._whole = True, True, False
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # what comes later is a trailer, which nobody reads
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._advanced, self._in_head = True, False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._advanced = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._advanced, self._in_head, self._whole = True, True, True
        self._stop_lingering()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._whole and self.cycle.response_complete and not self.transport.is_closing():
            self._linger = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def send_400_response(self, msg: str) -> None:
        """uvicorn's answer to what is no HTTP, in OpenAI's shape."""
        self._refuse(InvalidRequest(f"This is no valid HTTP request: {msg}", code="invalid_http"))

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: uvicorn would advise to install a library for what no route speaks, at every attempt."""

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
