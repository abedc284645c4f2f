"""The only wiring: everything that outlives a request is made here, started here and stopped here."""

import os
import time
from collections.abc import AsyncIterator
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
from lumni.gateway.case import Journal, Sink
from lumni.gateway.feedback import Feedback
from lumni.gateway.gauges import Gauges
from lumni.gateway.health import HealthChecks
from lumni.gateway.pairs import Pairs
from lumni.gateway.pipeline import Pipeline
from lumni.gateway.planning import Planner, Switches
from lumni.gateway.preparation import Preparation
from lumni.gateway.quotas import QuotaFile, make_quota, open_store
from lumni.gateway.snapshots import Snapshots
from lumni.gateway.steering import Steering
from lumni.intelligence import classify
from lumni.parts import Parts, in_time
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
from lumni.telemetry.log import Events, LogSink
from lumni.telemetry.metrics import Metrics
from lumni.telemetry.outbox import Outbox
from lumni.telemetry.portkey import PortkeySink, make_feedback, make_portkey
from lumni.telemetry.processes import Processes, shared_folder
from lumni.telemetry.prompts import make_prompts
from lumni.telemetry.recent import Recent
from lumni.telemetry.traces import TraceSink, begin, make_traces
from lumni.types import AlertSink, Trace
from lumni.upstream.answers import AnswerStore
from lumni.upstream.client import Upstream
from lumni.upstream.probe import Prober


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
    async def start(cls, settings: Settings, worker: int | None = None, events: Events | None = None) -> "Services":
        """Open everything, or raise an error that says what to do. What was opened is closed again then.

        ``worker`` is this process's number, if several have the settings in common; ``events`` log what requests do.
        """
        catalogue = load_catalogue(settings, os.environ)
        async with Parts() as parts:
            upstream = await parts.start(Upstream(catalogue, settings))
            database = parts.keep(await Database.open(settings))
            bell = await parts.start(make_bell(settings))
            keyring, new_key = open_keyring(_plain(settings.unified_api_key), settings.data_dir, database.people)
            parts.keep(keyring)
            people = make_people(settings, catalogue, database, keyring)
            writer = await _start_writer(parts, settings, database)
            quota = await _start_quota(parts, settings, catalogue, worker)
            metrics, recent = Metrics(catalogue), Recent()
            exports = await _start_exports(parts, settings, catalogue, worker)
            feedback = Feedback(database.records, database.experiments, exports.feedback, utc_now)
            if settings.classify_tasks:
                classify({})  # reads the weights, so that the first student needn't wait for that
            planner = Planner(catalogue, quota, known_scores(), Switches.of(settings), keyring.rules)
            steering = await parts.start(Steering(settings, database.settings.list, planner, quota))
            await parts.start(Snapshots(quota, database.states.add))
            budgets = Budgets(database.ledger, keyring.rules, utc_now, [bell])
            parts.keep(budgets.ledger)
            contents = Contents(database.contents, database.people, _secret(settings), utc_now)
            if exports.portkey and settings.portkey_content:
                contents.told = exports.portkey.tell
            await parts.start(contents)
            preparation = Preparation(settings.experiments, parts.keep(make_prompts(settings)))
            signer = receipt_signer(settings)
            cache = await parts.enter(open_cache(settings, catalogue))
            logs = [LogSink(catalogue, await parts.start(events))] if events else []
            sinks: list[Sink] = [writer, metrics, recent, *logs, *exports.sinks]
            journals: list[Journal] = [writer, *logs]
            pipeline = Pipeline(
                planner, quota, budgets, preparation, upstream, sinks, contents, journals, signer, cache
            )
            pairs = Pairs(pipeline, catalogue, database.learning, database.records, utc_now)
            gauges = Gauges(quota, database, writer, budgets, planner.faults, metrics, exports.outboxes, cache)
            if folder := shared_folder():
                gauges.processes = await parts.start(Processes(folder, gauges.own))
            if settings.alerts_enabled:
                await parts.start(make_watch(settings, gauges, bell))
            closing = parts.pop_all()
        return cls(
            settings, catalogue, keyring, people, new_key, quota, upstream, database, writer, gauges,
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


@dataclass(frozen=True)
class Exports:
    """What takes records out of the house, as far as that is wanted."""

    feedback: Outbox | None
    portkey: PortkeySink | None
    traces: TraceSink | None

    @property
    def sinks(self) -> list[Sink]:
        return [sink for sink in (self.portkey, self.traces) if sink]

    @property
    def outboxes(self) -> list[Outbox]:
        own = [self.feedback] if self.feedback else []
        return own + [sink.outbox for sink in (self.portkey, self.traces) if sink]


async def _start_writer(parts: Parts, settings: Settings, database: Database) -> RecordWriter:
    """What brings records to the database, through the spool; also those that a process left behind."""
    spool = settings.data_dir / "spool"
    writer = await parts.start(RecordWriter(database.records.add_rows, queue=Spool(spool)))
    await parts.start(Heir(spool, writer.add))
    await parts.start(Months(database.engine, utc_now))
    return writer


async def _start_quota(parts: Parts, settings: Settings, catalogue: Catalogue, worker: int | None) -> Quota:
    """Limits of providers and students, as they were when the process ended, and what brings back the broken."""
    quota = make_quota(settings, catalogue, await parts.enter(open_store(settings)))
    file = QuotaFile(quota, settings.data_dir, worker)
    file.load()
    await parts.start(file)
    parts.keep(quota)
    await parts.start(HealthChecks(quota, Prober(), settings.health_check_interval))
    return quota


async def _start_exports(parts: Parts, settings: Settings, catalogue: Catalogue, worker: int | None) -> Exports:
    exports = Exports(
        make_feedback(settings, catalogue, worker),
        make_portkey(settings, catalogue, worker),
        make_traces(settings, catalogue, worker),
    )
    for outbox in exports.outboxes:
        await parts.start(outbox)
    return exports


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


def make_watch(settings: Settings, gauges: Gauges, sink: AlertSink) -> Watch:
    """Raises alerts by what ``/metrics`` shows."""

    async def read() -> Readings:
        return Readings(await gauges.families())

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
