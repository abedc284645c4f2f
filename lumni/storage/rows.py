"""Records to rows and back. What a database can't hold (NUL, lone surrogates, NaN, 65 bits) is mended here only."""

import math
import sys
from collections.abc import Mapping
from typing import Any, cast

from sqlalchemy import RowMapping

from lumni.types import Attempt, Outcome, RequestRecord, TaskType

INT32 = 2**31 - 1
INT64 = 2**63 - 1

Row = dict[str, Any]


def clean_text(text: str) -> str:
    """``text`` as Unicode that PostgreSQL stores: NUL and lone surrogates become U+FFFD, whole pairs are joined."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def clean_float(number: float) -> float:
    """A finite number: NaN becomes 0, infinity the largest float, since JSON and SQLite have neither."""
    if math.isfinite(number):
        return float(number)
    return 0.0 if math.isnan(number) else math.copysign(sys.float_info.max, number)


def clean_json(value: Any) -> Any:
    """``value`` with every text and number in it as a database can hold it."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, float):
        return clean_float(value)
    if isinstance(value, Mapping):
        return {clean_text(name): clean_json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean_json(item) for item in value]
    return value


def clean_int(number: int, limit: int = INT64) -> int:
    """``number`` held within ``±limit``."""
    return max(-limit, min(limit, number))


def request_row(record: RequestRecord) -> Row:
    """The row of ``requests``. Raises ``ValueError`` for a time without a zone."""
    if record.created_at.tzinfo is None:
        raise ValueError("created_at has no time zone")
    return {
        "request_id": clean_text(record.request_id),
        "created_at": record.created_at,
        "client_request_id": _text(record.client_request_id),
        "surface": clean_text(record.surface),
        "key_id": clean_text(record.key_id),
        "student": _text(record.student),
        "course": _text(record.course),
        "label": _text(record.label),
        "assignment": _text(record.assignment),
        "requested_model": clean_text(record.requested_model),
        "stream": record.stream,
        "outcome": str(record.outcome),
        "status": clean_int(record.status, INT32),
        "error_code": _text(record.error_code),
        "task_type": _text(record.task_type),
        "confidence": _float(record.confidence),
        "factors": {clean_text(name): clean_float(weight) for name, weight in record.factors.items()},
        "deployment": _text(record.deployment),
        "provider": _text(record.provider),
        "model": _text(record.model),
        "reason": _text(record.reason),
        "benchmark_score": _float(record.benchmark_score),
        "cached": record.cached,
        "finish_reason": _text(record.finish_reason),
        "prompt_tokens": clean_int(record.prompt_tokens),
        "completion_tokens": clean_int(record.completion_tokens),
        "cached_tokens": clean_int(record.cached_tokens),
        "reasoning_tokens": clean_int(record.reasoning_tokens),
        "usage_estimated": record.usage_estimated,
        "list_cost": _int(record.list_cost),
        "billed_cost": _int(record.billed_cost),
        "latency_ms": clean_float(record.latency_ms),
        "queued_ms": clean_float(record.queued_ms),
        "ttft_ms": _float(record.ttft_ms),
        "attempts": [_attempt_row(attempt) for attempt in record.attempts],
        "decision": clean_json(record.decision),
        "prompt": _text(record.prompt),
        "experiment": _text(record.experiment),
        "variant": _text(record.variant),
    }


def classification_row(request: Row) -> Row | None:
    """The row of ``task_classifications`` that goes with a row of ``requests``, if the task was classified."""
    if request["task_type"] is None:
        return None
    return {
        "request_id": request["request_id"],
        "task_type": request["task_type"],
        "confidence": _decimal(request["confidence"], 9.99),
        "factors": request["factors"],
        "timestamp": request["created_at"],
    }


def selection_row(request: Row) -> Row | None:
    """The row of ``model_selections``: what was chosen first, whatever answered in the end; none for cached answers."""
    attempts = request["attempts"]
    chosen = attempts[0] if attempts else request
    if request["cached"] or chosen["provider"] is None or chosen["model"] is None:
        return None
    return {
        "request_id": request["request_id"],
        "task_type": request["task_type"],
        "selected_provider": chosen["provider"],
        "selected_model": chosen["model"],
        "reason": request["reason"],
        "benchmark_score": _decimal(request["benchmark_score"], 999.99),
        "timestamp": request["created_at"],
    }


def record_of(row: RowMapping | Mapping[str, Any]) -> RequestRecord:
    """The record that a row of ``requests`` was made from."""
    values = dict(row)
    values["outcome"] = Outcome(values["outcome"])
    values["task_type"] = cast("TaskType | None", values["task_type"])
    # JSONB knows numbers, not floats: 1e22 comes back as an integer.
    values["factors"] = {name: float(weight) for name, weight in values["factors"].items()}
    values["attempts"] = tuple(_attempt_of(attempt) for attempt in values["attempts"])
    return RequestRecord(**values)


def _attempt_row(attempt: Attempt) -> Row:
    return {
        "deployment": clean_text(attempt.deployment),
        "provider": clean_text(attempt.provider),
        "model": clean_text(attempt.model),
        "outcome": str(attempt.outcome),
        "started_ms": clean_float(attempt.started_ms),
        "duration_ms": clean_float(attempt.duration_ms),
        "status": _int(attempt.status),
        "reason": clean_text(attempt.reason),
        "lane": attempt.lane,
    }


def _attempt_of(row: Row) -> Attempt:
    return Attempt(
        deployment=row["deployment"],
        provider=row["provider"],
        model=row["model"],
        outcome=Outcome(row["outcome"]),
        started_ms=float(row["started_ms"]),
        duration_ms=float(row["duration_ms"]),
        status=row["status"],
        reason=row["reason"],
        lane=row.get("lane"),
    )


def _text(text: str | None) -> str | None:
    return None if text is None else clean_text(text)


def _int(number: int | None) -> int | None:
    return None if number is None else clean_int(number)


def _float(number: float | None) -> float | None:
    return None if number is None else clean_float(number)


def _decimal(number: float | None, limit: float) -> float | None:
    return None if number is None else round(max(-limit, min(limit, number)), 2)
