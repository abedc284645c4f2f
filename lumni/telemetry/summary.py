"""A window of what happened, as JSON: throughput, percentiles, errors by type, by provider."""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lumni.money import to_usd
from lumni.telemetry.recent import Tally, Window
from lumni.telemetry.sketch import Sketch
from lumni.types import Json, Outcome

PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
WELL = frozenset({Outcome.OK, Outcome.CACHED})
NO_ERROR = WELL | {Outcome.RATE_LIMITED, Outcome.DISCONNECTED, Outcome.SKIPPED}


def summary(window: Window, provider: str | None) -> Json:
    """``window`` as a document; with ``provider`` only what that one answered, and the calls of it."""
    chosen = [tally for name, tally in window.tallies.items() if provider in (None, name)]
    whole = Tally.merged(chosen)
    total = whole.outcomes.total()
    seconds = max(window.until - window.since, 1.0)
    return {
        "since": window.since,
        "until": window.until,
        "provider": provider,
        "requests": {
            "total": total,
            "successful": sum(whole.outcomes[outcome] for outcome in WELL),
            "disconnected": whole.outcomes[Outcome.DISCONNECTED],
            "by_outcome": {str(outcome): number for outcome, number in whole.outcomes.items()},
        },
        "throughput": {
            "requests_per_second": round(total / seconds, 4),
            "requests_per_minute": round(60 * total / seconds, 2),
            "requests_per_hour": round(3600 * total / seconds, 1),
            "tokens_per_second": round((whole.prompt_tokens + whole.completion_tokens) / seconds, 2),
        },
        "latency_ms": _percentiles(whole.latency),
        "time_to_first_token_ms": _percentiles(whole.first_token),
        "errors": _errors(whole.outcomes),
        "rate_limit_hits": whole.outcomes[Outcome.RATE_LIMITED],
        "cache": _cache(whole),
        **_use(whole),
        "providers": {
            name: _provider(tally)
            for name, tally in sorted(window.tallies.items())
            if tally.calls and provider in (None, name)
        },
        "percentile_error": Sketch.ACCURACY,
    }


def _provider(tally: Tally) -> Json:
    called = tally.calls.total() - tally.calls[Outcome.SKIPPED]
    return {
        "answers": tally.outcomes.total(),
        "calls": called,
        "latency_ms": _percentiles(tally.call_latency),
        "errors": _errors(tally.calls),
        "rate_limit_hits": tally.calls[Outcome.RATE_LIMITED],
        **_use(tally),
    }


def _use(tally: Tally) -> Json:
    """Tokens, and costs in US dollars as decimal strings."""
    return {
        "tokens": {
            "prompt": tally.prompt_tokens,
            "completion": tally.completion_tokens,
            "total": tally.prompt_tokens + tally.completion_tokens,
        },
        "cost_usd": {"list": f"{to_usd(tally.list_cost):f}", "billed": f"{to_usd(tally.billed_cost):f}"},
    }


def _errors(outcomes: Mapping[str, int]) -> Json:
    """What went wrong by type. Limits that were reached and clients that left are no errors."""
    types = {str(outcome): number for outcome, number in outcomes.items() if outcome not in NO_ERROR}
    total = sum(outcomes.values())
    return {
        "total": sum(types.values()),
        "rate": round(sum(types.values()) / total, 4) if total else 0.0,
        "by_type": types,
    }


def _cache(tally: Tally) -> Json:
    hits, answered = tally.outcomes[Outcome.CACHED], sum(tally.outcomes[outcome] for outcome in WELL)
    return {"hits": hits, "misses": answered - hits, "hit_rate": round(hits / answered, 4) if answered else 0.0}


def _percentiles(sketch: Sketch) -> Json:
    """``None`` where nothing was measured."""
    shown: Json = {name: _rounded(sketch.quantile(share)) for name, share in PERCENTILES.items()}
    return shown | {"mean": _rounded(sketch.mean), "max": _rounded(sketch.largest if sketch.count else None)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def resources() -> Json:
    """This process's use of the machine; ``None`` for what the system doesn't tell. ``memory_bytes`` is resident."""
    memory = open_files = None
    with suppress(OSError):
        open_files = sum(1 for _ in Path("/proc/self/fd").iterdir())
        memory = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "pid": os.getpid(),
        "cpu_seconds": round(time.process_time(), 3),
        "memory_bytes": memory,
        "open_files": open_files,
    }
