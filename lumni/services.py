"""The only wiring: everything that outlives a request is made here, started here and stopped here."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from pydantic import SecretStr

from lumni.catalogue.allowlist import unknown
from lumni.catalogue.load import load_catalogue
from lumni.catalogue.model import Catalogue
from lumni.catalogue.scores import known_scores
from lumni.gateway.budgets import Budgets
from lumni.gateway.cache import ResponseCache
from lumni.gateway.feedback import Feedback
from lumni.gateway.gauges import Gauges
from lumni.gateway.health import HealthChecks
from lumni.gateway.pairs import Pairs
from lumni.gateway.pipeline import Pipeline
from lumni.gateway.planning import Planner, Switches
from lumni.gateway.preparation import Preparation
from lumni.gateway.quotas import QuotaFile, make_quota, open_store
from lumni.gateway.settlement import Sink
from lumni.gateway.snapshots import Snapshots
from lumni.gateway.steering import Steering
from lumni.intelligence import classify
from lumni.people.keyring import Keyring, open_keyring, utc_now
from lumni.people.privacy import Contents
from lumni.people.secret import Secret, open_secret
from lumni.people.service import People
from lumni.quota.service import Quota
from lumni.receipt import Signer
from lumni.settings import Settings
from lumni.storage.database import Database
from lumni.storage.heir import Heir
from lumni.storage.months import Months
from lumni.storage.spool import Spool
from lumni.storage.writer import RecordWriter
from lumni.telemetry.alerts.bell import Bell, Book
from lumni.telemetry.alerts.channels import make_channels
from lumni.telemetry.alerts.locks import Role
from lumni.telemetry.alerts.readings import Readings
from lumni.telemetry.alerts.rules import Thresholds
from lumni.telemetry.alerts.watch import Watch
from lumni.telemetry.log import LogSink
from lumni.telemetry.metrics import Metrics, collect
from lumni.telemetry.outbox import Outbox
from lumni.telemetry.portkey import make_feedback, make_portkey
from lumni.telemetry.processes import Processes, shared_folder
from lumni.telemetry.prompts import make_prompts
from lumni.telemetry.recent import Recent
from lumni.telemetry.traces import begin, make_traces
from lumni.types import AlertSink, Trace
from lumni.upstream.answers import AnswerStore
from lumni.upstream.client import Upstream
from lumni.upstream.probe import Prober

logger = logging.getLogger(__name__)

CLOSING_SECONDS = 30.0  # for one part to close: the longest that any takes on purpose is ten


@dataclass(frozen=True)
class Services:
    """What a process needs to serve. ``new_key`` is the unified key in plain text if this start made it."""

    settings: Settings
    catalogue: Catalogue
    keyring: Keyring
    people: People
    new_key: str | None
    quota: Quota
    upstream: Upstream
    database: Database
    writer: RecordWriter
    metrics: Metrics
    gauges: Gauges
    bell: Bell
    recent: Recent
    planner: Planner
    steering: Steering
    preparation: Preparation
    feedback: Feedback
    pipeline: Pipeline
    pairs: Pairs
    signer: Signer
    _closing: AsyncExitStack
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    async def start(cls, settings: Settings, worker: int | None = None) -> "Services":
        """Open everything, or raise an error that says what to do. What was opened is closed again then.

        ``worker`` is this process's number, if several have the settings in common.
        """
        catalogue = load_catalogue(settings, os.environ)
        async with AsyncExitStack() as opened:
            upstream = Upstream(catalogue, settings)
            opened.push_async_callback(in_time, upstream.close)
            await upstream.start()
            database = await Database.open(settings)
            opened.push_async_callback(in_time, database.close)
            bell = make_bell(settings)
            bell.start()
            opened.push_async_callback(in_time, bell.close)
            keyring, new_key = open_keyring(_plain(settings.unified_api_key), settings.data_dir, database.people)
            opened.push_async_callback(in_time, keyring.close)
            people = make_people(settings, catalogue, database, keyring)
            spool = settings.data_dir / "spool"
            writer = RecordWriter(database.records.add_rows, queue=Spool(spool))
            writer.start()
            opened.push_async_callback(in_time, writer.close)
            heir = Heir(spool, writer.add)
            heir.start()
            opened.push_async_callback(in_time, heir.close)
            months = Months(database.engine, utc_now)
            months.start()
            opened.push_async_callback(in_time, months.close)
            quota = make_quota(settings, catalogue, await opened.enter_async_context(open_store(settings)))
            quota_file = QuotaFile(quota, settings.data_dir, worker)
            quota_file.load()
            quota_file.start()
            opened.push_async_callback(in_time, quota_file.close)
            opened.push_async_callback(in_time, quota.close)
            health = HealthChecks(quota, Prober(), settings.health_check_interval)
            health.start()
            opened.push_async_callback(in_time, health.close)
            metrics, recent = Metrics(catalogue), Recent()
            sinks: list[Sink] = [writer, metrics, recent, LogSink(catalogue)]
            outboxes: list[Outbox] = []
            if judged := make_feedback(settings, catalogue, worker):
                judged.start()
                opened.push_async_callback(in_time, judged.close)
                outboxes.append(judged)
            feedback = Feedback(database.records, database.experiments, judged, utc_now)
            portkey, traces = make_portkey(settings, catalogue, worker), make_traces(settings, catalogue, worker)
            for exporter in (portkey, traces):
                if exporter is not None:
                    exporter.outbox.start()
                    opened.push_async_callback(in_time, exporter.outbox.close)
                    outboxes.append(exporter.outbox)
                    sinks.append(exporter)
            if settings.classify_tasks:
                classify({})  # reads the weights, so that the first student needn't wait for that
            planner = Planner(catalogue, quota, known_scores(), Switches.of(settings), keyring.rules)
            steering = Steering(settings, database.settings.list, planner, quota)
            await steering.start()
            opened.push_async_callback(in_time, steering.close)
            snapshots = Snapshots(quota, database.states.add)
            snapshots.start()
            opened.push_async_callback(in_time, snapshots.close)
            budgets = Budgets(database.ledger, keyring.rules, utc_now, [bell])
            opened.push_async_callback(in_time, budgets.ledger.close)
            contents = Contents(database.contents, database.people, _secret(settings), utc_now)
            if portkey and settings.portkey_content:
                contents.told = portkey.tell
            contents.start()
            opened.push_async_callback(in_time, contents.close)
            prompts = make_prompts(settings)
            opened.push_async_callback(in_time, prompts.close)
            preparation = Preparation(settings.experiments, prompts)
            signer = receipt_signer(settings)
            cache = await opened.enter_async_context(open_cache(settings, catalogue))
            pipeline = Pipeline(planner, quota, budgets, preparation, upstream, sinks, contents, writer, signer, cache)
            pairs = Pairs(pipeline, catalogue, database.learning, database.records, utc_now)
            gauges = Gauges(quota, database, writer, budgets, planner.faults, outboxes, cache)
            if folder := shared_folder():
                gauges.processes = Processes(folder, gauges.own)
                gauges.processes.start()
                opened.push_async_callback(in_time, gauges.processes.close)
            if settings.alerts_enabled:
                watch = make_watch(settings, metrics, gauges, bell)
                watch.start()
                opened.push_async_callback(in_time, watch.close)
            closing = opened.pop_all()
        return cls(
            settings, catalogue, keyring, people, new_key, quota, upstream, database, writer, metrics, gauges,
            bell, recent, planner, steering, preparation, feedback, pipeline, pairs, signer, closing,
        )  # fmt: skip

    def begin_trace(self, traceparent: str | None) -> Trace | None:
        """The trace of a request that arrives with this header, if traces are wanted."""
        if self.settings.otel_exporter_otlp_endpoint is None:
            return None
        return begin(traceparent, self.settings.trace_sampling)

    async def stop(self) -> None:
        """Write what is still to be written, then close everything, whatever goes wrong with one of them."""
        await self._closing.aclose()


@asynccontextmanager
async def open_cache(settings: Settings, catalogue: Catalogue) -> AsyncIterator[ResponseCache]:
    """The response cache; it keeps nothing unless the settings say so."""
    store = AnswerStore(settings, catalogue.cache_params) if settings.caches else None
    if store:
        await store.start()
    cache = ResponseCache(store, _secret(settings).digest("cache"), settings.cache_ttl_seconds, catalogue.resolve)
    yield cache
    await in_time(cache.close)
    if store:
        await in_time(store.close)


def make_bell(settings: Settings) -> Bell:
    """Tells of alerts by the channels that the settings name."""
    book = Book(settings.data_dir / "alerts.json", settings.alert_repeat, time.time)
    return Bell(make_channels(settings) if settings.alerts_enabled else {}, book)


def make_watch(settings: Settings, metrics: Metrics, gauges: Gauges, sink: AlertSink) -> Watch:
    """Raises alerts by what ``/metrics`` shows."""

    async def read() -> Readings:
        return Readings(collect(metrics.registry, await gauges.families()))

    thresholds = Thresholds(settings.alert_usage, settings.alert_error_rate, settings.alert_latency_ms)
    return Watch(read, sink, thresholds, Role(settings.data_dir / "alerts.lock"), time.time)


def make_people(settings: Settings, catalogue: Catalogue, database: Database, keyring: Keyring | None = None) -> People:
    """Courses, students and keys in ``database``. A ``keyring`` of this process hears of every change at once."""
    changed = keyring.expire if keyring else lambda: None
    return People(database, _secret(settings), unknown_models=lambda names: unknown(names, catalogue), changed=changed)


def receipt_signer(settings: Settings) -> Signer:
    """Signs receipts, in every process that has the same secret with the same key."""
    return Signer(_secret(settings).digest("receipt"))


def _secret(settings: Settings) -> Secret:
    return open_secret(_plain(settings.secret_key), settings.data_dir)


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


async def in_time(close: Callable[[], Awaitable[None]], seconds: float = CLOSING_SECONDS) -> None:
    """Close one part, but don't let it keep the process from ending: a driver may wait for a connection for ever."""
    try:
        async with asyncio.timeout(seconds):
            await close()
    except TimeoutError:
        logger.error("%s did not close within %.0f s", getattr(close, "__qualname__", close), seconds)
