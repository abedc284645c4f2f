"""One request over HTTP/1.1 and its answer (RFC 9112), read by httptools as it comes."""

import asyncio
import math
import zlib
from collections.abc import Callable

import httptools

BACKLOG = 2**18
"""Bytes that may wait to be read of a stream; the provider waits after that."""
LARGEST_HEAD = 2**16
LARGEST_ANSWER = 2**26
"""Bytes of a whole answer, and of what one piece of a packed one unfolds to. Nothing that a model says is that long."""
_ANY_ZLIB = 32 + zlib.MAX_WBITS  # gzip or deflate, whichever its first bytes say
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})


class Exchange:
    """``headers`` are by their names in lower case, ``status`` is 0 until they are there; ``ended``: all has come.

    Whoever reads gets what came before the connection broke, and then ``OSError``, or httptools' ``HttpParserError``
    for what is no HTTP.
    """

    def __init__(self, transport: asyncio.Transport, free: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        """``free`` is called once the answer has come and the connection can carry another."""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended = False
        self._transport = transport
        self._free = free
        self._loop = loop
        self._pieces: list[bytes] = []
        self.on_body = self._pieces.append  # httptools calls it for each chunk
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._unpack: Callable[[bytes], bytes] | None = None
        self._waiting = 0  # bytes
        self._lasting = False  # whether the connection outlives the answer
        self._error: Exception | None = None
        self._reader: asyncio.Future[None] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._due = math.inf

    async def begin(self) -> int:
        """The status, once the headers are there."""
        while not self.status:
            await self._news(math.inf)
        return self.status

    async def whole(self) -> bytes:
        """All of the body."""
        size = 0
        while not self.ended:
            size += self._waiting
            if size > LARGEST_ANSWER:
                self._break(OSError("an answer without an end"))
            self._resume()
            await self._news(math.inf)
        return self._take()

    async def more(self, due: float = math.inf) -> bytes:
        """What has come of the body, as soon as anything has; nothing at its end.

        Raises ``TimeoutError`` if that is not before ``due`` (loop time).
        """
        while True:
            while not (self._pieces or self.ended):
                await self._news(due)
            if (body := self._take()) or self.ended:
                return body

    def close(self) -> None:
        """Hang up, unless all has come."""
        if self._alarm:
            self._alarm.cancel()
        if not self.ended:
            self._transport.abort()  # closing would wait for who reads nothing to read the request

    def linger(self, seconds: float) -> None:
        """Nobody reads on. Hang up if the end doesn't come within ``seconds``: else the connection can be kept."""
        if self._alarm:
            self._alarm.cancel()
        if not self.ended:
            self._alarm = self._loop.call_later(seconds, self.close)

    def heard(self, data: bytes) -> None:
        """The connection brought this."""
        if (parser := self._parser) is None:
            return
        self._waiting += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._break(error)
            return
        if self.ended:
            self._parser = None  # it knows this object too
            if self._lasting and not self._transport.get_write_buffer_size():  # who answers early may not read on
                self._free()
            else:
                self._transport.close()
        elif not self.status and self._waiting > LARGEST_HEAD:
            self._break(OSError("headers without an end"))
        elif self._waiting > BACKLOG:
            self._transport.pause_reading()
        self._wake()

    def lost(self, error: Exception | None) -> None:
        """The connection was closed."""
        self._parser = None
        until_the_end = self.status and not self.headers.keys() & {"content-length", "transfer-encoding"}
        if error is None and until_the_end:
            self.ended = True
        elif not self.ended:
            self._error = self._error or ConnectionError("the connection was closed")
        self._wake()

    def on_message_begin(self) -> None:
        if self.ended:
            raise OSError("more than was asked for")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        assert self._parser is not None  # noqa: S101  (it is what calls)
        status = self._parser.get_status_code()
        if status == 101:
            raise OSError("another protocol than was asked for")
        if status < 200:  # an interim one
            self.headers.clear()
            return
        self.status, self._lasting = status, self._parser.should_keep_alive()
        if (coding := self.headers.get("content-encoding", "identity").lower()) in _PACKED:
            self._unpack = _unpacking()
        elif coding != "identity":
            raise OSError("an answer in a coding that wasn't asked for")

    def on_message_complete(self) -> None:
        self.ended = bool(self.status)

    async def _news(self, due: float) -> None:
        """Wait until something comes, at most until ``due``: one timer, which follows as that moves."""
        if self._error:
            raise self._error
        self._reader, self._due = self._loop.create_future(), due
        if self._alarm is None and due < math.inf:
            self._alarm = self._loop.call_at(due, self._ring)
        try:
            await self._reader
        finally:
            self._reader = None

    def _ring(self) -> None:
        self._alarm = None
        if self._reader is None or self._reader.done():
            return
        if self._due > self._loop.time():
            self._alarm = self._loop.call_at(self._due, self._ring)
        else:
            self._reader.set_exception(TimeoutError())

    def _wake(self) -> None:
        if self._reader and not self._reader.done():
            self._reader.set_result(None)

    def _take(self) -> bytes:
        body = b"".join(self._pieces)
        self._pieces.clear()
        self._resume()
        return self._unpack(body) if self._unpack else body

    def _resume(self) -> None:
        if self._waiting > BACKLOG and not (self.ended or self._transport.is_closing()):
            self._transport.resume_reading()
        self._waiting = 0

    def _break(self, error: Exception) -> None:
        """What came is no answer."""
        self._parser, self._error = None, self._error or error
        self._transport.close()
        self._wake()


def _unpacking() -> Callable[[bytes], bytes]:
    """Raises ``zlib.error``, and ``OSError`` for a little that unfolds to very much."""
    packed = zlib.decompressobj(_ANY_ZLIB)

    def unpack(piece: bytes) -> bytes:
        text = packed.decompress(piece, LARGEST_ANSWER)
        if packed.unconsumed_tail:
            raise OSError("an answer larger than any")
        return text

    return unpack
