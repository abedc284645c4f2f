"""ASGI without a framework: read a body, send JSON, send events, notice a client that leaves."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = dict[str, str]

EVENTS = "text/event-stream; charset=utf-8"
_MAX_BODY = 64 * 2**20


class ClientGone(Exception):
    """The client hung up before its answer was complete."""


class Connection:
    """One HTTP exchange."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._leaving: asyncio.Task[None] | None = None

    async def body(self) -> bytes:
        parts = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > _MAX_BODY:
                return b""
            parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts)

    async def pause(self, seconds: float) -> None:
        """Sleep; raises ``ClientGone`` as soon as the client hangs up."""
        if seconds <= 0:
            return
        if self._leaving is None:
            self._leaving = asyncio.ensure_future(self._wait_for_leave())
        done, _ = await asyncio.wait({self._leaving}, timeout=seconds)
        if done:
            raise ClientGone

    async def json(self, status: int, value: Any, headers: Headers | None = None) -> None:
        body = value if isinstance(value, bytes) else orjson.dumps(value)
        await self.start(status, "application/json", {"content-length": str(len(body)), **(headers or {})})
        await self.write(body, more=False)

    async def start(self, status: int, content_type: str, headers: Headers) -> None:
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        head = {"type": "http.response.start", "status": status}
        await self._send({**head, "headers": [(b"content-type", content_type.encode()), *raw]})

    async def write(self, body: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    def close(self) -> None:
        """Stop watching the client."""
        if self._leaving is not None:
            self._leaving.cancel()

    async def _wait_for_leave(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + orjson.dumps(value) + b"\n\n"
