"""A provider of bytes: it answers what a test tells it to, and notices when its caller hangs up."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from lumni import sse
from lumni.budget import Answer, Ask, Balance, Bill, Change, State
from lumni.catalogue.model import Catalogue, Deployment
from lumni.gateway.budgets import Budgets
from lumni.gateway.pipeline import Pipeline
from lumni.gateway.planning import Planner, Switches
from lumni.gateway.preparation import Preparation
from lumni.gateway.quotas import make_quota
from lumni.gateway.reply import Reply
from lumni.people.keyring import utc_now
from lumni.quota.memory import MemoryStore
from lumni.settings import Settings
from lumni.telemetry.prompts import make_prompts
from lumni.types import ChatRequest, Principal, RequestRecord
from lumni.upstream.client import Upstream

HEAD = b"HTTP/1.1 %d X\r\ncontent-type: %s\r\nconnection: close\r\n\r\n"
LANE = "auto"  # of new deployments; the fixture ``lane`` sets it
LIMITLESS = {"max_requests_per_minute": 0, "max_requests_per_hour": 0, "default_rate_limit_capacity": 0}
QUESTION = [{"role": "user", "content": "What is a list?"}]


def whole(text: str = "hello", **more: Any) -> bytes:
    """OpenAI's ``chat.completion`` as an HTTP answer."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **more}
    return HEAD % (200, b"application/json") + json.dumps(body).encode()


def refusal(status: int, message: str) -> bytes:
    return HEAD % (status, b"application/json") + json.dumps({"error": {"message": message, "code": "x"}}).encode()


def events(*payloads: Any, done: bool = False) -> bytes:
    """Server-sent events of JSON payloads, without HTTP's head."""
    sent = b"".join(b"data: " + json.dumps(payload).encode() + b"\n\n" for payload in payloads)
    return sent + (b"data: [DONE]\n\n" if done else b"")


def delta(text: str | None = None, finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


STREAM = HEAD % (200, b"text/event-stream")


@dataclass
class Wire:
    """``script`` is what each request gets, the last one for ever: bytes, with ``None`` for "then say nothing more".

    ``slowly`` are the seconds between two pieces.
    """

    script: list[Sequence[bytes | None]] = field(default_factory=lambda: [[whole()]])
    slowly: float = 0.0
    asked: list[dict[str, Any]] = field(default_factory=list)
    left: int = 0
    base: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            size = int(head.split("content-length:")[1].split("\r\n")[0]) if "content-length:" in head else 0
            self.asked.append(json.loads(await reader.readexactly(size) or b"{}"))
            answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            for part in answer:
                if part is None:
                    await reader.read()  # until the caller hangs up
                    self.left += 1
                else:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(self.slowly)
        except (ConnectionError, asyncio.IncompleteReadError):  # the latter: before it had asked
            self.left += 1
        finally:
            writer.close()

    async def until_left(self, times: int = 1) -> None:
        async with asyncio.timeout(120):
            while self.left < times:
                await asyncio.sleep(0.005)

    async def until_asked(self, times: int = 1) -> None:
        async with asyncio.timeout(120):
            while len(self.asked) < times:
                await asyncio.sleep(0.005)


@asynccontextmanager
async def wire(*script: Sequence[bytes | None], slowly: float = 0.0) -> AsyncIterator[Wire]:
    """A provider on a port of its own."""
    served = Wire(list(script) or [[whole()]], slowly)
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    served.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield served
    finally:
        server.close()


def deployment(id_: str, base: str, provider: str = "openai", **more: Any) -> Deployment:
    params = {"model": f"{provider}/stand-in", "api_key": "stand-in-key", "api_base": base}
    return Deployment(
        **{"id": id_, "group": "all", "provider": provider, "account": "a", "model": params["model"], "params": params}
        | {"lane": LANE}
        | more
    )


async def chunks_of(reply: Reply) -> AsyncIterator[dict[str, Any]]:
    """The chunks of a stream."""
    assert reply.events is not None
    async for events in reply.events:
        for chunk in sse.chunks_in(events):
            yield chunk


class Unkept:
    """No ledger: nobody here has a budget."""

    async def post(self, asks: Sequence[Ask], bills: Sequence[Bill]) -> tuple[list[Answer], list[Change]]:
        raise AssertionError

    async def lapse(self, now: datetime) -> int:
        raise AssertionError

    async def states(self, budget: str | None = None, names: Iterable[Balance] = ()) -> Mapping[Balance, State]:
        raise AssertionError


class Line:
    """The straight line without HTTP before it: a pipeline over these deployments, and the records it leaves.

    ``clock`` is the quota's Unix time.
    """

    def __init__(
        self, deployments: Sequence[Deployment], clock: Callable[[], float] = time.time, **settings: Any
    ) -> None:
        self.settings = Settings(**{**LIMITLESS, "num_retries": 0, "request_timeout": 20.0, **settings})
        self.catalogue = Catalogue(tuple(deployments))
        self.records: list[RequestRecord] = []
        self.upstream = Upstream(self.catalogue, self.settings)
        self.quota = make_quota(self.settings, self.catalogue, MemoryStore(), clock)
        planner = Planner(self.catalogue, self.quota, switches=Switches(strategy=self.settings.routing_strategy))
        budgets = Budgets(Unkept(), lambda _: None, utc_now)
        preparation = Preparation({}, make_prompts(self.settings))
        self.pipeline = Pipeline(planner, self.quota, budgets, preparation, self.upstream, [self], self)

    def keep(self, request: ChatRequest, principal: Principal, answer: str) -> None:
        raise AssertionError

    def write(self, record: RequestRecord) -> None:
        self.records.append(record)

    def request(self, **body: Any) -> ChatRequest:
        now = asyncio.get_running_loop().time()
        own = {name: body.pop(name) for name in ("provider", "fallback", "strategy", "label") if name in body}
        body = {"model": "all", "messages": QUESTION, **body}
        return ChatRequest(
            request_id="r",
            body=body,
            model=body["model"],
            created_at=datetime.now(UTC),
            received=now,
            deadline=now + self.settings.request_timeout,
            stream=bool(body.get("stream")),
            **own,
        )

    async def ask(self, **body: Any) -> Reply:
        return await self.ask_as(Principal("k"), **body)

    async def ask_as(self, principal: Principal, **body: Any) -> Reply:
        return await self.pipeline.complete(self.request(**body), principal)

    async def text(self, **body: Any) -> str:
        """The whole text of a stream."""
        reply = await self.ask(stream=True, **body)
        return "".join([c["delta"].get("content") or "" async for chunk in chunks_of(reply) for c in chunk["choices"]])


@asynccontextmanager
async def line(*deployments: Deployment, **settings: Any) -> AsyncIterator[Line]:
    """Started and closed again."""
    made = Line(deployments, **settings)
    await made.upstream.start()
    try:
        yield made
    finally:
        await made.quota.close()
        await made.upstream.close()
