"""What is worth an alert, by the same metrics that Prometheus gets.

Rules find subjects; who watches decides from how long that lasts whether it is told. The alerts of
``deploy/prometheus/rules.yml`` are these and more, for those who have Prometheus.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from lumni.telemetry.alerts.readings import Span
from lumni.telemetry.summary import NO_ERROR
from lumni.types import Json, Outcome

DAY = 86400.0
FEWEST = 10  # requests or calls of which a share means something
BACKLOG = 1000  # records or entries
NO_FAULT = NO_ERROR  # of a provider too: its limits and our clients' patience aren't its faults


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which share of a quota that is used, share of requests that fail, and P95 in milliseconds."""

    usage: float = 0.8
    error_rate: float = 0.1
    latency_ms: float = 30_000.0


class Found(NamedTuple):
    """What is wrong now with ``subject``."""

    subject: str
    message: str
    facts: Json


@dataclass(frozen=True, slots=True)
class Rule:
    """``seconds``: for how long it must hold before it is told."""

    name: str
    find: Callable[[Span, Thresholds], Iterator[Found]]
    severity: Literal["warning", "critical"] = "warning"
    seconds: float = 0.0


def _quota_low(span: Span, limits: Thresholds) -> Iterator[Found]:
    for labels, limit in span.now.each("lumni_quota_limit"):
        if float(labels["period"]) < DAY or limit <= 0:
            continue
        used = 1 - span.now.total("lumni_quota_remaining", **labels) / limit
        if used >= limits.usage:
            pool, kind = labels["pool"], labels["kind"].replace("_", " ")
            days = float(labels["period"]) / DAY
            period = "a day" if days == 1 else f"{days:.0f} days"
            message = f"{used:.0%} of the quota of {pool} is used: {limit:,.0f} {kind} in {period}."
            yield Found(f"{pool} {labels['kind']} {labels['period']}", message, {"used": round(used, 4), **labels})


def _quota_overrun(span: Span, _: Thresholds) -> Iterator[Found]:
    for labels, over in span.now.each("lumni_quota_overrun_requests"):
        if over > 0:
            message = f"{labels['pool']} was asked {over:.0f} times more than its limit allows."
            yield Found(f"{labels['pool']} {labels['kind']} {labels['period']}", message, {"over": over, **labels})


def _errors(span: Span, limits: Thresholds) -> Iterator[Found]:
    ended = {outcome: grown for (outcome,), grown in span.grew("lumni_client_responses_total", "outcome").items()}
    total, failed = sum(ended.values()), sum(n for outcome, n in ended.items() if outcome not in NO_FAULT)
    if total >= FEWEST and failed / total >= limits.error_rate:
        message = f"{failed / total:.0%} of requests fail: {failed:.0f} of the last {total:.0f}."
        yield Found("requests", message, {"failed": failed, "requests": total})


def _slow(span: Span, limits: Thresholds) -> Iterator[Found]:
    ended = sum(span.grew("lumni_client_responses_total", "outcome").values())
    p95 = span.quantile(0.95, "gen_ai_server_request_duration_seconds")
    if p95 is not None and ended >= FEWEST and 1000 * p95 >= limits.latency_ms:
        yield Found("requests", f"One request in twenty takes {p95:.1f} s and longer.", {"p95_ms": round(1000 * p95)})


def _provider_fails(span: Span, _: Thresholds) -> Iterator[Found]:
    calls: dict[str, list[float]] = {}
    for (provider, outcome), grown in span.grew("lumni_upstream_attempts_total", "provider", "outcome").items():
        if outcome != Outcome.SKIPPED:
            tally = calls.setdefault(provider, [0.0, 0.0])
            tally[0] += grown
            tally[1] += grown if outcome not in NO_FAULT else 0.0
    for provider, (made, failed) in calls.items():
        if made >= FEWEST and failed / made > 0.5:
            message = f"{failed / made:.0%} of the calls of {provider} fail: {failed:.0f} of the last {made:.0f}."
            yield Found(provider, message, {"failed": failed, "calls": made})


def _key_refused(span: Span, _: Thresholds) -> Iterator[Found]:
    names = ("provider", "deployment", "outcome")
    for (provider, deployment, outcome), grown in span.grew("lumni_upstream_attempts_total", *names).items():
        if outcome == Outcome.AUTH and grown > 0:
            yield Found(deployment, f"{provider} refuses the key of {deployment}. Replace it.", {"provider": provider})


def _breaker_open(span: Span, _: Thresholds) -> Iterator[Found]:
    for labels, state in span.now.each("lumni_breaker_state"):
        if state > 1:
            message = f"{labels['deployment']} failed too often and is left alone for a while."
            yield Found(labels["deployment"], message, dict(labels))


def _nothing_left(span: Span, _: Thresholds) -> Iterator[Found]:
    if span.now.total("lumni_deployments") > 0 and span.now.total("lumni_deployments", state="available") == 0:
        yield Found("deployments", "No deployment can be called now: all are out of quota or out of order.", {})


def _store_down(span: Span, _: Thresholds) -> Iterator[Found]:
    for labels, up in span.now.each("lumni_store_up"):
        if not up:
            yield Found(labels["store"], f"The {labels['store']} doesn't answer.", {})


def _records_wait(span: Span, _: Thresholds) -> Iterator[Found]:
    if (waiting := span.now.total("lumni_records_pending")) > BACKLOG:
        yield Found("records", f"{waiting:,.0f} records wait for the database.", {"waiting": waiting})


def _records_lost(span: Span, _: Thresholds) -> Iterator[Found]:
    for (reason,), grown in span.grew("lumni_records_lost_total", "reason").items():
        if grown > 0:
            yield Found(reason, f"{grown:,.0f} records are lost ({reason}).", {"lost": grown})


def _exports_wait(span: Span, _: Thresholds) -> Iterator[Found]:
    for labels, waiting in span.now.each("lumni_export_pending"):
        if waiting > BACKLOG:
            yield Found(labels["to"], f"{waiting:,.0f} entries wait for {labels['to']}.", {"waiting": waiting})


def _exports_refused(span: Span, _: Thresholds) -> Iterator[Found]:
    for (to, outcome), grown in span.grew("lumni_exports_total", "to", "outcome").items():
        if outcome != "delivered" and grown > 0:
            yield Found(f"{to} {outcome}", f"{grown:,.0f} entries for {to} were {outcome}.", {"entries": grown})


def _plans_fail(span: Span, _: Thresholds) -> Iterator[Found]:
    for (step,), grown in span.grew("lumni_plan_faults_total", "step").items():
        if grown > 0:
            yield Found(step, f"{step.capitalize()} fails, and the model list's order serves.", {"requests": grown})


RULES = (
    Rule("quota_low", _quota_low),
    Rule("quota_overrun", _quota_overrun, "critical"),
    Rule("errors", _errors, "critical", 60),
    Rule("slow", _slow, seconds=60),
    Rule("provider_fails", _provider_fails, seconds=60),
    Rule("key_refused", _key_refused),
    Rule("breaker_open", _breaker_open, seconds=60),
    Rule("nothing_left", _nothing_left, "critical", 60),
    Rule("store_down", _store_down, "critical", 30),
    Rule("records_wait", _records_wait, seconds=60),
    Rule("records_lost", _records_lost, "critical"),
    Rule("exports_wait", _exports_wait, seconds=60),
    Rule("exports_refused", _exports_refused),
    Rule("plans_fail", _plans_fail),
)
