"""What went wrong in an attempt, read from a provider's refusal or LiteLLM's exceptions: one small value for all."""

import asyncio
import json
import re
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from lumni.types import Outcome

_TRANSIENT = frozenset({Outcome.RATE_LIMITED, Outcome.UNAVAILABLE, Outcome.TIMEOUT, Outcome.CUT})
_BY_STATUS = {
    400: Outcome.BAD_REQUEST,
    401: Outcome.AUTH,
    402: Outcome.RATE_LIMITED,
    403: Outcome.AUTH,
    404: Outcome.NOT_FOUND,
    408: Outcome.TIMEOUT,
    413: Outcome.CONTEXT,
    415: Outcome.BAD_REQUEST,
    422: Outcome.BAD_REQUEST,
    429: Outcome.RATE_LIMITED,
    504: Outcome.TIMEOUT,
}
# Some providers answer 400 for what is not the request's fault; their error codes tell.
_NOT_THE_REQUEST = {
    "model_decommissioned": Outcome.NOT_FOUND,
    "model_not_found": Outcome.NOT_FOUND,
    "model_not_active": Outcome.NOT_FOUND,
    "tool_use_failed": Outcome.UNAVAILABLE,  # Groq: the model wrote a broken tool call
    "json_validate_failed": Outcome.UNAVAILABLE,  # Groq: the model wrote broken JSON
    "API_KEY_INVALID": Outcome.AUTH,  # Gemini answers 400 to a bad key
    "API key not valid": Outcome.AUTH,
}
_CONTEXT = re.compile(
    r"context[ _](length|window|limit)|available context size|maximum context|maximum input length|too many tokens"
    r"|prompt is too long|current length is \d+ while limit is|tokens exceed the configured limit"
    r"|exceeds the maximum number of tokens",
    re.IGNORECASE,
)
# OpenRouter's 403 is about the prompt, not about the key (https://openrouter.ai/docs/api-reference/errors).
_FLAGGED = re.compile(r"flagged|requires moderation", re.IGNORECASE)
_PREFIX = re.compile(r"^(litellm\.\w+: ?|\w+Error: ?|\w+Exception(?: \w+)?\s*-\s*|Error code: \d+ - )+")
# LiteLLM's own check of the messages fails with a bare exception, which it then takes for a broken connection.
_BAD_THREAD = "messages are valid OpenAI chat completion messages"
# A provider's JSON body inside the text; its message is what a person wants to read.
_QUOTED = re.compile(r'"message"\s*:\s*"((?:[^"\\]|\\.)*)"')
# The same as OpenAI's client writes bodies that it doesn't know, such as Gemini's list: as Python.
_QUOTED_AS_PYTHON = re.compile(r"""'message'\s*:\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")
# Keys by their makers' prefixes, long random words (Mistral's and Cohere's keys have no prefix), tokens, addresses,
# what providers leave of a key that they mask, and the account's own ids.
_SECRETS = re.compile(
    r"(?i)\b(?:sk|gsk|csk|key|hf|xai|fw|pk|nvapi|gh[a-z]|github_pat|r8|tgp)[-_][\w-]{6,}|AIza[\w-]{10,}"
    r"|\b(?=[a-z]*\d)(?=\d*[a-z])[a-z0-9]{32,}|Bearer\s+\S+|https?://\S+|(?<![\w-])[\w-]*\*{3,}[\w-]*"
    r"|\b(?:org|proj|acct|team)[-_](?=\w*\d)[\w-]{6,}|\bproject(?:s/|_number:| )\d{6,}"
)
# LiteLLM on answers that it can't translate. It calls some of them wrong requests.
_UNREADABLE = re.compile(r"Error converting to valid response block|Error parsing chunk")
_NAMES_A_SECRET = re.compile(r"key|token|secret|password|credential", re.IGNORECASE)
_SHORTEST_SECRET = 6
# google.rpc.RetryInfo in the body of Gemini's errors: a google.protobuf.Duration such as "34.5s".
_RETRY_DELAY = re.compile(r"""["']retryDelay["']\s*:\s*["'](\d+(?:\.\d+)?)s["']""")
# google.rpc.Status as Gemini writes it, in JSON or in Python: LiteLLM takes "403" anywhere in the text for its status.
_GOOGLE_STATUS = re.compile(r"""["']error["']\s*:(?:\s|\\n)*\{(?:\s|\\n)*["']code["']\s*:\s*([45]\d\d)\b""")
_ERRORS = frozenset(map(str, range(400, 600)))
_LONGEST_WAIT = 86_400.0 * 31


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt failed. ``retry_after`` is in seconds, if the provider said; ``detail`` is fit for a client.

    ``body`` is what the provider said, parsed or as text: for machines only, it may hold anything.
    """

    outcome: Outcome
    status: int | None = None
    retry_after: float | None = None
    detail: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: object = field(default=None, repr=False)

    @property
    def transient(self) -> bool:
        """Whether the same deployment may answer the same request a little later."""
        return self.outcome in _TRANSIENT


class AttemptFailed(Exception):
    """Raised inside the Router's machinery, which then tries the next candidate."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.outcome}: {failure.detail}")
        self.failure = failure


def secrets_in(params: Mapping[str, Any]) -> list[str]:
    """The credentials among a deployment's ``litellm_params``, the longest first; what is shorter is no secret."""
    found = {str(value) for name, value in params.items() if value and _NAMES_A_SECRET.search(name)}
    return sorted((value for value in found if len(value) >= _SHORTEST_SECRET), key=len, reverse=True)


def read(error: BaseException, secrets: Collection[str] = ()) -> Failure:
    """The failure behind any exception that ``litellm.acompletion`` or one of its streams raises.

    ``secrets`` are left out of its words, whatever they look like.
    """
    error = getattr(error, "original_exception", None) or error
    if isinstance(error, AttemptFailed):
        return error.failure
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return Failure(Outcome.TIMEOUT, detail="no answer in time")
    kind = type(error).__name__
    status = _status(error)
    text = _without(secrets, str(getattr(error, "message", "") or error))
    if told := _GOOGLE_STATUS.search(text):
        status = int(told[1])
    headers = _headers(error)
    if _UNREADABLE.search(text) or (status is None and _outcome(kind, status, text) is Outcome.UNAVAILABLE):
        # Nothing that the provider meant to say: code's own words, with addresses and pieces of the answer in them.
        quoted = clean(text) if _QUOTED.search(text) and not _UNREADABLE.search(text) else ""
        detail = quoted or "no connection, or no answer that can be read"
        return Failure(Outcome.UNAVAILABLE, status, retry_after(headers), detail)
    wait = _asked_to_wait(status, headers, text)
    return Failure(_outcome(kind, status, text), status, wait, clean(text), headers, _body(error, text))


def refusal(status: int, headers: Mapping[str, str], body: bytes, secrets: Collection[str] = ()) -> Failure:
    """The failure that a provider tells itself: an answer with another status than 200, or an error inside of one.

    ``headers`` are in lower case.
    """
    text = _without(secrets, body.decode("utf-8", "replace"))
    said: object = text
    with suppress(ValueError):
        said = orjson.loads(text)
    wait = _asked_to_wait(status, headers, text)
    return Failure(_outcome("", status, text), status, wait, clean(text) or f"HTTP {status}", headers, said)


def error_inside(body: Mapping[str, Any], headers: Mapping[str, str], secrets: Collection[str] = ()) -> Failure | None:
    """The error that a body with status 200 is, if it is one: OpenRouter's, Groq's and Gemini's streams end so."""
    error = body.get("error")
    if not error:
        return None
    given = error.get("code") or error.get("status") if isinstance(error, Mapping) else None
    status = int(str(given)) if str(given) in _ERRORS else 500
    return refusal(status, headers, orjson.dumps({"error": error}), secrets)


def _without(secrets: Collection[str], text: str) -> str:
    for secret in secrets:
        text = text.replace(secret, "[hidden]")
    return text


def _asked_to_wait(status: int | None, headers: Mapping[str, str], text: str) -> float | None:
    """Seconds, by the headers or else by Google's words."""
    wait = retry_after(headers)
    if wait is None and (delay := _RETRY_DELAY.search(text)) and float(delay[1]) < _LONGEST_WAIT:
        wait = float(delay[1])
    if wait is None and status == 429:
        wait = until_reset(headers, time.time())
    return wait


def is_cancelled() -> bool:
    """Whether somebody wants this task to end. If not, a ``CancelledError`` comes from below, as a failure."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _outcome(kind: str, status: int | None, text: str) -> Outcome:
    if kind in ("Timeout", "APITimeoutError") or "Timeout on reading" in text:
        return Outcome.TIMEOUT
    if kind == "ContextWindowExceededError":
        return Outcome.CONTEXT
    if status in (400, 422):
        if named := next((outcome for code, outcome in _NOT_THE_REQUEST.items() if code in text), None):
            return named
        return Outcome.CONTEXT if _CONTEXT.search(text) else Outcome.BAD_REQUEST
    if status == 403 and _FLAGGED.search(text):
        return Outcome.BAD_REQUEST
    if _BAD_THREAD in text:
        return Outcome.BAD_REQUEST
    if kind == "APIConnectionError" or status is None:
        return Outcome.UNAVAILABLE
    return _BY_STATUS.get(status, Outcome.UNAVAILABLE)


def _status(error: BaseException) -> int | None:
    # LiteLLM gives 500 to connections that failed before any status; the class name tells them apart.
    if type(error).__name__ == "APIConnectionError":
        return None
    status: Any = getattr(error, "status_code", None)
    try:
        return int(status)
    except (TypeError, ValueError, OverflowError):
        return None


def _body(error: BaseException, text: str) -> object:
    """The provider's own words: its JSON where LiteLLM kept it or quotes it, else the text of the error."""
    cause: BaseException | None = error
    while cause is not None:
        with suppress(Exception):
            if said := cause.response.json():  # type: ignore[attr-defined]
                return said
        cause = cause.__cause__ or cause.__context__
    if (start := text.find("{")) >= 0:
        with suppress(ValueError):
            return json.JSONDecoder().raw_decode(text, start)[0]
    return text


def _headers(error: BaseException) -> Mapping[str, str]:
    found: Any = getattr(error, "litellm_response_headers", None)
    if not found:
        found = getattr(getattr(error, "response", None), "headers", None)
    return {str(name).lower(): str(value) for name, value in dict(found or {}).items()}


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by ``retry-after-ms`` or ``retry-after`` (RFC 9110, the form in seconds); else ``None``."""
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / scale
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < _LONGEST_WAIT:
            return seconds
    return None


def until_reset(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds from ``now`` to ``x-ratelimit-reset``, if nothing remains until then.

    OpenRouter's only word on the wait, in milliseconds of Unix time (https://openrouter.ai/docs/api-reference/limits).
    """
    if headers.get("x-ratelimit-remaining") != "0":
        return None
    with suppress(KeyError, ValueError):
        seconds = float(headers["x-ratelimit-reset"]) / 1000 - now
        if 0 < seconds < _LONGEST_WAIT:
            return seconds
    return None


def clean(text: str, limit: int = 300) -> str:
    """A provider's message without LiteLLM's prefixes, keys, addresses and line breaks, at most ``limit`` long."""
    text = _PREFIX.sub("", text.split("Traceback (most recent call last)", 1)[0])
    if quoted := _QUOTED.search(text):
        with suppress(ValueError):
            text = str(orjson.loads(f'"{quoted[1]}"')).replace("\\n", " ")
    elif quoted := _QUOTED_AS_PYTHON.search(text):
        text = re.sub(r"\\(.)", lambda escaped: " " if escaped[1] in "nrt" else escaped[1], quoted[1][1:-1])
    text = _SECRETS.sub("[hidden]", text)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"
