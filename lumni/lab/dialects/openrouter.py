"""OpenRouter: numeric codes, limits inside ``metadata.headers`` (https://openrouter.ai/docs/api-reference/limits)."""

import math
from collections.abc import Sequence

from lumni.lab.limits import Reading, Refusal

from .base import Dialect, Headers, Json, Refused

_PER = {"second": "sec", "minute": "min", "hour": "hour", "day": "day", "month": "month"}


class OpenRouterDialect(Dialect):
    preamble = b": OPENROUTER PROCESSING\n\n"

    def limit_headers(self, readings: Sequence[Reading], now: float) -> Headers:  # noqa: ARG002
        return {}

    def over_limit(self, refusal: Refusal, model: str, account: str, now: float) -> Refused:  # noqa: ARG002
        limit = refusal.reading.limit
        headers = {
            "X-RateLimit-Limit": str(limit.amount),
            "X-RateLimit-Remaining": str(refusal.reading.remaining),
            "X-RateLimit-Reset": str(math.ceil((now + (0 if math.isinf(refusal.wait) else refusal.wait)) * 1000)),
        }
        message = f"Rate limit exceeded: free-models-per-{_PER[limit.period]}. "
        if limit.period == "day":
            message += "Add 10 credits to unlock 1000 free model requests per day"
        body = {
            "error": {"message": message, "code": 429, "metadata": {"headers": headers}},
            "user_id": f"user_{account}",
        }
        return Refused(429, body, headers)

    def bad_key(self, key: str) -> Refused:
        return _error(401, "User not found." if key else "No auth credentials found")

    def no_model(self, model: str) -> Refused:
        return _error(404, f"No endpoints found for {model}.")

    def bad_request(self, message: str, param: str | None) -> Refused:  # noqa: ARG002
        return _error(400, message)

    def broken(self, status: int) -> Refused:
        return _error(status, "Provider returned error")

    def dress(self, whole: Json) -> Json:
        whole["choices"] = [{**choice, "native_finish_reason": choice["finish_reason"]} for choice in whole["choices"]]
        return {**whole, "provider": "Lumni Lab", "usage": _priced(whole["usage"])}

    def dress_chunk(self, chunk: Json, usage: Json | None) -> Json:  # noqa: ARG002
        for choice in chunk["choices"]:
            choice["native_finish_reason"] = choice["finish_reason"]
        chunk["provider"] = "Lumni Lab"
        if chunk.get("usage"):
            chunk["usage"] = _priced(chunk["usage"])
        return chunk


def _priced(usage: Json) -> Json:
    return {**usage, "cost": 0, "is_byok": False}


def _error(code: int, message: str) -> Refused:
    return Refused(code, {"error": {"message": message, "code": code}})
