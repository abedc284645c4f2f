"""What stands at this moment, read when Prometheus asks: quota, breakers, the queue, stores."""

import asyncio
import platform
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from lumni import __version__
from lumni.gateway.budgets import Budgets
from lumni.gateway.cache import ResponseCache
from lumni.money import NANO_PER_USD
from lumni.quota.model import WindowState
from lumni.quota.service import Quota
from lumni.quota.standing import Standing
from lumni.quota.store import Shared
from lumni.storage.database import Database
from lumni.storage.errors import StorageError
from lumni.storage.writer import RecordWriter
from lumni.telemetry.metrics import Metrics
from lumni.telemetry.outbox import Outbox
from lumni.telemetry.processes import Processes
from lumni.types import Json

DATABASE_SECONDS = 2.0  # for an answer; Prometheus itself gives up after ten
BREAKER_STATES = {"closed": 0, "half_open": 1, "open": 2}
STANDINGS = ("available", "exhausted", "broken")
MOST_BUDGETS = 100
FAULTS = ("classification", "selection")
_PYTHON = platform.python_version()


class Gauges:
    """Reads every gauge, and what ``metrics`` counted.

    Of what each process has for itself, ``processes`` knows the others' part. ``faults`` are the planner's, by what
    went wrong.
    """

    def __init__(
        self,
        quota: Quota,
        database: Database,
        writer: RecordWriter,
        budgets: Budgets,
        faults: Mapping[str, int],
        metrics: Metrics,
        outboxes: Sequence[Outbox] = (),
        cache: ResponseCache | None = None,
    ) -> None:
        self._quota = quota
        self._database = database
        self._writer = writer
        self._budgets = budgets
        self._faults = faults
        self._metrics = metrics
        self._outboxes = outboxes
        self._cache = cache or ResponseCache(None, b"", 0.0)
        self.processes: Processes | None = None

    async def families(self) -> list[Metric]:
        """All of them, read now. A store that doesn't answer costs its own figures only."""
        quota = self._quota
        rows, standings, up = await asyncio.gather(quota.rows(), quota.standings(), _answers(self._database))
        stores, *own = self.processes.together(self.own()) if self.processes else self.own()
        stores.add_sample("lumni_store_up", {"store": "database"}, float(up))
        return [
            InfoMetricFamily("lumni_build", "The program.", {"version": __version__, "python": _PYTHON}),
            *_quota(rows),
            *_deployments(quota, list(standings.items())),
            stores,
            *own,
        ]

    def own(self) -> list[Metric]:
        """What this process has for itself; the first is about stores."""
        return [
            _stores_up(self._quota, self._writer),
            _breakers(self._quota),
            *_stores(self._quota, self._writer),
            *_course_budgets(self._budgets),
            _faults(self._faults),
            *_exports(self._outboxes),
            *_cache(self._cache),
            *self._metrics.families(),
        ]

    def cache_figures(self) -> Json:
        """What the response cache did since the start, of all processes together."""
        families = list(_cache(self._cache))
        together = self.processes.together(families) if self.processes else families
        found = {(s.name, *s.labels.values()): s.value for family in together for s in family.samples}
        return {
            "hits": int(found["lumni_cache_requests_total", "hit"]),
            "misses": int(found["lumni_cache_requests_total", "miss"]),
            "bypasses": int(found["lumni_cache_requests_total", "bypass"]),
            "shared": int(found["lumni_cache_shared_total",]),
            "faults": int(found["lumni_cache_faults_total",]),
            "saved": {
                "tokens": int(found["lumni_cache_saved_tokens_total",]),
                "cost_usd": f"{found['lumni_cache_saved_usd_total',]:.9f}",
            },
        }


def _quota(rows: Sequence[WindowState]) -> Iterator[Metric]:
    """One series a window of a pool; unknown limits have no series for limit and remaining."""
    labels = ["pool", "kind", "period"]
    limit = GaugeMetricFamily("lumni_quota_limit", "Limit of a window of provider quota.", labels=labels)
    used = GaugeMetricFamily("lumni_quota_used", "Settled use in a window.", labels=labels)
    reserved = GaugeMetricFamily("lumni_quota_reserved", "Held in a window by calls that run.", labels=labels)
    remaining = GaugeMetricFamily("lumni_quota_remaining", "What a window has left.", labels=labels)
    reset = GaugeMetricFamily(
        "lumni_quota_reset_seconds", "Until a window is as new, if nothing else happens.", labels=labels
    )
    blocked = GaugeMetricFamily(
        "lumni_quota_blocked_seconds", "For how long a provider's refusal keeps a window closed.", labels=labels
    )
    overrun = GaugeMetricFamily(
        "lumni_quota_overrun_requests", "Requests beyond a configured limit: has to be 0.", labels=labels
    )
    for row in rows:
        values = [row.pool, row.kind, f"{row.period:.10g}"]
        used.add_metric(values, row.used)
        reserved.add_metric(values, row.reserved)
        reset.add_metric(values, row.reset_in)
        blocked.add_metric(values, row.blocked_in)
        if row.limit is None:
            continue
        limit.add_metric(values, row.limit)
        remaining.add_metric(values, row.left or 0)
        if row.kind == "requests" and row.provenance == "configured":
            overrun.add_metric(values, max(0, row.used + row.reserved - row.limit))
    return iter((limit, used, reserved, remaining, reset, blocked, overrun))


def _deployments(quota: Quota, standings: Sequence[tuple[str, Standing]]) -> Iterator[Metric]:
    headroom = GaugeMetricFamily(
        "lumni_deployment_headroom", "Part of its scarcest window that is left, 0 to 1.",
        labels=["provider", "deployment"],
    )  # fmt: skip
    states = GaugeMetricFamily("lumni_deployments", "Deployments by how they stand.", labels=["provider", "state"])
    counts: Counter[tuple[str, str]] = Counter()
    for id_, standing in standings:
        provider = quota.catalogue.by_id[id_].provider
        headroom.add_metric([provider, id_], standing.headroom)
        counts[provider, standing.state] += 1
    for provider in sorted({provider for provider, _ in counts}):
        for state in STANDINGS:
            states.add_metric([provider, state], counts[provider, state])
    return iter((headroom, states))


def _breakers(quota: Quota) -> Metric:
    breaker = GaugeMetricFamily(
        "lumni_breaker_state", "0 closed, 1 half-open, 2 open.", labels=["provider", "deployment"]
    )
    for deployment in quota.catalogue.enabled:
        state = BREAKER_STATES[quota.breakers.state(deployment.id)]
        breaker.add_metric([deployment.provider, deployment.id], state)
    return breaker


def _stores_up(quota: Quota, writer: RecordWriter) -> Metric:
    family = GaugeMetricFamily("lumni_store_up", "Whether a store answers.", labels=["store"])
    family.add_metric(["spool"], not writer.fault)
    if isinstance(quota.store, Shared):
        family.add_metric(["redis"], quota.store.state["mode"] == "shared")
    return family


def _stores(quota: Quota, writer: RecordWriter) -> Iterator[Metric]:
    yield GaugeMetricFamily("lumni_queue_depth", "Requests that wait for quota.", quota.queue.waiting)
    yield GaugeMetricFamily("lumni_records_pending", "Records on their way to the database.", writer.pending)
    yield GaugeMetricFamily(
        "lumni_records_in_memory", "Of them, those that a crash would lose: the spool takes none.", writer.in_memory
    )
    lost = CounterMetricFamily("lumni_records_lost", "Records that will never be stored, by why.", labels=["reason"])
    lost.add_metric(["queue_full"], writer.dropped)
    lost.add_metric(["refused"], writer.refused)
    yield lost


def _course_budgets(budgets: Budgets) -> Iterator[Metric]:
    """Of whole courses only: those of students are nobody's business here."""
    labels = ["course", "budget", "unit"]
    used = GaugeMetricFamily("lumni_course_budget_used", "Spent and held of a course's budget.", labels=labels)
    limit = GaugeMetricFamily("lumni_course_budget_limit", "Limit of a course's budget.", labels=labels)
    for account, state in budgets.of_courses()[:MOST_BUDGETS]:
        budget = account.budget
        values, size = [budget.course, budget.id, budget.unit], NANO_PER_USD if budget.unit == "usd" else 1
        used.add_metric(values, (state.spent + state.reserved) / size)
        limit.add_metric(values, (account.limit + state.carried) / size)
    return iter((used, limit))


def _faults(faults: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(
        "lumni_plan_faults", "Requests that the model list's order served, since this failed.", labels=["step"]
    )
    for step in FAULTS:
        family.add_metric([step], faults.get(step, 0))
    return family


def _exports(outboxes: Sequence[Outbox]) -> Iterator[Metric]:
    pending = GaugeMetricFamily("lumni_export_pending", "Entries on their way to a service.", labels=["to"])
    entries = CounterMetricFamily(
        "lumni_exports", "Entries for a service by what became of them.", labels=["to", "outcome"]
    )
    failures = CounterMetricFamily("lumni_export_failures", "Calls of a service that failed.", labels=["to"])
    for outbox in outboxes:
        name, sent = outbox.name.lower(), outbox.sent
        pending.add_metric([name], outbox.pending)
        for outcome in ("delivered", "refused", "dropped"):
            entries.add_metric([name, outcome], getattr(sent, outcome))
        failures.add_metric([name], sent.failures)
    return iter((pending, entries, failures))


async def _answers(database: Database) -> bool:
    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            await database.ping()
    except (StorageError, TimeoutError):
        return False
    return True


def _cache(cache: ResponseCache) -> Iterator[Metric]:
    counts, store = cache.counts, cache.store
    looks = CounterMetricFamily("lumni_cache_requests", "Requests by what the response cache had.", labels=["result"])
    for result, number in (("hit", counts.hits), ("miss", counts.misses), ("bypass", counts.bypasses)):
        looks.add_metric([result], number)
    yield looks
    yield CounterMetricFamily("lumni_cache_shared", "Hits that waited for the same request.", counts.shared)
    yield CounterMetricFamily("lumni_cache_saved_tokens", "Tokens of answers that were kept.", counts.saved_tokens)
    saved = counts.saved_cost / NANO_PER_USD
    yield CounterMetricFamily("lumni_cache_saved_usd", "What they would have cost by list price.", saved)
    entries = store.in_memory if store else 0
    yield GaugeMetricFamily("lumni_cache_entries", "Answers that are kept in the memory of processes.", entries)
    faults = store.faults if store else 0
    yield CounterMetricFamily("lumni_cache_faults", "Times that the cache's store failed or hung.", faults)
