"""Portkey's view of requests: one log for each, and one for every call that failed on the way, as spans of one trace.

No log holds a prompt or an answer, and students appear under pseudonyms. The form is that of ``POST /logs`` in
Portkey's OpenAPI document (``CustomLog``).
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta

import orjson

from lumni.catalogue.model import Catalogue
from lumni.classroom import Content
from lumni.money import to_usd
from lumni.settings import Settings
from lumni.telemetry.names import Names
from lumni.telemetry.outbox import Outbox, Pace
from lumni.telemetry.pseudonyms import pseudonym_key
from lumni.types import Attempt, Json, Outcome, RequestRecord

REDACTED = "[redacted]"
CONTENT_MODEL = "content"  # no model that Portkey has a price for: the request's own log has tokens and cost
LONGEST_VALUE = 128  # characters of a metadata value
CENT = 10_000_000  # nano-USD: Portkey counts costs in cents
# A log needs the address that was called; those of a school's own servers are nobody's business.
REQUEST_URL = "https://lumni.invalid/v1/chat/completions"

# Portkey's name of a provider where it isn't LiteLLM's (Portkey's gateway, ``src/providers``).
SLUGS: Mapping[str, str] = {
    "azure": "azure-openai",
    "cohere_chat": "cohere",
    "codestral": "mistral-ai",
    "fireworks_ai": "fireworks-ai",
    "gemini": "google",
    "mistral": "mistral-ai",
    "novita": "novita-ai",
    "nvidia_nim": "nvidia",
    "ollama_chat": "ollama",
    "perplexity": "perplexity-ai",
    "together_ai": "together-ai",
    "vertex_ai": "vertex-ai",
    "xai": "x-ai",
}
SAME = frozenset({
    "anthropic", "cerebras", "cohere", "deepinfra", "deepseek", "github", "groq", "huggingface", "hyperbolic", "ollama",
    "openai", "openrouter", "sambanova",
})  # fmt: skip
OWN = "openai"  # of servers and providers that Portkey doesn't know: they speak OpenAI's format


class PortkeySink:
    """A sink of records. ``secret`` keys the pseudonyms: the same student has the same one while it stays the same."""

    def __init__(self, outbox: Outbox, catalogue: Catalogue, secret: bytes, environment: str) -> None:
        self.outbox = outbox
        self._names = Names(catalogue)
        self._secret = secret
        self._environment = environment

    def write(self, record: RequestRecord) -> None:
        for entry in self.entries(record):
            self.outbox.put(orjson.dumps(entry))

    def entries(self, record: RequestRecord) -> list[Json]:
        """The logs of one request, its own first."""
        failed = [one for one in record.attempts if one.outcome not in (Outcome.OK, Outcome.SKIPPED)]
        return [self._request(record), *(self._call(record, one, place) for place, one in enumerate(failed, 1))]

    def tell(self, content: Content) -> None:
        """Send what a course allows to be kept of a request's content, as one more span of its trace."""
        if content.prompt is None:
            return
        body: Json = {"model": CONTENT_MODEL, **orjson.loads(content.prompt)}
        message = {"role": "assistant", "content": content.answer}
        answer = {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": None}]}
        named = {
            "trace_id": content.request_id,
            "span_id": f"{content.request_id}-content",
            "parent_span_id": content.request_id,
            "span_name": "content",
            "_user": self.pseudonym(content.student) if content.student else None,
            "_environment": self._environment,
            "course": content.course,
            "privacy": content.privacy,
        }
        log = _custom_log(OWN, body, {"status": 200, "headers": {}, "body": answer, "response_time": 0}, named)
        self.outbox.put(orjson.dumps({**log, "createdAt": _moment(content.created_at)}))

    def pseudonym(self, person: str) -> str:
        """What Portkey knows a student by."""
        return "u_" + hmac.new(self._secret, person.encode(), hashlib.sha256).hexdigest()[:16]

    def _request(self, record: RequestRecord) -> Json:
        last = record.attempts[-1] if record.attempts else None
        provider = record.provider or (last.provider if last else "")
        group = self._names.group(record.requested_model)
        model = record.model or (last.model if last else group)
        usage = {
            "prompt_tokens": record.prompt_tokens,
            "completion_tokens": record.completion_tokens,
            "total_tokens": record.prompt_tokens + record.completion_tokens,
        }
        body: Json = _error(record.error_code or str(record.outcome))
        if record.deployment:
            message = {"role": "assistant", "content": REDACTED}
            choice = {"index": 0, "message": message, "finish_reason": record.finish_reason}
            body = {"object": "chat.completion", "model": _bare(model), "choices": [choice], "usage": usage}
        taken = record.latency_ms if record.ttft_ms is None else record.ttft_ms
        metadata = {
            "span_id": record.request_id,
            "span_name": record.surface,
            "model_group": group,
            "task_type": record.task_type,
            "confidence": None if record.confidence is None else f"{record.confidence:.2f}",
            "attempts": len(record.attempts),
            "cached": record.cached,
            "list_cost_usd": _usd(record.list_cost),
            "billed_cost_usd": _usd(record.billed_cost),
            "latency_ms": round(record.latency_ms),
            "queued_ms": round(record.queued_ms),
        }
        log = self._log(record, provider, model, record.status, body, record.created_at, taken, metadata)
        log["request"]["body"] |= {"stream": record.stream}
        log["response"]["streamingMode"] = record.stream
        log["output"] = {
            "tokens": {"requestUnits": usage["prompt_tokens"], "responseUnits": usage["completion_tokens"]}
        }
        if record.billed_cost:
            log["output"]["cost"] = {"cost": record.billed_cost / CENT, "currency": "USD"}
        return log

    def _call(self, record: RequestRecord, attempt: Attempt, place: int) -> Json:
        started = record.created_at + timedelta(milliseconds=attempt.started_ms)
        metadata = {
            "span_id": f"{record.request_id}-{place}",
            "parent_span_id": record.request_id,
            "span_name": "upstream call",
        }
        # Calls that ended without a status: 504 for want of time, else 503.
        status = attempt.status or (504 if attempt.outcome is Outcome.TIMEOUT else 503)
        return self._log(
            record, attempt.provider, attempt.model, status, _error(str(attempt.outcome)), started,
            attempt.duration_ms, {**metadata, "deployment": attempt.deployment, "outcome": attempt.outcome},
        )  # fmt: skip

    def _log(
        self, record: RequestRecord, provider: str, model: str, status: int, body: Json, started: datetime,
        milliseconds: float, metadata: Mapping[str, object],
    ) -> Json:  # fmt: skip
        person = record.student or (f"{record.key_id}/{record.label}" if record.label else record.key_id)
        named = {
            "trace_id": record.request_id,
            "_user": self.pseudonym(person),
            "_environment": self._environment,
            "course": record.course,
            "assignment": record.assignment,
            "experiment": record.experiment,
            "variant": record.variant,
            "prompt": record.prompt,
            "provider": provider,
            "deployment": record.deployment,
            "outcome": record.outcome,
            **metadata,
        }
        body_sent = {"model": _bare(model), "messages": [{"role": "user", "content": REDACTED}]}
        answered = {"status": status, "headers": {}, "body": body, "response_time": round(milliseconds)}
        return {**_custom_log(slug(provider), body_sent, answered, named), "createdAt": _moment(started)}


def _custom_log(provider: str, body: Json, response: Json, metadata: Mapping[str, object]) -> Json:
    """Portkey's ``CustomLog``."""
    request = {"url": REQUEST_URL, "method": "POST", "headers": {}, "provider": provider, "body": body}
    told = {name: _text(value) for name, value in metadata.items() if value not in (None, "")}
    return {"request": request, "response": response, "metadata": told}


def _moment(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def slug(provider: str) -> str:
    """Portkey's name of a provider."""
    return SLUGS.get(provider) or (provider if provider in SAME else OWN)


def _bare(model: str) -> str:
    """A model's name without LiteLLM's prefix: that is what Portkey has prices for."""
    return model.split("/", 1)[1] if "/" in model else model


def _text(value: object) -> str:
    return (str(value).lower() if isinstance(value, bool) else str(value))[:LONGEST_VALUE]


def _usd(cost: int | None) -> str | None:
    return None if cost is None else f"{to_usd(cost):f}"


def _error(code: str) -> Json:
    return {"error": {"code": code, "message": code}}


def is_wanted(settings: Settings, catalogue: Catalogue) -> bool:
    """Whether records go to Portkey: by the setting, else by the model list's callbacks; never without a key."""
    if settings.portkey_api_key is None or not settings.portkey_api_key.get_secret_value():
        return False
    return "portkey" in catalogue.callbacks if settings.portkey_enabled is None else settings.portkey_enabled


def make_portkey(settings: Settings, catalogue: Catalogue, worker: int | None = None) -> PortkeySink | None:
    """The sink, to be started by its outbox, if records are to go to Portkey. ``worker`` is this process's number."""
    if not is_wanted(settings, catalogue):
        return None
    name = "portkey.spill" if worker is None else f"portkey.{worker}.spill"
    outbox = Outbox("Portkey", logs_url(settings), headers_of(settings), settings.data_dir / name)
    return PortkeySink(outbox, catalogue, pseudonym_key(settings.data_dir), settings.portkey_environment)


def make_feedback(settings: Settings, catalogue: Catalogue, worker: int | None = None) -> Outbox | None:
    """Where feedback goes, if records go to Portkey: one object a call (``FeedbackRequest``)."""
    if not is_wanted(settings, catalogue):
        return None
    name = "feedback.spill" if worker is None else f"feedback.{worker}.spill"
    url, headers = f"{settings.portkey_base_url}/feedback", headers_of(settings)
    return Outbox("Portkey-feedback", url, headers, settings.data_dir / name, Pace(batch=1), envelope=(b"", b""))


def logs_url(settings: Settings) -> str:
    return f"{settings.portkey_base_url}/logs"


def headers_of(settings: Settings) -> dict[str, str]:
    """What Portkey knows the workspace by."""
    key = settings.portkey_api_key.get_secret_value() if settings.portkey_api_key else ""
    return {"x-portkey-api-key": key}
