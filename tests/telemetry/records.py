"""Records and catalogues for tests of the sinks."""

from datetime import UTC, datetime
from typing import Any

from lumni.catalogue.model import Catalogue, Deployment
from lumni.types import Attempt, Outcome, RequestRecord

MOMENT = datetime(2026, 9, 1, 12, 0, tzinfo=UTC)


def catalogue(size: int = 2, providers: int = 2) -> Catalogue:
    """``size`` deployments, each its own group, dealt to ``providers`` in turn."""
    return Catalogue(
        tuple(
            Deployment(f"d{n}", f"g{n}", f"p{n % providers}", "main", f"p{n % providers}/m{n}", params={})
            for n in range(size)
        ),
        aliases={"alias": "g0"},
    )


def attempt(number: int = 0, outcome: Outcome = Outcome.OK, providers: int = 2, **more: Any) -> Attempt:
    provider = f"p{number % providers}"
    given = {"started_ms": 3.0, "duration_ms": 90.0, "status": 200 if outcome is Outcome.OK else 503} | more
    return Attempt(f"d{number}", provider, f"{provider}/m{number}", outcome, **given)


def record(**more: Any) -> RequestRecord:
    """An answer of ``d0``; its time is 100 ms, of which the provider took 90."""
    given: dict[str, Any] = {
        "request_id": "req-1", "created_at": MOMENT, "surface": "chat.completions", "key_id": "key-1",
        "requested_model": "auto", "outcome": Outcome.OK, "status": 200, "stream": False, "student": "ada",
        "course": "cs1", "task_type": "fast", "confidence": 0.9, "deployment": "d0", "provider": "p0",
        "model": "p0/m0", "finish_reason": "stop", "prompt_tokens": 100, "completion_tokens": 20,
        "list_cost": 1_500_000, "billed_cost": 0, "latency_ms": 100.0, "attempts": (attempt(),),
    }  # fmt: skip
    return RequestRecord(**given | more)


def failure(outcome: Outcome = Outcome.UNAVAILABLE, **more: Any) -> RequestRecord:
    """A request that nobody answered."""
    nothing: dict[str, Any] = dict.fromkeys(
        ("deployment", "provider", "model", "finish_reason", "list_cost", "billed_cost")
    )
    return record(**nothing | {"outcome": outcome, "status": 503, "prompt_tokens": 0, "completion_tokens": 0,
        "error_code": "all_providers_failed", "attempts": (attempt(outcome=outcome),)} | more)  # fmt: skip
