"""The log: one event a line, as JSON or for the eye. It never holds a prompt, an answer, a person or a secret.

A request is told of by events with its id: ``request_received``; then ``response_generated``, ``cache_hit``,
``rate_limit_exceeded`` or ``request_failed``; and ``cost_tracked`` where an answer's price is known.
"""

import logging
import sys
import zlib
from collections.abc import Mapping
from typing import TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from lumni.catalogue.model import Catalogue
from lumni.money import to_usd
from lumni.settings import Settings
from lumni.telemetry.names import Names
from lumni.telemetry.scrubber import Scrubber
from lumni.types import ChatRequest, Json, Outcome, RequestRecord

# Until `configure` has run nothing is told of requests, as with `logging`.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
events = structlog.get_logger()

EVENTS = {Outcome.OK: "response_generated", Outcome.CACHED: "cache_hit", Outcome.RATE_LIMITED: "rate_limit_exceeded"}
ORDINARY = frozenset({"request_received", "response_generated", "cache_hit", "cost_tracked"})


def received(request: ChatRequest) -> None:
    """Log that a request of a known caller has arrived."""
    events.info("request_received", request_id=request.request_id, surface=request.surface, stream=request.stream)


class LogSink:
    """A sink of records."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._names = Names(catalogue)

    def write(self, record: RequestRecord) -> None:
        if not events.is_enabled_for(logging.INFO):
            return
        events.info(EVENTS.get(record.outcome, "request_failed"), **self._told(record))
        if record.list_cost is not None and record.billed_cost is not None:
            list_cost, billed = (f"{to_usd(cost):f}" for cost in (record.list_cost, record.billed_cost))
            costs = {"list_cost_usd": list_cost, "billed_cost_usd": billed}
            events.info("cost_tracked", request_id=record.request_id, deployment=record.deployment, **costs)

    def _told(self, record: RequestRecord) -> Json:
        told: Json = {
            "request_id": record.request_id,
            "surface": record.surface,
            "model": self._names.group(record.requested_model),
            "status": record.status,
            "outcome": str(record.outcome),
            "latency_ms": round(record.latency_ms, 1),
            "attempts": len(record.attempts),
        }
        if record.error_code:
            told["error_code"] = record.error_code
        if record.task_type:
            told["task_type"] = record.task_type
        if record.ttft_ms is not None:
            told["ttft_ms"] = round(record.ttft_ms, 1)
        if record.queued_ms >= 1:
            told["queued_ms"] = round(record.queued_ms, 1)
        if record.deployment:
            told |= {
                "deployment": record.deployment,
                "prompt_tokens": record.prompt_tokens,
                "completion_tokens": record.completion_tokens,
            }
        return told


class Sampling:
    """Lets pass a ``share`` of the requests that go well, each with all its events; what went wrong passes always."""

    def __init__(self, share: float) -> None:
        self._below = int(share * 2**32)

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        if event["event"] in ORDINARY and zlib.crc32(event["request_id"].encode()) >= self._below:
            raise structlog.DropEvent
        return event


class Scrubbed:
    """Takes secrets out of what others tell: messages, exceptions, stacks."""

    def __init__(self, scrub: Scrubber) -> None:
        self._scrub = scrub

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for name in ("event", "exception", "stack"):
            if name in event:
                event[name] = self._scrub(event[name])
        return event


def configure(settings: Settings, worker: int | None = None, stream: TextIO | None = None) -> Scrubber:
    """Make the process's log as the settings want it. ``worker`` is its number, if there are several.

    Tell the scrubber that is returned of secrets that the settings don't hold.
    """
    scrub, stream = Scrubber.of(settings), stream or sys.stderr
    level = logging.getLevelName(settings.log_level)
    common: Mapping[str, object] = {} if worker is None else {"worker": worker}
    finish: list[Processor] = [
        structlog.processors.TimeStamper("iso", utc=True, key="time"),
        _adding(common),
        _renderer(settings, stream),
    ]
    structlog.configure(
        processors=[
            Sampling(settings.log_sampling),
            structlog.processors.add_log_level,
            _adding({"logger": "lumni.requests"}),
            *finish,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.StackInfoRenderer(),
                structlog.processors.format_exc_info,
                Scrubbed(scrub),
                *finish,
            ]
        )
    )
    # What libraries tell when they are debugged is what they were given: statements with their values, bodies.
    logging.basicConfig(level=max(logging.INFO, level), handlers=[handler], force=True)
    logging.getLogger("lumni").setLevel(level)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses of calls
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells a first start more than a newcomer can use
    return scrub


def _adding(fields: Mapping[str, object]) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.update(fields)
        return event

    return add


def _renderer(settings: Settings, stream: TextIO) -> Processor:
    if settings.log_format == "json" or (settings.log_format == "auto" and not stream.isatty()):
        return structlog.processors.JSONRenderer(_json)
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(),
        exception_formatter=structlog.dev.plain_traceback,  # the others tell the values of variables
        pad_event_to=0,
        timestamp_key="time",
        sort_keys=False,
    )


def _json(event: Json, **_: object) -> str:
    return orjson.dumps(event, default=str).decode()
