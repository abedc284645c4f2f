"""What a provider's answer teaches about its limits. Pure; nothing that a provider can send makes it raise.

Spellings understood (2026):

* ``x-ratelimit-{limit,remaining,reset}-{requests,tokens}`` of OpenAI, Azure and Groq (requests a day, tokens a minute)
* the same with ``-second``, ``-minute``, ``-hour``, ``-day`` or ``-month`` of Cerebras, SambaNova and Mistral
  (``…-req-minute``)
* ``x-ratelimitbysize-*-{minute,month}`` of Mistral, ``anthropic-ratelimit-*``, ``ratelimit-*`` of the IETF draft
* ``retry-after`` and ``retry-after-ms``
* Google's ``QuotaFailure`` and ``RetryInfo``, OpenRouter's ``metadata.headers``
* sentences of OpenAI and Groq: "… on tokens per minute (TPM): Limit 6000, Used 5527 … try again in 7.66s"

LiteLLM's prefix ``llm_provider-`` is ignored.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

import orjson

from lumni.quota.model import DAY, HOUR, MINUTE, MONTH, Correction, Kind

REFUSING = frozenset({402, 413, 429, 498, 503, 529})  # the statuses whose text may be about quota
LONGEST = 62.0 * DAY  # nothing resets later than this: a longer time is a misread one
PERIODS: dict[str, float] = {
    "second": 1, "sec": 1, "minute": MINUTE, "min": MINUTE, "hour": HOUR, "day": DAY, "month": MONTH,
}  # fmt: skip
SHORT: dict[str, tuple[Kind, float]] = {
    "RPM": ("requests", MINUTE), "RPH": ("requests", HOUR), "RPD": ("requests", DAY),
    "TPM": ("tokens", MINUTE), "TPH": ("tokens", HOUR), "TPD": ("tokens", DAY),
    "ITPM": ("input_tokens", MINUTE), "OTPM": ("output_tokens", MINUTE),
}  # fmt: skip
_UNITS = {"d": DAY, "h": HOUR, "m": MINUTE, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|d|h|m|s)")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|us|µs|d|h|m|s))+")
_TRY_AGAIN = re.compile(
    r"(?:try again|retry) in (?:about )?((?:\d+(?:\.\d+)?\s?(?:ms|d|h|m|s)(?![a-z]))+)", re.IGNORECASE
)
_TRY_WORDS = re.compile(r"(?:try again|retry) (?:in|after) (\d+(?:\.\d+)?) ?(second|minute|hour|day)s?", re.IGNORECASE)
_PER = re.compile(
    r"\b(input tokens|output tokens|tokens|requests)[ -]per[ -](second|sec|minute|min|hour|day|month)\b", re.IGNORECASE
)
_SHORT = re.compile(r"\b([IO]?TP[MHD]|RP[MHD])\b")
_LIMIT = re.compile(r"\bLimit:? (\d{1,15})\b", re.IGNORECASE)
_FREE_MODELS = re.compile(r"free-models-per-(min|day)", re.IGNORECASE)
_HEADER = re.compile(
    r"(?:x-)?ratelimit-(limit|remaining|reset)"
    r"(?:-(req|requests|tokens|input-tokens|output-tokens))?(?:-(second|minute|hour|day|month))?"
)
_BY_SIZE = re.compile(r"(?:x-)?ratelimitbysize-(limit|remaining|reset)(?:-(minute|month))?")
_ANTHROPIC = re.compile(r"anthropic-ratelimit-(requests|tokens|input-tokens|output-tokens)-(limit|remaining|reset)")


def lessons(
    status: int, headers: Mapping[str, str], body: object = None, *, now: float, provider: str = ""
) -> tuple[Correction, ...]:
    """What to tell the store after an answer with ``status``; ``body`` is bytes, text or parsed JSON of an error.

    ``now`` is Unix time in seconds, for resets given as dates. After a refusal (429, or 402) at least one correction
    has ``refused``: for the window that is to blame where that can be told, else for the whole pool.
    """
    plain = {
        name.removeprefix("llm_provider-"): str(value)
        for given, value in headers.items()
        if "ratelimit" in (name := str(given).lower()) or "retry-after" in name
    }
    heard = list(_from_headers(plain, now, provider))
    if status not in REFUSING:
        return tuple(heard)
    error = _parse(body)
    text = " ".join(_strings(error))[:8000]
    wait = _retry_after(plain, now)
    wait = _asked_to_wait(error, text) if wait is None else wait
    blamed = list(_google(error, wait)) or list(_openrouter(error, text, now)) or list(_sentence(text, wait, status))
    if not blamed and status == 429:
        blamed = [_refused(correction, wait) for correction in heard if correction.remaining == 0]
    if not any(c.refused for c in blamed) and status in (402, 429):
        blamed.append(Correction(refused=True, reset_in=wait if wait is not None or status == 429 else float(DAY)))
    keys = {c.key for c in blamed}
    return (*(c for c in heard if c.key not in keys), *blamed)


def _refused(heard: Correction, wait: float | None) -> Correction:
    return replace(heard, refused=True, reset_in=heard.reset_in if wait is None else wait)


def seconds(text: str, now: float | None = None) -> float | None:
    """A time to wait as providers write it: ``7.66``, ``2m59.56s``, ``120ms``, RFC 3339, an HTTP date, a Unix time."""
    text = text.strip()
    if _DURATION.fullmatch(text):
        return _bounded(sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)))
    try:
        number = float(text)
    except ValueError:
        moment = None if now is None else _date(text)
        return None if moment is None or now is None else _bounded(moment - now)
    if number > 1e12 and now is not None:  # a Unix time in milliseconds
        return _bounded(number / 1000 - now)
    if number > 1e9 and now is not None:
        return _bounded(number - now)
    return _bounded(number)


def _from_headers(headers: Mapping[str, str], now: float, provider: str) -> Iterator[Correction]:
    windows: dict[tuple[Kind, str], dict[str, str]] = {}
    for name, value in headers.items():
        if found := _HEADER.fullmatch(name):
            part, what, period = found.groups()
            kind: Kind = "requests" if what in (None, "req", "requests") else _kind(what)
            windows.setdefault((kind, period or ""), {})[part] = value
        elif found := _BY_SIZE.fullmatch(name):
            windows.setdefault(("tokens", found[2] or "minute"), {})[found[1]] = value
        elif found := _ANTHROPIC.fullmatch(name):
            windows.setdefault((_kind(found[1]), "minute"), {})[found[2]] = value
    for (kind, period), parts in windows.items():
        reset = seconds(parts.get("reset", ""), now)
        limit, remaining = _count(parts.get("limit", "")), _count(parts.get("remaining", ""))
        span = PERIODS[period] if period else _guess(kind, limit, remaining, reset, provider)
        if span < MINUTE:
            remaining = None  # by the time that it is read, the window is another one
        if span and (limit is not None or remaining is not None):
            yield Correction(kind, span, limit, remaining, reset)


def _guess(kind: Kind, limit: int | None, remaining: int | None, reset: float | None, provider: str) -> float:
    """The period of a window whose header names none.

    Groq counts requests by the day and tokens by the minute. Elsewhere a reset later than a minute gives away a longer
    window; at OpenAI, whose windows are buckets, the time that what is missing takes to refill does (requests a day).
    """
    if provider == "groq":
        return DAY if kind == "requests" else MINUTE
    if reset is None:
        return MINUTE
    refill = reset
    if provider in ("openai", "azure") and limit and remaining is not None and limit > remaining:
        refill = reset * limit / (limit - remaining)
    return next((p for p in (MINUTE, HOUR, DAY) if max(reset, min(refill, DAY)) <= p * 1.05), MONTH)


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    if (ms := _number(headers.get("retry-after-ms", ""))) is not None:
        return _bounded(ms / 1000)
    return seconds(headers.get("retry-after", ""), now)


def _asked_to_wait(error: object, text: str) -> float | None:
    for detail in _details(error, "RetryInfo"):
        if isinstance(delay := detail.get("retryDelay"), str):
            return seconds(delay)
    if found := _TRY_AGAIN.search(text):
        return seconds(re.sub(r"\s", "", found[1]).lower())
    if found := _TRY_WORDS.search(text):
        return _bounded(float(found[1]) * PERIODS[found[2].lower()])
    return None


def _google(error: object, wait: float | None) -> Iterator[Correction]:
    """``QuotaFailure`` of google.rpc: the quota's id says what and per what; a day's ``retryDelay`` doesn't mean it."""
    for detail in _details(error, "QuotaFailure"):
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else []:
            if not isinstance(violation, dict):
                continue
            name = f"{violation.get('quotaId', '')} {violation.get('quotaMetric', '')}".lower()
            found = re.search(r"per(minute|hour|day|month)", name)
            if not found:
                continue
            kind: Kind = "requests"
            if "token" in name:
                kind = "input_tokens" if "input" in name else "tokens"
            period = PERIODS[found[1]]
            limit = _count(str(violation.get("quotaValue", "")))
            yield Correction(kind, period, limit, reset_in=wait if period <= HOUR else None, refused=True)


def _openrouter(error: object, text: str, now: float) -> Iterator[Correction]:
    """OpenRouter's free models: which window is in the sentence, its numbers are in ``metadata.headers``."""
    found = _FREE_MODELS.search(text)
    metadata = _inner(error).get("metadata")
    inside = metadata.get("headers") if isinstance(metadata, dict) else None
    numbers = {str(k).lower(): str(v) for k, v in inside.items()} if isinstance(inside, dict) else {}
    if not found and "x-ratelimit-limit" not in numbers:
        return
    limit, reset = _count(numbers.get("x-ratelimit-limit", "")), seconds(numbers.get("x-ratelimit-reset", ""), now)
    period = PERIODS[found[1].lower()] if found else _guess("requests", limit, 0, reset, "")
    yield Correction("requests", period, limit, reset_in=reset, refused=True)


def _sentence(text: str, wait: float | None, status: int) -> Iterator[Correction]:
    """OpenAI's and Groq's words. A 413 means a request larger than the window: it teaches the limit, no more."""
    if short := _SHORT.search(text):
        kind, period = SHORT[short[1]]
        where = short.start()
    elif per := _PER.search(text):
        kind, period = _kind(per[1].lower().replace(" ", "-")), PERIODS[per[2].lower()]
        where = per.start()
    else:
        return
    limit = _LIMIT.search(text, where)
    refused = status == 429
    if limit or refused:
        value = _count(limit[1]) if limit else None
        yield Correction(kind, period, value, reset_in=wait if refused else None, refused=refused)


def _kind(name: str) -> Kind:
    if name.startswith("req"):
        return "requests"
    return "input_tokens" if name.startswith("input") else "output_tokens" if name.startswith("output") else "tokens"


def _parse(body: object) -> object:
    if isinstance(body, bytes | bytearray | str):
        try:
            return orjson.loads(body)
        except ValueError:
            return body.decode(errors="replace") if isinstance(body, bytes | bytearray) else body
    return body


def _inner(error: object) -> dict[str, Any]:
    """The object under ``error``; Google sends a list of one."""
    if isinstance(error, list) and error:
        error = error[0]
    if isinstance(error, dict):
        inside = error.get("error", error)
        return inside if isinstance(inside, dict) else error
    return {}


def _details(error: object, type_: str) -> Iterator[dict[str, Any]]:
    details = _inner(error).get("details")
    for detail in details if isinstance(details, list) else []:
        if isinstance(detail, dict) and str(detail.get("@type", "")).endswith(type_):
            yield detail


def _strings(value: object, depth: int = 0) -> Iterator[str]:
    """The texts of an error, outermost first."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list) and depth < 5:
        items = list(value.values()) if isinstance(value, dict) else value
        for item in items[:50]:
            yield from _strings(item, depth + 1)


def _date(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _count(text: str) -> int | None:
    """A whole number that can be a limit; a structured header's parameters (``10;w=60``) are cut off."""
    number = _number(re.split("[;,]", text, maxsplit=1)[0])
    return int(number) if number is not None and 0 <= number < 1e15 else None


def _bounded(wait: float) -> float | None:
    """Seconds from now, at least 0; a time that no window can have is no time."""
    return max(0.0, wait) if isfinite(wait) and wait <= LONGEST else None
