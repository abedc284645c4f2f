"""Portkey over HTTP, as its OpenAPI document and its gateway's source say it behaves: logs, prompts, feedback."""

import asyncio
import json
import re
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


FEEDBACK = {  # the document's ``FeedbackRequest``
    "type": "object",
    "required": ["trace_id", "value"],
    "properties": {
        "trace_id": {"type": "string"},
        "value": {"type": "integer", "minimum": -10, "maximum": 10},
        "weight": {"type": "number", "minimum": 0, "maximum": 1},
        "metadata": {"type": "object"},
    },
}


@dataclass
class Portkey:
    """``status`` is answered in place of taking logs, unless it is 200; ``hold`` keeps answers back while cleared.

    A batch with a log that is wrong, or whose trace id is in ``poison``, is refused whole. ``prompts`` are chat bodies
    by id, with or without a version, whose texts are templates; ``rendered`` are the requests for them.
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
    prompts: dict[str, dict[str, Any]] = field(default_factory=dict)
    rendered: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    feedback: list[dict[str, Any]] = field(default_factory=list)

    def _refusal(self, request: web.Request) -> web.Response | None:
        if request.headers.get("x-portkey-api-key") != KEY:
            return web.json_response({"success": False, "data": {"message": "Invalid API Key"}}, status=401)
        if self.status != 200:
            return web.json_response({"status": "failure"}, status=self.status, headers=self.headers)
        return None

    async def render(self, request: web.Request) -> web.Response:
        body = await request.json()
        name = request.match_info["name"]
        self.rendered.append((name, body))
        await self.hold.wait()
        if (refusal := self._refusal(request)) is not None:
            return refusal
        if name not in self.prompts:
            return web.json_response({"success": False, "data": {"message": "no such prompt"}}, status=404)
        return web.json_response({"success": True, "data": mustache(self.prompts[name], body["variables"])})

    async def judge(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        body = await request.json()
        if not jsonschema_rs.validator_for(FEEDBACK).is_valid(body):
            return web.json_response({"status": "failure"}, status=400)
        self.feedback.append(body)
        return web.json_response({"status": "success", "message": "saved", "feedback_ids": ["1"]})

    async def take(self, request: web.Request) -> web.Response:
        self.calls += 1
        content = await request.text()
        await self.hold.wait()
        if (refusal := self._refusal(request)) is not None:
            return refusal
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


def mustache(value: Any, variables: dict[str, Any]) -> Any:
    """Variables and sections in every text of ``value``."""
    if isinstance(value, dict):
        return {name: mustache(one, variables) for name, one in value.items()}
    if isinstance(value, list):
        return [mustache(one, variables) for one in value]
    if not isinstance(value, str):
        return value
    section = re.compile(r"\{\{#(\w+)\}\}(.*?)\{\{/\1\}\}")
    text = section.sub(lambda found: found[2] if variables.get(found[1]) else "", value)
    return re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda found: str(variables.get(found[1], "")), text)


@asynccontextmanager
async def portkey() -> AsyncIterator[Portkey]:
    """Portkey on a free port; its address is ``base``."""
    double = Portkey()
    double.hold.set()
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/logs", double.take)
    app.router.add_post("/v1/prompts/{name}/render", double.render)
    app.router.add_post("/v1/feedback", double.judge)
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
