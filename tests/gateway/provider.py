"""A provider that does as it is told: its list of models and its answers, each with a status of its own."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from lumni.catalogue.limits import Limit, PoolLimits

COMPLETION = {
    "id": "c",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}


@dataclass
class Clock:
    """Unix time that moves when it is told to."""

    now: float = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Provider:
    """``chat`` and ``models`` are the statuses of answers and of lists; ``listed`` is what a good list holds.

    ``hold`` keeps answers back while it is cleared. One that ``quotes`` tells in its errors what it was sent.
    """

    chat: int = 200
    models: int = 200
    listed: list[str] = field(default_factory=lambda: ["stand-in"])
    message: str = "told to fail"
    quotes: bool = False
    says: str = "hello"
    headers: dict[str, str] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    base: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
            method, path, _ = first.split(" ")
            self.seen.append((method, path, headers))
            self.calls["models" if method == "GET" else "chat"] += 1
            answer: dict[str, Any]
            if method == "GET":
                status, answer = self.models, {"data": [{"id": name} for name in self.listed]}
            else:
                self.bodies.append(body)
                await self.hold.wait()
                said = {"message": {"role": "assistant", "content": self.says}}
                choice = {"index": 0, "finish_reason": "stop", **said}
                status, answer = self.chat, COMPLETION | {"model": body.get("model", "m"), "choices": [choice]}
            if status != 200:
                quoted = f": {body['messages'][-1]['content']}" if self.quotes and "messages" in body else ""
                answer = {"error": {"message": f"{self.message}{quoted}", "code": "x"}}
            writer.write(self._http(status, answer))
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def until_asked(self, times: int) -> None:
        """Until it has begun to answer as many chats."""
        async with asyncio.timeout(120):
            while self.calls["chat"] < times:
                await asyncio.sleep(0.005)

    def _http(self, status: int, answer: dict[str, Any]) -> bytes:
        more = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nconnection: close\r\n{more}\r\n"
        return head.encode() + json.dumps(answer).encode()


@asynccontextmanager
async def provider(**options: Any) -> AsyncIterator[Provider]:
    """On a port of its own."""
    made = Provider(**options)
    made.hold.set()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        made.hold.set()
        server.close()


def limited(pool: str, *limits: Limit) -> tuple[PoolLimits, ...]:
    """The ``pools`` of a deployment that draws on one."""
    return (PoolLimits(pool, tuple(limits)),)
