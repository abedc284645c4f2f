"""Server-sent events as OpenAI writes them, and hanging up when the client does."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import TypeVar

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lumni.errors import InternalError, LumniError
from lumni.types import Json

T = TypeVar("T")
logger = logging.getLogger(__name__)
Encode = Callable[[Json], bytes]


def openai_event(chunk: Json) -> bytes:
    """``data: {json}`` and an empty line."""
    return b"data: " + orjson.dumps(chunk) + b"\n\n"


class EventStream(Response):
    """Sends ``chunks`` as they come. An error inside becomes an error event; only a whole answer gets ``done``."""

    media_type = "text/event-stream"

    def __init__(
        self,
        chunks: AsyncGenerator[Json],
        headers: Mapping[str, str],
        encode: Encode = openai_event,
        done: bytes = b"data: [DONE]\n\n",
    ) -> None:
        super().__init__(headers={**headers, "cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._chunks = chunks
        self._encode = encode
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await until_disconnect(receive, self._send_all(send))
        except ClientDisconnect:
            return

    async def _send_all(self, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            tail = await self._send_chunks(send)
            await send({"type": "http.response.body", "body": tail, "more_body": False})
        finally:
            await self._chunks.aclose()

    async def _send_chunks(self, send: Send) -> bytes:
        """Returns what ends the stream: ``done``, or the event of the error that broke it off."""
        try:
            async for chunk in self._chunks:
                await send({"type": "http.response.body", "body": self._encode(chunk), "more_body": True})
        except LumniError as error:
            return openai_event(error.body())
        except Exception:
            logger.exception("a fault of ours in the middle of a stream")
            return openai_event(InternalError("Lumni made a mistake in the middle of this stream.").body())
        return self._done


async def until_disconnect(receive: Receive, work: Awaitable[T]) -> T:
    """``work``'s result; if the client hangs up first, cancels it, lets it clean up, raises ``ClientDisconnect``.

    The request's body must have been read.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait({task})
        raise ClientDisconnect
    finally:
        watch.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
