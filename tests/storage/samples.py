"""Records to store."""

from datetime import UTC, datetime, timedelta
from typing import Any

from lumni.types import Attempt, Outcome, RequestRecord

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)


def record(number: int = 0, **changes: Any) -> RequestRecord:
    """A record of a request that was answered; each number is a millisecond later than the one before."""
    values: dict[str, Any] = {
        "request_id": f"req-{number:08d}",
        "created_at": START + timedelta(milliseconds=number),
        "surface": "chat.completions",
        "key_id": "key-7",
        "requested_model": "auto",
        "outcome": Outcome.OK,
        "status": 200,
        "stream": True,
        "student": "ada",
        "course": "ai-101",
        "label": "homework-3",
        "assignment": "hw-3",
        "task_type": "powerful",
        "confidence": 0.8765,
        "factors": {"code": 0.7, "short": -0.25},
        "deployment": "groq/llama",
        "provider": "groq",
        "model": "llama-3.3-70b",
        "reason": "highest score with quota left",
        "benchmark_score": 71.255,
        "prompt_tokens": 321,
        "completion_tokens": 45,
        "list_cost": 1_234_567,
        "billed_cost": 0,
        "latency_ms": 812.5,
        "queued_ms": 41.5,
        "ttft_ms": 203.25,
        "finish_reason": "stop",
        "prompt": "tutor@prod",
        "experiment": "tone",
        "variant": "kind",
        "decision": {"requested": "auto", "task": ["powerful", 1.0], "options": [["groq/llama", True, None, 0.25]]},
        "attempts": (
            Attempt("gemini/flash", "gemini", "gemini-flash", Outcome.RATE_LIMITED, 1.5, 90.0, 429, "quota"),
            Attempt("groq/llama", "groq", "llama-3.3-70b", Outcome.OK, 95.0, 700.0, 200),
        ),
    }
    return RequestRecord(**{**values, **changes})
