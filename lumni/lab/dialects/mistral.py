"""Mistral: flat error objects, headers that name their window (``x-ratelimit-limit-req-minute``)."""

from collections.abc import Sequence

from lumni.lab.limits import Reading, Refusal

from .base import Dialect, Headers, Json, Refused

_UNITS = {"requests": "req", "tokens": "tokens"}


class MistralDialect(Dialect):
    def limit_headers(self, readings: Sequence[Reading], now: float) -> Headers:  # noqa: ARG002
        headers: Headers = {}
        for reading in readings:
            name = f"{_UNITS[reading.limit.unit]}-{reading.limit.period}"
            headers[f"x-ratelimit-limit-{name}"] = str(reading.limit.amount)
            headers[f"x-ratelimit-remaining-{name}"] = str(reading.remaining)
        return headers

    def over_limit(self, refusal: Refusal, model: str, account: str, now: float) -> Refused:  # noqa: ARG002
        return _error(429, "Rate limit exceeded", "rate_limited", "1300")

    def bad_key(self, key: str) -> Refused:  # noqa: ARG002
        return Refused(401, {"detail": "Unauthorized"})

    def no_model(self, model: str) -> Refused:
        return _error(400, f"Invalid model: {model}", "invalid_model", "1500")

    def bad_request(self, message: str, param: str | None) -> Refused:
        return _error(422, message, "invalid_request_error", None, param)

    def broken(self, status: int) -> Refused:
        return _error(
            status, "Service unavailable." if status == 503 else "Internal server error", "internal_error", "3000"
        )

    def dress(self, whole: Json) -> Json:
        return {key: value for key, value in whole.items() if key not in ("service_tier", "system_fingerprint")}

    def dress_chunk(self, chunk: Json, usage: Json | None) -> Json:
        """Mistral puts the usage on the chunk that finishes, asked or not."""
        for key in ("service_tier", "system_fingerprint"):
            chunk.pop(key, None)
        if usage is not None:
            chunk["usage"] = {key: usage[key] for key in ("prompt_tokens", "completion_tokens", "total_tokens")}
        return chunk


def _error(status: int, message: str, kind: str, code: str | None, param: str | None = None) -> Refused:
    body = {
        "object": "error",
        "message": message,
        "type": kind,
        "param": param,
        "code": code,
        "raw_status_code": status,
    }
    return Refused(status, body)
