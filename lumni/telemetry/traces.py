"""OpenTelemetry's view of requests: a trace with one span for each step of the line and each call of a provider.

Spans are made of the record once it is there, and sent as OTLP over HTTP in JSON (OTLP 1.3,
``ExportTraceServiceRequest``) by the same outbox as everything else; so no SDK is needed, nor its threads and buffers.
Names and attributes are those of the semantic conventions for generative AI (1.37). No span holds a prompt, an answer
or a person.
"""

import hashlib
import random
import re
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from lumni import __version__
from lumni.catalogue.model import Catalogue
from lumni.settings import Settings
from lumni.telemetry.names import Names
from lumni.telemetry.outbox import Outbox
from lumni.types import Attempt, Json, Outcome, RequestRecord, Trace

# W3C Trace Context, 3.2: version, trace id, parent id, flags; a version above 00 may have more behind.
TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
INTERNAL, SERVER, CLIENT = 1, 2, 3  # Span.SpanKind
UNSET, ERROR = 0, 2  # Status.StatusCode
CHAT = "chat"
WELL = frozenset({Outcome.OK, Outcome.CACHED})


def begin(traceparent: str | None, share: float) -> Trace:
    """The trace of a request that has arrived: the caller's, if it sent one; else a new one, kept for ``share`` of all.

    Whether the caller's is kept is the caller's decision.
    """
    found = TRACEPARENT.fullmatch(traceparent.strip()) if traceparent else None
    span_id = secrets.token_hex(8)
    if found is None or (found[1] == "00" and found[5]):
        return Trace(secrets.token_hex(16), span_id, sampled=random.random() < share)  # noqa: S311  (no secret)
    return Trace(found[2], span_id, found[3], sampled=bool(int(found[4], 16) & 1))


class TraceSink:
    """A sink of records that came with a trace."""

    def __init__(self, outbox: Outbox, catalogue: Catalogue) -> None:
        self.outbox = outbox
        self._names = Names(catalogue)

    def write(self, record: RequestRecord) -> None:
        if record.trace is not None and record.trace.sampled:
            self.outbox.put(b",".join(orjson.dumps(span) for span in self.spans(record, record.trace)))

    def spans(self, record: RequestRecord, trace: Trace) -> list[Json]:
        """The request's own first, then its steps, then the calls that were made in the step ``upstream``."""
        clock = _Clock(record.created_at)
        spans = [self._request(record, trace, clock)]
        steps, began = [], 0.0
        for name, over in record.steps:
            steps.append((name, began, over))
            began = over
        if record.steps and record.latency_ms > began:
            last = "answer" if record.ttft_ms is not None else "settle"
            steps.append((_unfinished(record.steps[-1][0], last), began, record.latency_ms))
        for name, start, over in steps:
            spans.append(clock.span(trace, _id(trace, name), trace.span_id, name, INTERNAL, start, over))
        parent = _id(trace, "upstream") if any(name == "upstream" for name, _, _ in steps) else trace.span_id
        called = [attempt for attempt in record.attempts if attempt.outcome is not Outcome.SKIPPED]
        return spans + [self._call(one, trace, parent, place, clock) for place, one in enumerate(called)]

    def _request(self, record: RequestRecord, trace: Trace, clock: "_Clock") -> Json:
        group = self._names.group(record.requested_model)
        error = None if record.outcome in WELL else str(record.outcome)
        return clock.span(
            trace, trace.span_id, trace.parent_id, f"{CHAT} {group}", SERVER, 0.0, record.latency_ms, error,
            {
                "gen_ai.operation.name": CHAT,
                "gen_ai.request.model": group,
                "gen_ai.provider.name": record.provider,
                "gen_ai.response.model": record.model,
                "gen_ai.response.finish_reasons": [record.finish_reason] if record.finish_reason else None,
                "gen_ai.usage.input_tokens": record.prompt_tokens if record.deployment else None,
                "gen_ai.usage.output_tokens": record.completion_tokens if record.deployment else None,
                "http.response.status_code": record.status,
                "lumni.request_id": record.request_id,
                "lumni.surface": record.surface,
                "lumni.course": record.course,
                "lumni.task_type": record.task_type,
                "lumni.deployment": record.deployment,
                "lumni.queued_ms": round(record.queued_ms, 1),
                "lumni.ttft_ms": None if record.ttft_ms is None else round(record.ttft_ms, 1),
            },
        )  # fmt: skip

    def _call(self, attempt: Attempt, trace: Trace, parent: str, place: int, clock: "_Clock") -> Json:
        error = None if attempt.outcome is Outcome.OK else str(attempt.outcome)
        model = attempt.model.split("/", 1)[-1]
        over = attempt.started_ms + attempt.duration_ms
        return clock.span(
            trace, _id(trace, f"call {place}"), parent, f"{CHAT} {model}", CLIENT, attempt.started_ms, over, error,
            {
                "gen_ai.operation.name": CHAT,
                "gen_ai.provider.name": attempt.provider,
                "gen_ai.request.model": model,
                "http.response.status_code": attempt.status,
                "lumni.deployment": attempt.deployment,
            },
        )  # fmt: skip


class _Clock:
    """Makes spans of milliseconds that count from ``arrival``."""

    def __init__(self, arrival: datetime) -> None:
        self._arrival = int(arrival.timestamp() * 1e6) * 1000

    def span(
        self, trace: Trace, id_: str, parent: str | None, name: str, kind: int, start: float, over: float,
        error: str | None = None, attributes: Mapping[str, Any] | None = None,
    ) -> Json:  # fmt: skip
        given = dict(attributes or {})
        if error:
            given["error.type"] = error
        span: Json = {
            "traceId": trace.trace_id,
            "spanId": id_,
            "name": name,
            "kind": kind,
            # 64 bits are strings in JSON.
            "startTimeUnixNano": str(self._arrival + int(start * 1e6)),
            "endTimeUnixNano": str(self._arrival + int(max(over, start) * 1e6)),
            "attributes": [{"key": key, "value": _value(value)} for key, value in given.items() if value is not None],
            "status": {"code": ERROR} if error else {"code": UNSET},
        }
        if parent:
            span["parentSpanId"] = parent
        return span


def _unfinished(last: str, otherwise: str) -> str:
    """The step that a request ended in: the one after the last that was done."""
    order = ("read", "admission", "prompt", "plan", "budget", "lease", "upstream")
    following = order.index(last) + 1 if last in order else len(order)
    return order[following] if following < len(order) else otherwise


def _id(trace: Trace, name: str) -> str:
    return hashlib.blake2b(f"{trace.span_id} {name}".encode(), digest_size=8).hexdigest()


def _value(value: Any) -> Json:
    """OTLP's ``AnyValue``."""
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(one) for one in value]}}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}


def make_traces(settings: Settings, catalogue: Catalogue, worker: int | None = None) -> TraceSink | None:
    """The sink, to be started by its outbox, if an endpoint is set. ``worker`` is this process's number."""
    if not settings.otel_exporter_otlp_endpoint:
        return None
    given = settings.otel_exporter_otlp_headers
    headers = dict(_header(one) for one in given.get_secret_value().split(",") if "=" in one) if given else {}
    about = {"service.name": settings.otel_service_name, "service.version": __version__}
    if worker is not None:
        about["service.instance.id"] = str(worker)
    resource = {"attributes": [{"key": key, "value": _value(value)} for key, value in about.items()]}
    before = b'{"resourceSpans":[{"resource":' + orjson.dumps(resource)
    before += b',"scopeSpans":[{"scope":' + orjson.dumps({"name": "lumni", "version": __version__}) + b',"spans":['
    name = "otlp.spill" if worker is None else f"otlp.{worker}.spill"
    url = f"{settings.otel_exporter_otlp_endpoint}/v1/traces"
    outbox = Outbox("OTLP", url, headers, settings.data_dir / name, envelope=(before, b"]}]}]}"))
    return TraceSink(outbox, catalogue)


def _header(written: str) -> tuple[str, str]:
    name, _, value = written.partition("=")
    return name.strip().lower(), value.strip()
