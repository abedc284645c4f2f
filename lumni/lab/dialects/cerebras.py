"""Cerebras: flat errors, headers for the day's requests and the minute's tokens, resets in plain seconds.

After https://inference-docs.cerebras.ai/support/rate-limits.
"""

import math
from collections.abc import Sequence

from lumni.lab.limits import Reading, Refusal

from .base import Dialect, Headers, Json, Refused, tightest


class CerebrasDialect(Dialect):
    def limit_headers(self, readings: Sequence[Reading], now: float) -> Headers:  # noqa: ARG002
        headers: Headers = {}
        for unit, period in (("requests", "day"), ("tokens", "minute")):
            reading = tightest(readings, unit, period)
            if reading:
                headers[f"x-ratelimit-limit-{unit}-{period}"] = str(reading.limit.amount)
                headers[f"x-ratelimit-remaining-{unit}-{period}"] = str(reading.remaining)
                headers[f"x-ratelimit-reset-{unit}-{period}"] = f"{reading.reset_in:.6f}"
        return headers

    def over_limit(self, refusal: Refusal, model: str, account: str, now: float) -> Refused:  # noqa: ARG002
        limit = refusal.reading.limit
        done = "requests sent" if limit.unit == "requests" else "tokens processed"
        message = f"{limit.unit.capitalize()} per {limit.period} limit exceeded - too many {done}."
        code = "request_quota_exceeded" if limit.unit == "requests" else "token_quota_exceeded"
        headers = {} if math.isinf(refusal.wait) else {"retry-after": str(math.ceil(refusal.wait))}
        return _error(429, message, "too_many_requests_error", "quota", code, headers)

    def dress_chunk(self, chunk: Json, usage: Json | None) -> Json:
        """Cerebras puts the usage on the chunk that finishes, asked or not."""
        if usage is not None:
            chunk["usage"] = {key: usage[key] for key in ("prompt_tokens", "completion_tokens", "total_tokens")}
        return chunk

    def bad_key(self, key: str) -> Refused:  # noqa: ARG002
        return _error(401, "Wrong API Key", "invalid_request_error", "api_key", "wrong_api_key")

    def no_model(self, model: str) -> Refused:
        message = f"Model {model} does not exist or you do not have access to it."
        return _error(404, message, "not_found_error", "model", "model_not_found")

    def bad_request(self, message: str, param: str | None) -> Refused:
        return _error(400, message, "invalid_request_error", param, "wrong_api_format")

    def broken(self, status: int) -> Refused:
        return _error(status, "Encountered a server error, please try again.", "server_error", None, "")


def _error(
    status: int, message: str, kind: str, param: str | None, code: str, headers: Headers | None = None
) -> Refused:
    return Refused(status, {"message": message, "type": kind, "param": param, "code": code}, headers or {})
