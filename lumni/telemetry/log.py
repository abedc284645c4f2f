"""The log: one event a line, as JSON or for the eye. It never holds a prompt, an answer, a person or a secret.

A request is told of by events with its id: ``request_received``; then ``response_generated``, ``cache_hit``,
``rate_limit_exceeded`` or ``request_failed``; and ``cost_tracked`` where an answer's price is known.
"""

import logging
import re
import sys
import zlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson

from lumni.catalogue.model import Catalogue
from lumni.money import to_usd
from lumni.settings import Settings
from lumni.telemetry.names import Names
from lumni.types import ChatRequest, Json, Outcome, RequestRecord

logger = logging.getLogger("lumni.requests")

REDACTED = "[redacted]"
SHORTEST_SECRET = 8  # characters: what is shorter would turn up in words
# What looks like a credential, whoever's it is: in headers, in addresses, and by the prefixes that providers use.
SUSPICIOUS = (
    r"(?i:bearer\s+)[\w.~+/=-]{8,}"
    r"|(?i:\b(?:api[_-]?key|key|token|password)=)[^\s&\"']{4,}"
    r"|\b(?:lumni-|sk-|gsk_|pk-|pk_|csk-|ghp_|github_pat_|hf_|nvapi-|AIza|xai-)[\w-]{16,}"
    r"|(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"
)
EVENTS = {Outcome.OK: "response_generated", Outcome.CACHED: "cache_hit", Outcome.RATE_LIMITED: "rate_limit_exceeded"}


ORDINARY = frozenset({"request_received", "response_generated", "cache_hit", "cost_tracked"})


class Sampling(logging.Filter):
    """Lets pass a ``share`` of the requests that go well, each with all its events; what went wrong passes always."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self._below = int(share * 2**32)

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name != logger.name or record.msg not in ORDINARY:
            return True
        request_id = str(getattr(record, "fields", {}).get("request_id"))
        return zlib.crc32(request_id.encode()) < self._below


def event(name: str, fields: Mapping[str, object]) -> None:
    """Log something that happened to a request. Where in the code is told by the event: nobody looks for the line."""
    if logger.isEnabledFor(logging.INFO):
        record = logging.LogRecord(logger.name, logging.INFO, __file__, 0, name, (), None)
        record.fields = fields
        logger.handle(record)


def received(request: ChatRequest) -> None:
    """Log that a request of a known caller has arrived."""
    about = {"request_id": request.request_id, "surface": request.surface, "stream": request.stream}
    event("request_received", about)


class LogSink:
    """A sink of records."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._names = Names(catalogue)

    def write(self, record: RequestRecord) -> None:
        if not logger.isEnabledFor(logging.INFO):
            return
        event(EVENTS.get(record.outcome, "request_failed"), self._told(record))
        if record.list_cost is not None and record.billed_cost is not None:
            list_cost, billed = (f"{to_usd(cost):f}" for cost in (record.list_cost, record.billed_cost))
            costs = {"list_cost_usd": list_cost, "billed_cost_usd": billed}
            event("cost_tracked", {"request_id": record.request_id, "deployment": record.deployment, **costs})

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


class Scrubber:
    """Takes secrets out of text: those that are known, and what looks like one."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._known: set[str] = set()
        self.add(secrets)

    def add(self, secrets: Iterable[str]) -> None:
        """Know these too from now on."""
        self._known |= {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        known = sorted(self._known, key=len, reverse=True)
        self._pattern = re.compile("|".join([*map(re.escape, known), SUSPICIOUS]))

    def __call__(self, text: str) -> str:
        return self._pattern.sub(REDACTED, text)


class ConsoleFormatter(logging.Formatter):
    """``time LEVEL logger: event name=value …``. What isn't made of an event's own fields goes through ``scrub``."""

    def __init__(self, scrub: Scrubber, who: str = "") -> None:
        super().__init__(f"%(asctime)s %(levelname)s{who} %(name)s: %(message)s")
        self._scrub = scrub

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  (logging's own name)
        fields: Mapping[str, object] = getattr(record, "fields", {})
        return " ".join([super().formatMessage(record), *(f"{name}={value}" for name, value in fields.items())])

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return line if hasattr(record, "fields") else self._scrub(line)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time`` (UTC), ``level``, ``logger``, ``event`` and the event's own fields.

    All text but these goes through ``scrub``.
    """

    def __init__(self, scrub: Scrubber, worker: int | None = None) -> None:
        super().__init__()
        self._scrub = scrub
        self._common: Json = {} if worker is None else {"worker": worker}

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: Json = {"time": moment, "level": record.levelname, "logger": record.name, **self._common}
        if (fields := getattr(record, "fields", None)) is not None:
            line |= {"event": record.msg, **fields}
        else:
            line["event"] = self._scrub(record.getMessage())
        if record.exc_info:
            line["exception"] = self._scrub(self.formatException(record.exc_info))
        if record.stack_info:
            line["stack"] = self._scrub(self.formatStack(record.stack_info))
        return orjson.dumps(line, default=str).decode()


def configure(settings: Settings, worker: int | None = None, stream: TextIO | None = None) -> Scrubber:
    """Make the process's log as the settings want it. ``worker`` is its number, if there are several.

    Tell the scrubber that is returned of secrets that the settings don't hold.
    """
    scrub = Scrubber(_secrets(settings))
    who = "" if worker is None else f" worker {worker}"
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        JsonFormatter(scrub, worker) if settings.log_format == "json" else ConsoleFormatter(scrub, who)
    )
    if settings.log_sampling < 1:
        handler.addFilter(Sampling(settings.log_sampling))
    # What libraries tell when they are debugged is what they were given: statements with their values, bodies.
    logging.basicConfig(
        level=max(logging.INFO, logging.getLevelName(settings.log_level)), handlers=[handler], force=True
    )
    logging.getLogger("lumni").setLevel(settings.log_level)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses of calls
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells a first start more than a newcomer can use
    return scrub


def secrets_of(catalogue: Catalogue) -> list[str]:
    """The providers' keys."""
    return [str(one.params["api_key"]) for one in catalogue.deployments if one.params.get("api_key")]


def _secrets(settings: Settings) -> list[str]:
    given: list[Any] = [settings.unified_api_key, settings.portkey_api_key]
    given += [settings.alert_webhook_url, settings.alert_slack_url, settings.alert_smtp_url]
    given.append(settings.otel_exporter_otlp_headers)
    given += [provider.api_key for provider in settings.providers.values()]
    return [secret.get_secret_value() for secret in given if secret is not None]
