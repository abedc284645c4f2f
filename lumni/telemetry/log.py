"""The log: one event a line, as JSON or for the eye. It never holds a prompt, an answer, a person or a secret.

A request is told of by events with its id: ``request_received``; then ``response_generated``, ``cache_hit``,
``rate_limit_exceeded`` or ``request_failed``; and ``cost_tracked`` where an answer's price is known.
"""

import asyncio
import logging
import sys
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
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

LINGER = 0.05  # seconds that a JSON line about a request may wait for others, to be written with them
EVENTS = {Outcome.OK: "response_generated", Outcome.CACHED: "cache_hit", Outcome.RATE_LIMITED: "rate_limit_exceeded"}
WELL = frozenset({Outcome.OK, Outcome.CACHED})


class Events:
    """Lines about requests. JSON is gathered for a moment once there is a loop; the eye sees each line at once.

    Of requests that go well it lets pass a ``share``, each with all its lines; what went wrong passes always. They are
    rendered here and not by structlog's loggers, which take five times as long.
    """

    def __init__(self, stream: TextIO, render: Callable[[Json], bytes], linger: float, share: float) -> None:
        self._stream = stream
        self._render = render
        self._linger = linger
        self._below = int(share * 2**32)
        self._lines: list[bytes] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Gather lines from now on."""
        if self._linger:
            self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """Write what was gathered, and gather no more."""
        self._loop = None
        self.flush()

    def passes(self, request_id: str) -> bool:
        """Whether the lines of a request that goes well are wanted."""
        return self._below >= 2**32 or zlib.crc32(request_id.encode()) < self._below

    def tell(self, event: Json) -> None:
        """Log one event: ``event`` is its name, ``time`` when it was."""
        self._lines.append(self._render(event))
        if self._loop is None:
            self.flush()
        elif len(self._lines) == 1:
            self._loop.call_later(self._linger, self.flush)

    def flush(self) -> None:
        """Write what was gathered. A log that can't be written, such as a pipe that was closed, stops no request."""
        written, self._lines = b"".join(self._lines).decode(), []
        with suppress(OSError, ValueError):
            self._stream.write(written)
            self._stream.flush()


class LogSink:
    """A sink of records, and a journal."""

    def __init__(self, catalogue: Catalogue, events: Events) -> None:
        self._names = Names(catalogue)
        self._events = events

    def begin(self, request: ChatRequest, unended: object = None) -> None:  # noqa: ARG002
        """A request of a known caller has arrived."""
        if self._events.passes(request.request_id):
            told = {"request_id": request.request_id, "surface": request.surface, "stream": request.stream}
            self._events.tell({"event": "request_received", **told, "time": request.created_at})

    def write(self, record: RequestRecord) -> None:
        if record.outcome in WELL and not self._events.passes(record.request_id):
            return
        now = datetime.now(UTC)
        self._events.tell({"event": EVENTS.get(record.outcome, "request_failed"), **self._told(record), "time": now})
        if record.list_cost is not None and record.billed_cost is not None:
            list_cost, billed = (f"{to_usd(cost):f}" for cost in (record.list_cost, record.billed_cost))
            costs = {"list_cost_usd": list_cost, "billed_cost_usd": billed}
            named = {"request_id": record.request_id, "deployment": record.deployment}
            self._events.tell({"event": "cost_tracked", **named, **costs, "time": now})

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


class Scrubbed:
    """Takes secrets out of what others tell: messages, exceptions, stacks."""

    def __init__(self, scrub: Scrubber) -> None:
        self._scrub = scrub

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for name in ("event", "exception", "stack"):
            if name in event:
                event[name] = self._scrub(event[name])
        return event


@dataclass(frozen=True, slots=True)
class Log:
    """A process's log: what takes lines about requests, and the scrubber, to be told of secrets that settings lack."""

    events: Events | None
    scrub: Scrubber


def configure(settings: Settings, worker: int | None = None, stream: TextIO | None = None) -> Log:
    """Make the process's log as the settings want it. ``worker`` is its number, if there are several."""
    scrub, stream = Scrubber.of(settings), stream or sys.stderr
    level = logging.getLevelName(settings.log_level)
    common: Json = {} if worker is None else {"worker": worker}
    is_json = settings.log_format == "json" or (settings.log_format == "auto" and not stream.isatty())
    renderer = structlog.processors.JSONRenderer(_json) if is_json else _console(stream)
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
                structlog.processors.TimeStamper("iso", utc=True, key="time"),
                _adding(common),
                renderer,
            ]
        )
    )
    # What libraries tell when they are debugged is what they were given: statements with their values, bodies.
    logging.basicConfig(level=max(logging.INFO, level), handlers=[handler], force=True)
    logging.getLogger("lumni").setLevel(level)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses of calls
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells a first start more than a newcomer can use
    if level > logging.INFO:
        return Log(None, scrub)
    about = {"level": "info", "logger": "lumni.requests", **common}
    render = _rendered_json(about) if is_json else _rendered(renderer, about)
    return Log(Events(stream, render, LINGER if is_json else 0.0, settings.log_sampling), scrub)


def _adding(fields: Mapping[str, object]) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.update(fields)
        return event

    return add


def _console(stream: TextIO) -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(),
        exception_formatter=structlog.dev.plain_traceback,  # the others tell the values of variables
        pad_event_to=0,
        timestamp_key="time",
        sort_keys=False,
    )


def _json(event: Json, **_: object) -> str:
    return orjson.dumps(event, default=str).decode()


def _rendered_json(about: Json) -> Callable[[Json], bytes]:
    def render(event: Json) -> bytes:
        return orjson.dumps({**event, **about}, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE)

    return render


def _rendered(renderer: Processor, about: Json) -> Callable[[Json], bytes]:
    def render(event: Json) -> bytes:
        time = event["time"].isoformat().replace("+00:00", "Z")
        return f"{renderer(None, 'info', {**event, **about, 'time': time})!s}\n".encode()

    return render
