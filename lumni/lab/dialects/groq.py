"""Groq: requests headers speak of the day, tokens headers of the minute (https://console.groq.com/docs/rate-limits)."""

import math
from collections.abc import Sequence

from lumni.lab.limits import Reading, Refusal

from .base import Dialect, Headers, Json, Refused, duration, error, tightest

_TIER = "on_demand"
_SECONDS_PER_TOKEN = 1 / 400


class GroqDialect(Dialect):
    def limit_headers(self, readings: Sequence[Reading], now: float) -> Headers:  # noqa: ARG002
        headers: Headers = {}
        for unit, period in (("requests", "day"), ("tokens", "minute")):
            reading = tightest(readings, unit, period)
            if reading:
                headers[f"x-ratelimit-limit-{unit}"] = str(reading.limit.amount)
                headers[f"x-ratelimit-remaining-{unit}"] = str(reading.remaining)
                headers[f"x-ratelimit-reset-{unit}"] = duration(reading.reset_in)
        return headers

    def over_limit(self, refusal: Refusal, model: str, account: str, now: float) -> Refused:  # noqa: ARG002
        limit = refusal.reading.limit
        where = (
            f"model `{model}` in organization `org_{account}` service tier `{_TIER}` on {limit.unit} per "
            f"{limit.period} ({limit.short}): Limit {limit.amount}"
        )
        if math.isinf(refusal.wait):
            message = f"Request too large for {where}, Requested {refusal.requested}, please reduce your message size."
            return Refused(413, error(message, limit.unit, "rate_limit_exceeded"))
        message = (
            f"Rate limit reached for {where}, Used {round(refusal.reading.used)}, Requested {refusal.requested}. "
            f"Please try again in {duration(refusal.wait)}."
        )
        body = error(message, limit.unit, "rate_limit_exceeded")
        return Refused(429, body, {"retry-after": str(math.ceil(refusal.wait))})

    def bad_key(self, key: str) -> Refused:  # noqa: ARG002
        return Refused(401, error("Invalid API Key", "invalid_request_error", "invalid_api_key"))

    def no_model(self, model: str) -> Refused:
        message = f"The model `{model}` does not exist or you do not have access to it."
        return Refused(404, error(message, "invalid_request_error", "model_not_found"))

    def bad_request(self, message: str, param: str | None) -> Refused:  # noqa: ARG002
        return Refused(400, {"error": {"message": message, "type": "invalid_request_error"}})

    def broken(self, status: int) -> Refused:
        message = "Service Unavailable" if status == 503 else "Internal Server Error"
        return Refused(status, {"error": {"message": message, "type": "internal_server_error"}})

    def dress(self, whole: Json) -> Json:
        return {**whole, "usage": _timed(whole["usage"]), "service_tier": _TIER, "x_groq": {"id": _request_id(whole)}}

    def dress_chunk(self, chunk: Json, usage: Json | None) -> Json:
        chunk.pop("service_tier", None)
        if usage is not None:
            chunk["x_groq"] = {"id": _request_id(chunk), "usage": _timed(usage)}
        if chunk.get("usage"):
            chunk["usage"] = _timed(chunk["usage"])
        return chunk


def _request_id(answer: Json) -> str:
    return f"req_{answer['id'].removeprefix('chatcmpl-')}"


def _timed(usage: Json) -> Json:
    """Groq's usage carries the seconds of each phase; the lab derives them from the token counts."""
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    spent = {"prompt_time": round(prompt / 20_000, 9), "completion_time": round(completion * _SECONDS_PER_TOKEN, 9)}
    return {
        "queue_time": 0.01,
        "prompt_tokens": prompt,
        "prompt_time": spent["prompt_time"],
        "completion_tokens": completion,
        "completion_time": spent["completion_time"],
        "total_tokens": prompt + completion,
        "total_time": round(sum(spent.values()), 9),
    }
