"""Streams to clients, and hanging up when they do."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lumni import sse
from lumni.errors import InternalError, LumniError, ShuttingDown
from lumni.gateway.drain import Drain

T = TypeVar("T")
logger = logging.getLogger(__name__)
Encode = Callable[[bytes], bytes]


class EventStream(Response):
    """Sends a reply's ``events`` as they come. An error becomes an event too; only a whole answer gets ``[DONE]``.

    ``encode`` gives them another form.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[bytes],
        headers: Mapping[str, str],
        drain: Drain,
        encode: Encode | None = None,
    ) -> None:
        super().__init__(headers={**headers, "cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._drain = drain
        self._encode = encode

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  (ASGI gives it)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            tail = await until_disconnect(receive, self._drain, self._send_events(send))
        except ShuttingDown as error:
            tail = sse.event(error.body())
        except ClientDisconnect:
            return
        finally:
            await self._events.aclose()
        await send({"type": "http.response.body", "body": tail, "more_body": False})

    async def _send_events(self, send: Send) -> bytes:
        """Returns what ends the stream: ``[DONE]``, or the event of the error that broke it off."""
        try:
            async for events in self._events:
                if body := self._encode(events) if self._encode else events:
                    await send({"type": "http.response.body", "body": body, "more_body": True})
        except LumniError as error:
            return sse.event(error.body())
        except Exception:
            logger.exception("a fault of ours in the middle of a stream")
            return sse.event(InternalError("Lumni made a mistake in the middle of this stream.").body())
        finally:
            await self._events.aclose()
        return sse.DONE


async def until_disconnect(receive: Receive, drain: Drain, work: Coroutine[Any, Any, T]) -> T:
    """``work``'s result. If it must end earlier, it is cancelled and may clean up before this raises.

    Raises :class:`ClientDisconnect` when the client hung up, :class:`ShuttingDown` when the time to drain is over.
    The request's body must have been read.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        awaited: set[asyncio.Future[Any]] = {task, gone, drain.ended()}
        await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled():
            return task.result()  # it was ready in the same instant, or had its own word on the end
        if drain.over:
            raise ShuttingDown("The gateway is being stopped. Ask again in a moment.")
        raise ClientDisconnect
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
