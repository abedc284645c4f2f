"""What answers a chat request: bytes at once, or a stream."""

import logging
from collections.abc import AsyncGenerator, Callable, Mapping

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lumni import sse
from lumni.api.exchange import Header
from lumni.api.presence import while_wanted
from lumni.api.visit import Visit
from lumni.errors import InternalError, LumniError, ShuttingDown
from lumni.gateway.reply import Closing, Reply

logger = logging.getLogger(__name__)
Encode = Callable[[bytes], bytes]


def response_of(reply: Reply, visit: Visit, encode: Encode | None = None) -> Response:
    """``encode`` gives the events of a stream another form."""
    if reply.events is not None:
        return EventStream(reply.events, reply.headers, visit, encode)
    return Whole(sse.dumps(reply.body or {}), reply.headers)


class Whole(Response):
    """A body of JSON. What it shares with Starlette's own is made in one pass."""

    media_type = "application/json"

    def __init__(self, body: bytes, headers: Mapping[str, str]) -> None:
        self.status_code, self.body, self.background = 200, body, None
        self.raw_headers = [*_encoded(headers), *_JSON, (b"content-length", b"%d" % len(body))]


class EventStream(Response):
    """Sends ``events`` as they come. An error becomes an event too; only a whole answer gets ``[DONE]``."""

    media_type = "text/event-stream"

    def __init__(
        self, events: AsyncGenerator[bytes], headers: Mapping[str, str], visit: Visit, encode: Encode | None = None
    ) -> None:
        self.status_code, self.body, self.background = 200, b"", None
        self.raw_headers = [*_encoded(headers), *_STREAMED]
        self._events = events
        self._visit = visit
        self._encode = encode

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  (ASGI gives it)
        drain = self._visit.services.pipeline.drain
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            tail = await while_wanted(self._visit.presence, drain, self._send_events(send))
        except ShuttingDown as error:
            tail = sse.event(error.body())
        except ClientDisconnect:
            return
        finally:
            await self._events.aclose()
        await send({"type": "http.response.body", "body": tail, "more_body": False})

    async def _send_events(self, send: Send) -> bytes:
        """Returns what ends the stream: its last events and ``[DONE]``, or the event of the error that broke it off."""
        last = b""
        try:
            async for events in self._events:
                body = self._encode(events) if self._encode else events
                if isinstance(events, Closing):
                    last = body
                elif body:
                    await send({"type": "http.response.body", "body": body, "more_body": True})
        except LumniError as error:
            return sse.event(error.body())
        except Exception:
            logger.exception("a fault of ours in the middle of a stream")
            return sse.event(InternalError("Lumni made a mistake in the middle of this stream.").body())
        finally:
            await self._events.aclose()
        return last + sse.DONE


_JSON: tuple[Header, ...] = ((b"content-type", b"application/json"),)
_STREAMED: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


def _encoded(headers: Mapping[str, str]) -> list[Header]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
