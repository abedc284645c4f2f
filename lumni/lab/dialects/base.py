"""OpenAI's own dialect, which the other providers change in places.

Shapes after https://platform.openai.com/docs/guides/rate-limits and …/docs/guides/error-codes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from lumni.lab.limits import Reading, Refusal

Json = dict[str, Any]
Headers = dict[str, str]
_PER = {"second": "sec", "minute": "min", "hour": "hour", "day": "day", "month": "month"}


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that is an error."""

    status: int
    body: Any
    headers: Headers = field(default_factory=dict)


class Dialect:
    """OpenAI's spelling. ``preamble`` is written before a stream's first event; ``sends_done`` ends it with [DONE]."""

    preamble = b""
    sends_done = True

    def limit_headers(self, readings: Sequence[Reading], now: float) -> Headers:  # noqa: ARG002
        """The headers of every answer: the tightest window for requests and for tokens, resets like ``6m0s``."""
        headers: Headers = {}
        for unit in ("requests", "tokens"):
            reading = tightest(readings, unit)
            if reading:
                headers[f"x-ratelimit-limit-{unit}"] = str(reading.limit.amount)
                headers[f"x-ratelimit-remaining-{unit}"] = str(reading.remaining)
                headers[f"x-ratelimit-reset-{unit}"] = duration(reading.reset_in)
        return headers

    def over_limit(self, refusal: Refusal, model: str, account: str, now: float) -> Refused:  # noqa: ARG002
        limit = refusal.reading.limit
        message = (
            f"Rate limit reached for {model} in organization {account} on {limit.unit} per {_PER[limit.period]} "
            f"({limit.short}): Limit {limit.amount}, Used {round(refusal.reading.used)}, "
            f"Requested {refusal.requested}.{again(refusal.wait)}"
        )
        body = error(message, limit.unit, "rate_limit_exceeded", param=None)
        return Refused(429, body, {**retry_headers(refusal.wait), "x-should-retry": "true"})

    def bad_key(self, key: str) -> Refused:
        if not key:
            return Refused(401, error("You didn't provide an API key.", "invalid_request_error", None, param=None))
        message = f"Incorrect API key provided: {masked(key)}."
        return Refused(401, error(message, "invalid_request_error", "invalid_api_key", param=None))

    def no_model(self, model: str) -> Refused:
        message = f"The model `{model}` does not exist or you do not have access to it."
        return Refused(404, error(message, "invalid_request_error", "model_not_found", param=None))

    def bad_request(self, message: str, param: str | None) -> Refused:
        return Refused(400, error(message, "invalid_request_error", None, param=param))

    def broken(self, status: int) -> Refused:
        """A fault of the server itself."""
        message = "The server had an error while processing your request."
        return Refused(status, error(message, "server_error", None, param=None))

    def dress(self, whole: Json) -> Json:
        """A ``chat.completion`` with the provider's own fields."""
        return whole

    def dress_chunk(self, chunk: Json, usage: Json | None) -> Json:  # noqa: ARG002
        """A stream's chunk with the provider's own fields; ``usage`` is given for the one that ends the stream."""
        return chunk


def error(message: str, kind: str, code: str | None, **more: Any) -> Json:
    """``{"error": {"message", "type", …, "code"}}``."""
    return {"error": {"message": message, "type": kind, **more, "code": code}}


def tightest(readings: Sequence[Reading], unit: str, period: str | None = None) -> Reading | None:
    """The window of this unit (and period) with the least left."""
    of_unit = [reading for reading in readings if reading.limit.unit == unit]
    if period:
        of_unit = [reading for reading in of_unit if reading.limit.period == period]
    return min(of_unit, key=lambda reading: reading.remaining, default=None)


def duration(seconds: float) -> str:
    """A span as Go writes it: ``0s``, ``17ms``, ``7.66s``, ``2m59.56s``, ``1h0m30s``."""
    if seconds <= 0 or math.isinf(seconds):
        return "0s"
    if seconds < 1:
        return f"{max(1, round(seconds * 1000))}ms"
    hundredths = round(seconds * 100)
    hours, rest = divmod(hundredths, 360_000)
    minutes, rest = divmod(rest, 6_000)
    text = f"{rest / 100:g}s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


def again(wait: float) -> str:
    return "" if math.isinf(wait) else f" Please try again in {duration(wait)}."


def retry_headers(wait: float) -> Headers:
    """``retry-after-ms`` and ``retry-after`` (whole seconds, rounded up); none for a request that can never fit."""
    if math.isinf(wait):
        return {}
    return {"retry-after-ms": str(math.ceil(wait * 1000)), "retry-after": str(math.ceil(wait))}


def masked(key: str) -> str:
    """A key as error messages show it."""
    return f"{key[:4]}****{key[-4:]}" if len(key) > 8 else "****"
