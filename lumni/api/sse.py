"""Server-sent events as OpenAI writes them, and hanging up when the client does."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from typing import Any, TypeVar

import orjson
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from lumni.errors import InternalError, LumniError, ShuttingDown
from lumni.gateway.drain import Drain
from lumni.types import Json

T = TypeVar("T")
logger = logging.getLogger(__name__)
Encode = Callable[[Json], bytes]


def dumps(value: Json) -> bytes:
    """JSON, also of what a model may say but UTF-8 can't: half a surrogate pair is written as an escape."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value).encode()


def openai_event(chunk: Json) -> bytes:
    """``data: {json}`` and an empty line."""
    return b"data: " + dumps(chunk) + b"\n\n"


class EventStream(Response):
    """Sends ``chunks`` as they come. An error inside becomes an error event; only a whole answer gets ``done``."""

    media_type = "text/event-stream"

    def __init__(
        self,
        chunks: AsyncGenerator[Json],
        headers: Mapping[str, str],
        drain: Drain,
        encode: Encode = openai_event,
        done: bytes = b"data: [DONE]\n\n",
    ) -> None:
        super().__init__(headers={**headers, "cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._chunks = chunks
        self._drain = drain
        self._encode = encode
        self._done = done

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            tail = await until_disconnect(receive, self._drain, self._send_chunks(send))
        except ShuttingDown as error:
            tail = openai_event(error.body())
        except ClientDisconnect:
            return
        finally:
            await self._chunks.aclose()
        await send({"type": "http.response.body", "body": tail, "more_body": False})

    async def _send_chunks(self, send: Send) -> bytes:
        """Returns what ends the stream: ``done``, or the event of the error that broke it off."""
        try:
            async for chunk in self._chunks:
                if encoded := self._encode(chunk):
                    await send({"type": "http.response.body", "body": encoded, "more_body": True})
        except LumniError as error:
            return openai_event(error.body())
        except Exception:
            logger.exception("a fault of ours in the middle of a stream")
            return openai_event(InternalError("Lumni made a mistake in the middle of this stream.").body())
        finally:
            await self._chunks.aclose()
        return self._done


async def until_disconnect(receive: Receive, drain: Drain, work: Coroutine[Any, Any, T]) -> T:
    """``work``'s result. If it must end earlier, it is cancelled and may clean up before this raises.

    Raises :class:`ClientDisconnect` when the client hung up, :class:`ShuttingDown` when the time to drain is over.
    The request's body must have been read.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(receive))
    over = asyncio.ensure_future(drain.wait())
    try:
        await asyncio.wait({task, gone, over}, return_when=asyncio.FIRST_COMPLETED)
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
        over.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
