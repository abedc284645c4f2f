"""Gemini: ``google.rpc.Status`` errors with quota ids and a retry delay in the body, no rate-limit headers.

Shapes after https://ai.google.dev/gemini-api/docs/rate-limits and google/rpc/error_details.proto. The OpenAI-compatible
endpoint wraps the same error in a list.
"""

import math
from collections.abc import Sequence
from typing import Any

from lumni.lab.limits import Limit, Reading, Refusal

from .base import Dialect, Headers, Refused

_DOMAIN = "generativelanguage.googleapis.com"
_STATUS = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
_BROKEN = {500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}


class GeminiDialect(Dialect):
    def __init__(self, *, native: bool = False) -> None:
        """``native`` writes the bare object of the Gemini API instead of the list of its OpenAI-compatible endpoint."""
        self._native = native

    def limit_headers(self, readings: Sequence[Reading], now: float) -> Headers:  # noqa: ARG002
        return {}

    def over_limit(self, refusal: Refusal, model: str, account: str, now: float) -> Refused:  # noqa: ARG002
        limit = refusal.reading.limit
        metric = f"{_DOMAIN}/{_metric(limit)}"
        violation = {
            "quotaMetric": metric,
            "quotaId": _quota_id(limit),
            "quotaDimensions": {"location": "global", "model": model},
            "quotaValue": str(limit.amount),
        }
        details: list[dict[str, Any]] = [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]},
            {
                "@type": "type.googleapis.com/google.rpc.Help",
                "links": [
                    {"description": "Gemini API quotas", "url": "https://ai.google.dev/gemini-api/docs/rate-limits"}
                ],
            },
        ]
        message = (
            "You exceeded your current quota, please check your plan and billing details.\n"
            f"* Quota exceeded for metric: {metric}, limit: {limit.amount}, model: {model}"
        )
        if not math.isinf(refusal.wait):
            message += f"\nPlease retry in {refusal.wait:.9f}s."
            delay = f"{math.floor(refusal.wait)}s"
            details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay})
        return self._status(429, message, details)

    def bad_key(self, key: str) -> Refused:
        if not key:
            message = "Method doesn't allow unregistered callers. Please use API Key to call this API."
            return self._status(403, message)
        details = [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": _DOMAIN},
            }
        ]
        return self._status(400, "API key not valid. Please pass a valid API key.", details)

    def no_model(self, model: str) -> Refused:
        message = f"models/{model} is not found for API version v1beta, or is not supported for generateContent."
        return self._status(404, message)

    def bad_request(self, message: str, param: str | None) -> Refused:  # noqa: ARG002
        return self._status(400, message)

    def broken(self, status: int) -> Refused:
        message = (
            "The model is overloaded. Please try again later." if status == 503 else "An internal error has occurred."
        )
        return self._status(status, message, name=_BROKEN.get(status, "UNKNOWN"))

    def _status(self, code: int, message: str, details: list[dict[str, Any]] | None = None, name: str = "") -> Refused:
        status: dict[str, Any] = {"code": code, "message": message, "status": name or _STATUS[code]}
        if details:
            status["details"] = details
        body: Any = {"error": status}
        return Refused(code, body if self._native else [body])


def _metric(limit: Limit) -> str:
    unit = "requests" if limit.unit == "requests" else "input_token_count"
    return f"generate_content_free_tier_{unit}"


def _quota_id(limit: Limit) -> str:
    period = limit.period.capitalize()
    if limit.unit == "requests":
        return f"GenerateRequestsPer{period}PerProjectPerModel-FreeTier"
    return f"GenerateContentInputTokensPerModelPer{period}-FreeTier"
