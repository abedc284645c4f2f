"""An OpenTelemetry collector that takes traces over HTTP in JSON, as OTLP's own protocol definition has them."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass
class Collector:
    """``spans`` are what it got, in the protocol's own types; ``texts`` the bodies."""

    spans: list[Any] = field(default_factory=list)
    resources: list[dict[str, str]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    base: str = ""

    async def take(self, request: web.Request) -> web.Response:
        self.texts.append(await request.text())
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        try:
            message = parse(json.loads(self.texts[-1]))
        except (ValueError, json_format.ParseError) as error:
            return web.Response(status=400, text=str(error))
        for resource in message.resource_spans:
            self.resources.append({one.key: one.value.string_value for one in resource.resource.attributes})
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return web.json_response({"partialSuccess": {}})

    def named(self, name: str) -> Any:
        [span] = [span for span in self.spans if span.name == name]
        return span


def parse(body: dict[str, Any]) -> Any:
    """The message; raises for anything that the protocol doesn't know.

    OTLP writes ids in hexadecimal where protobuf's own JSON has base64.
    """
    for resource in body["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name, length in (("traceId", 16), ("spanId", 8), ("parentSpanId", 8)):
                    if name in span:
                        raw = bytes.fromhex(span[name])
                        if len(raw) != length:
                            raise ValueError(f"{name} has {len(raw)} bytes")
                        span[name] = base64.b64encode(raw).decode()
    return json_format.ParseDict(body, ExportTraceServiceRequest())


def attributes(span: Any) -> dict[str, Any]:
    """The attributes of a span as Python's values."""
    return {one.key: _plain(one.value) for one in span.attributes}


def _plain(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_plain(one) for one in value.array_value.values]
    return getattr(value, kind)


@asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """On a free port; ``base`` is its endpoint."""
    made = Collector()
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/traces", made.take)
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
