"""Portkey's ``POST /logs`` over HTTP, as its OpenAPI document and its gateway's source say it behaves."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs
from aiohttp import web

KEY = "pk-of-the-tests"
TEXTS = {"type": "object", "additionalProperties": {"type": "string", "maxLength": 128}}
SIDE = {"type": "object", "required": ["body"]}
LOG = {  # what the document's ``CustomLog`` demands, and metadata as Portkey's documentation bounds it
    "type": "object",
    "required": ["request", "response"],
    "properties": {
        "request": {
            **SIDE,
            "required": ["url", "body"],
            "properties": {
                "url": {"type": "string"},
                "method": {"type": "string"},
                "headers": TEXTS,
                "body": {"type": "object"},
            },
        },
        "response": {
            **SIDE,
            "properties": {
                "status": {"type": "integer"},
                "headers": TEXTS,
                "body": {"type": "object"},
                "response_time": {"type": "integer"},
            },
        },
        "metadata": TEXTS,
    },
}


@dataclass
class Portkey:
    """``status`` is answered in place of taking logs, unless it is 200; ``hold`` keeps answers back while cleared.

    A batch with a log that is wrong, or whose trace id is in ``poison``, is refused whole.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    poison: set[str] = field(default_factory=set)
    logs: list[dict[str, Any]] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    calls: int = 0
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    base: str = ""

    async def take(self, request: web.Request) -> web.Response:
        self.calls += 1
        content = await request.text()
        await self.hold.wait()
        if request.headers.get("x-portkey-api-key") != KEY:
            return web.json_response({"success": False, "data": {"message": "Invalid API Key"}}, status=401)
        if self.status != 200:
            return web.json_response({"status": "failure"}, status=self.status, headers=self.headers)
        body = json.loads(content)
        logs = body if isinstance(body, list) else [body]
        validator = jsonschema_rs.validator_for(LOG)
        if any(not validator.is_valid(log) or log["metadata"].get("trace_id") in self.poison for log in logs):
            return web.json_response({"status": "failure", "message": "schema"}, status=400)
        self.logs += logs
        self.batches.append(len(logs))
        self.bodies.append(content)
        return web.Response(text="ok")

    def traces(self) -> list[str]:
        return [log["metadata"]["trace_id"] for log in self.logs]


@asynccontextmanager
async def portkey() -> AsyncIterator[Portkey]:
    """Portkey on a free port; its address is ``base``."""
    double = Portkey()
    double.hold.set()
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/logs", double.take)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    double.base = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield double
    finally:
        double.hold.set()
        await runner.cleanup()
