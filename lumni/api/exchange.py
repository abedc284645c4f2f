"""One request and its answer on a connection: what is written to the socket."""

import re

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

Header = tuple[bytes, bytes]
_BODILESS = (204, 304)
_CONTROL = re.compile(rb"[^\t\r\n\x20-\x7e\x80-\xff]")


class Exchange(RequestResponseCycle):
    """uvicorn's, which would check a head field by field and write it by itself: here it goes with the body's first
    piece, in one packet."""

    _head = b""
    _until_close = False  # how a body ends for a client that knows no chunks

    async def send(self, message: ASGISendEvent) -> None:
        """As ASGI has it. Raises ``RuntimeError`` for what is out of turn, or would not be HTTP."""
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if message["type"] == "http.response.start" and not self.response_started:
            self._head = self._rendered(message["status"], [*self.default_headers, *message.get("headers", ())])
            self.response_started, self.waiting_for_100_continue = True, False
        elif message["type"] == "http.response.body" and self.response_started and not self.response_complete:
            self._write(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"{message['type']} is out of turn.")

    def _rendered(self, status: int, headers: list[Header]) -> bytes:
        """The head. Notes how the body is framed."""
        named = dict(headers)
        if b"content-length" in named:
            self.chunked_encoding, self.expected_content_length = False, int(named[b"content-length"])
        else:
            has_body = self.scope["method"] != "HEAD" and status not in _BODILESS
            self.chunked_encoding = has_body and self.scope["http_version"] == "1.1"
            if self.chunked_encoding:
                headers.append((b"transfer-encoding", b"chunked"))
            elif has_body:
                self._until_close, self.keep_alive = True, False
        if b"close" in named.get(b"connection", b"").lower():
            self.keep_alive = False
        elif not self.keep_alive:
            headers.append((b"connection", b"close"))
        head = b"".join([b"%b: %b\r\n" % header for header in headers])
        if not head.count(b"\r") == head.count(b"\n") == len(headers) or _CONTROL.search(head):
            raise RuntimeError("A header has a line break or another control character in it.")
        return b"%b%b\r\n" % (STATUS_LINE[status], head)

    def _write(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            body, self.expected_content_length = b"", 0
        elif self.chunked_encoding:
            if body:
                body = b"%x\r\n%b\r\n" % (len(body), body)
            if not more:
                body += b"0\r\n\r\n"
        elif not self._until_close:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0 or (self.expected_content_length and not more):
                raise RuntimeError("The body is not as long as its content-length.")
        if self.transport.is_closing():  # of requests in one go, uvicorn tells the last one only that nobody is there
            self.disconnected = True
            return
        self.transport.write(self._head + body)
        self._head = b""
        if not more:
            self._complete()

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
