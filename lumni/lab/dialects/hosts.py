"""Hosts of open models that stay close to OpenAI: DeepSeek, Together, Fireworks."""

import math
from collections.abc import Sequence

from lumni.lab.limits import Reading, Refusal

from .base import Dialect, Headers, Refused, error, tightest


class DeepSeekDialect(Dialect):
    """No published limits: a busy server sends keep-alive comments (https://api-docs.deepseek.com/quick_start/rate_limit)."""

    preamble = b": keep-alive\n\n"

    def limit_headers(self, readings: Sequence[Reading], now: float) -> Headers:  # noqa: ARG002
        return {}

    def over_limit(self, refusal: Refusal, model: str, account: str, now: float) -> Refused:  # noqa: ARG002
        return Refused(429, error("Rate Limit Reached", "rate_limit_error", "rate_limit_reached", param=None))

    def bad_key(self, key: str) -> Refused:
        message = f"Authentication Fails, Your api key: ****{key[-4:]} is invalid"
        return Refused(401, error(message, "authentication_error", "invalid_request_error", param=None))

    def no_model(self, model: str) -> Refused:  # noqa: ARG002
        return Refused(400, error("Model Not Exist", "invalid_request_error", "invalid_request_error", param=None))


class TogetherDialect(Dialect):
    """One pair of headers for requests, one for tokens, resets in whole seconds."""

    def limit_headers(self, readings: Sequence[Reading], now: float) -> Headers:  # noqa: ARG002
        headers: Headers = {}
        for unit, prefix in (("requests", "x-ratelimit"), ("tokens", "x-tokenlimit")):
            reading = tightest(readings, unit)
            if reading:
                headers[f"{prefix}-limit"] = str(reading.limit.amount)
                headers[f"{prefix}-remaining"] = str(reading.remaining)
                if unit == "requests":
                    headers["x-ratelimit-reset"] = str(math.ceil(reading.reset_in))
        return headers

    def over_limit(self, refusal: Refusal, model: str, account: str, now: float) -> Refused:  # noqa: ARG002
        limit = refusal.reading.limit
        message = f"You have reached the rate limit of {limit.amount} {limit.unit} per {limit.period} for {model}."
        headers = {} if math.isinf(refusal.wait) else {"retry-after": str(math.ceil(refusal.wait))}
        return Refused(429, error(message, "rate_limit", None, param=None), headers)

    def bad_key(self, key: str) -> Refused:  # noqa: ARG002
        message = "Invalid API key provided."
        return Refused(401, error(message, "invalid_request_error", "invalid_api_key", param=None))

    def no_model(self, model: str) -> Refused:
        message = f"Unable to access model {model}. Please visit the list of supported models."
        return Refused(404, error(message, "invalid_request_error", "model_not_available", param=None))


class FireworksDialect(Dialect):
    """OpenAI's headers plus ``x-ratelimit-over-limit``; errors carry ``object: error``."""

    def over_limit(self, refusal: Refusal, model: str, account: str, now: float) -> Refused:  # noqa: ARG002
        headers = {"x-ratelimit-over-limit": "yes"}
        if not math.isinf(refusal.wait):
            headers["retry-after"] = str(math.ceil(refusal.wait))
        return _error(429, "You have exceeded your rate limit.", "rate_limit_exceeded", headers)

    def bad_key(self, key: str) -> Refused:  # noqa: ARG002
        return _error(401, "The API key you provided is invalid.", "UNAUTHORIZED")

    def no_model(self, model: str) -> Refused:  # noqa: ARG002
        return _error(404, "Model not found, inaccessible, and/or not deployed", "NOT_FOUND")


def _error(status: int, message: str, code: str, headers: Headers | None = None) -> Refused:
    body = {"error": {"object": "error", "type": "invalid_request_error", "code": code, "message": message}}
    return Refused(status, body, headers or {})
