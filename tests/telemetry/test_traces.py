"""Requests as OpenTelemetry sees them."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from lumni.settings import Settings
from lumni.telemetry.traces import CLIENT, ERROR, INTERNAL, SERVER, TraceSink, begin, make_traces
from lumni.types import Outcome, RequestRecord, Trace
from tests.gateway.provider import Provider, provider
from tests.gateway.stage import entry, model_list, stage
from tests.telemetry.collector import Collector, attributes, collector, parse
from tests.telemetry.records import MOMENT, attempt, catalogue, failure, record
from tests.upstream.conftest import litellm

__all__ = ["litellm"]

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
STEPS = (
    ("read", 0.2),
    ("admission", 0.5),
    ("prompt", 0.6),
    ("plan", 2.0),
    ("budget", 2.5),
    ("lease", 3.0),
    ("upstream", 95.0),
)


@pytest.fixture
async def sink(tmp_path: Path) -> TraceSink:
    made = make_traces(Settings(otel_exporter_otlp_endpoint="http://collector.invalid", data_dir=tmp_path), catalogue())
    assert made is not None
    return made


def spans(sink: TraceSink, one: RequestRecord) -> list[Any]:
    """By the protocol's own definition."""
    assert one.trace is not None
    made = json.loads(json.dumps(sink.spans(one, one.trace)))
    message = parse({"resourceSpans": [{"scopeSpans": [{"spans": made}]}]})
    return list(message.resource_spans[0].scope_spans[0].spans)


def traced(**more: Any) -> RequestRecord:
    return record(trace=Trace(TRACE, "a" * 16, PARENT), steps=STEPS, **more)


async def test_each_step_has_its_span(sink: TraceSink) -> None:
    """001-13: in their order, without gaps, below the request's; calls below the step that made them."""
    request, *rest = spans(sink, traced(stream=True, ttft_ms=95.0, latency_ms=400.0))
    assert (request.name, request.kind, request.parent_span_id.hex()) == ("chat auto", SERVER, PARENT)
    steps = [span for span in rest if span.kind == INTERNAL]
    assert [span.name for span in steps] == [
        "read",
        "admission",
        "prompt",
        "plan",
        "budget",
        "lease",
        "upstream",
        "answer",
    ]
    assert {span.parent_span_id for span in steps} == {request.span_id}
    assert [span.start_time_unix_nano for span in steps[1:]] == [span.end_time_unix_nano for span in steps[:-1]]
    assert steps[0].start_time_unix_nano == request.start_time_unix_nano == MOMENT.timestamp() * 1e9
    assert steps[-1].end_time_unix_nano == request.end_time_unix_nano == MOMENT.timestamp() * 1e9 + 400e6
    [call] = [span for span in rest if span.kind == CLIENT]
    assert (call.name, call.parent_span_id) == ("chat m0", steps[-2].span_id)
    assert call.end_time_unix_nano - call.start_time_unix_nano == 90e6
    assert {span.trace_id.hex() for span in (request, *rest)} == {TRACE}
    assert len({span.span_id for span in (request, *rest)}) == len(rest) + 1


async def test_attributes_are_those_of_the_conventions(sink: TraceSink) -> None:
    """001-13: OpenTelemetry's for generative AI."""
    request, *_, call = spans(sink, traced())
    told = attributes(request)
    assert told.items() >= {
        "gen_ai.operation.name": "chat", "gen_ai.request.model": "auto", "gen_ai.response.model": "p0/m0",
        "gen_ai.provider.name": "p0", "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 20,
        "gen_ai.response.finish_reasons": ["stop"], "http.response.status_code": 200, "lumni.request_id": "req-1",
        "lumni.course": "cs1",
    }.items()  # fmt: skip
    assert attributes(call).items() >= {"gen_ai.request.model": "m0", "gen_ai.provider.name": "p0"}.items()
    assert "error.type" not in told


async def test_failures_are_errors_with_their_kind(sink: TraceSink) -> None:
    """003-49: of the request and of each call; one that was skipped was none. A request ends in the step it was in."""
    calls = (attempt(0, Outcome.UNAVAILABLE), attempt(1, Outcome.SKIPPED))
    one = failure(attempts=calls, trace=Trace(TRACE, "a" * 16), steps=STEPS[:-1], latency_ms=100.0)
    request, *rest = spans(sink, one)
    assert (request.status.code, attributes(request)["error.type"], request.parent_span_id) == (
        ERROR,
        "unavailable",
        b"",
    )
    [call] = [span for span in rest if span.kind == CLIENT]
    assert (attributes(call)["error.type"], attributes(call)["http.response.status_code"]) == ("unavailable", 503)
    [step] = [span for span in rest if span.name == "upstream"]
    assert call.parent_span_id == step.span_id
    assert step.end_time_unix_nano == request.end_time_unix_nano


@pytest.mark.parametrize(
    ("header", "parent", "sampled"),
    [
        (f"00-{TRACE}-{PARENT}-01", PARENT, True),
        (f"00-{TRACE}-{PARENT}-00", PARENT, False),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-will-be-like", PARENT, True),
        (f"00-{TRACE}-{PARENT}-01-more", None, True),
        (f"ff-{TRACE}-{PARENT}-01", None, True),
        (f"00-{'0' * 32}-{PARENT}-01", None, True),
        (f"00-{TRACE}-{'0' * 16}-01", None, True),
        (f"00-{TRACE.upper()}-{PARENT}-01", None, True),
        ("nonsense", None, True),
        ("", None, True),
        (None, None, True),
    ],
)
def test_the_callers_trace_is_taken_up(header: str | None, parent: str | None, sampled: bool) -> None:
    """001-13: as W3C Trace Context says; what is no traceparent begins a new trace."""
    trace = begin(header, 1.0)
    assert (trace.parent_id, trace.sampled) == (parent, sampled)
    assert (trace.trace_id == TRACE) == (parent is not None)
    assert trace.header == f"00-{trace.trace_id}-{trace.span_id}-{'01' if sampled else '00'}"


def test_a_share_is_sampled_and_the_caller_decides_for_its_own() -> None:
    """001-13"""
    kept = sum(begin(None, 0.2).sampled for _ in range(2000))
    assert 250 < kept < 550
    assert not begin(None, 0.0).sampled
    assert begin(f"00-{TRACE}-{PARENT}-01", 0.0).sampled


@pytest.fixture
async def collected() -> AsyncIterator[Collector]:
    async with collector() as made:
        yield made


@pytest.fixture
async def provided() -> AsyncIterator[Provider]:
    async with provider() as made:
        yield made


async def test_traces_go_through_the_whole_line(collected: Collector, provided: Provider, tmp_path: Path) -> None:
    """001-13, 001-37: from the caller's traceparent to the provider's, to a collector that knows OTLP."""
    settings = {
        "otel_exporter_otlp_endpoint": collected.base, "otel_exporter_otlp_headers": "x-tenant=school, x-key=k1",
        "otel_service_name": "our-lumni",
    }  # fmt: skip
    async with stage(tmp_path, model_list(entry("all", provided.base, "one")), **settings) as lumni:
        headers = {"x-api-key": "ada", "traceparent": f"00-{TRACE}-{PARENT}-01"}
        body = {"model": "all", "messages": [{"role": "user", "content": "my secret question"}], "user": "grace"}
        answer = await lumni.client.post("/v1/chat/completions", headers=headers, json=body)
        assert answer.json()["lumni"]["trace_id"] == TRACE
        unsampled = {**headers, "traceparent": f"00-{TRACE}-{PARENT}-00"}
        await lumni.client.post("/v1/chat/completions", headers=unsampled, json=body)
        assert (await lumni.ask("ada", model="no-such-model")).status_code == 404
    request = collected.named("chat all")
    assert attributes(request)["lumni.request_id"] == answer.headers["x-lumni-request-id"]
    [first, second] = [headers["traceparent"] for method, _, headers in provided.seen if method == "POST"]
    assert first == f"00-{TRACE}-{request.span_id.hex()}-01"
    assert second.endswith("-00")
    mine = [span for span in collected.spans if span.trace_id.hex() == TRACE]
    assert [span.name for span in mine] == [
        "chat all", "read", "admission", "prompt", "plan", "budget", "lease", "upstream", "settle", "chat stand-in",
    ]  # fmt: skip
    assert collected.named("chat other").status.code == ERROR
    assert collected.resources[0]["service.name"] == "our-lumni"
    assert collected.headers[0].items() >= {"x-tenant": "school", "x-key": "k1"}.items()
    told = "".join(collected.texts)
    secrets = ("ada", "grace", "secret question", "key-of-one", "no-such-model")
    assert not [text for text in secrets if re.search(rf"\b{text}\b", told)]  # an id may have "ada" inside


async def test_without_an_endpoint_nothing_is_traced(provided: Provider, tmp_path: Path) -> None:
    """001-13: and providers get no header."""
    async with stage(tmp_path, model_list(entry("all", provided.base, "one"))) as lumni:
        headers = {"x-api-key": "ada", "traceparent": f"00-{TRACE}-{PARENT}-01"}
        body = {"model": "all", "messages": [{"role": "user", "content": "hello"}]}
        await lumni.client.post("/v1/chat/completions", headers=headers, json=body)
    assert not [headers for _, _, headers in provided.seen if "traceparent" in headers]
