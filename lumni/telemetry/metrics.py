"""Prometheus' view of requests: a sink of their records, with labels of which there are only ever so many.

Names are OpenTelemetry's for generative AI where it has them (semantic conventions 1.37, ``gen_ai.*``, with the bucket
bounds that it advises), and ``lumni_*`` for the rest. No label holds a student, a key, a request or anything else that
a client makes up.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from lumni.catalogue.model import Catalogue
from lumni.money import NANO_PER_USD
from lumni.telemetry.names import NONE, OTHER, Names
from lumni.telemetry.processes import SHARED_FOLDER, shared_folder
from lumni.types import Attempt, Outcome, RequestRecord

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Advised by OpenTelemetry for these instruments.
DURATIONS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
FIRST_TOKENS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
# Our own.
OVERHEADS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
WAITS = (0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)

CHAT = "chat"  # the one operation of ``gen_ai.operation.name`` so far
WAITED = 1.0  # milliseconds; less is no wait, only a look at the store
WELL = frozenset({Outcome.OK, Outcome.CACHED})
MOST_COURSES = 100  # that have a name here; later ones are ``other``

Metered = TypeVar("Metered", Counter, Histogram)


class _Children(dict[tuple[str, ...], Metered]):
    """The children of a metric by the values of its labels, which ``labels`` would look up at three times the cost."""

    def __init__(self, parent: Metered) -> None:
        super().__init__()
        self._parent: Metered = parent

    def __missing__(self, values: tuple[str, ...]) -> Metered:
        child: Metered = self._parent.labels(*values)
        self[values] = child
        return child


class Metrics:
    """A sink of records with a registry of its own."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._names = Names(catalogue)
        self._courses: set[str] = set()
        self.registry = CollectorRegistry()
        self._count_requests()
        self._measure_requests()
        ProcessCollector(registry=self.registry)

    def _count_requests(self) -> None:
        self._responses = self._counter(
            "lumni_client_responses", "Requests of clients by how they ended.", "surface", "outcome"
        )
        self._requested = self._counter(
            "lumni_requested_models", "Requests by the model group that was asked for.", "model"
        )
        self._attempts = self._counter(
            "lumni_upstream_attempts", "Calls of providers by how they ended.", "provider", "deployment", "outcome"
        )
        self._decisions = self._counter(
            "lumni_decisions",
            "Requests by what they were taken for and the deployment that was called first.",
            "task_type", "deployment",
        )  # fmt: skip
        self._tokens = self._counter(
            "lumni_tokens",
            "Tokens of answers; cached ones are part of prompt, reasoning ones of completion.",
            "provider", "deployment", "type",
        )  # fmt: skip
        self._cost = self._counter(
            "lumni_cost_usd", "Cost of answers in US dollars: by list price, and as billed.", "provider", "price"
        )
        self._course_tokens = self._counter("lumni_course_tokens", "Tokens of a course's answers.", "course")
        self._course_cost = self._counter("lumni_course_cost_usd", "Cost of a course's answers.", "course", "price")

    def _measure_requests(self) -> None:
        registry, operation, provider = self.registry, "gen_ai_operation_name", "gen_ai_provider_name"
        self._duration = self._histogram(
            "gen_ai_server_request_duration_seconds",
            "Requests, from arrival to the answer's end.",
            DURATIONS, operation, provider, "error_type",
        )  # fmt: skip
        self._first_token = self._histogram(
            "gen_ai_server_time_to_first_token_seconds",
            "Streams, from arrival to their first content.",
            FIRST_TOKENS, operation, provider,
        )  # fmt: skip
        self._usage = self._histogram(
            "gen_ai_client_token_usage", "Tokens of one answer.", TOKENS, operation, provider, "gen_ai_token_type"
        )
        self._call = self._histogram(
            "gen_ai_client_operation_duration_seconds",
            "Calls of providers, up to the whole answer or first content; the model only where all went well.",
            DURATIONS, operation, provider, "gen_ai_request_model", "error_type",
        )  # fmt: skip
        self._overhead = Histogram(
            "lumni_overhead_seconds",
            "What Lumni itself added to requests that one call answered: no waiting in line, no provider.",
            buckets=OVERHEADS, registry=registry,
        )  # fmt: skip
        self._queued = Histogram(
            "lumni_queue_wait_seconds", "Waiting in line for quota, of requests that waited.",
            buckets=WAITS, registry=registry,
        )  # fmt: skip

    def _counter(self, name: str, documentation: str, *labels: str) -> _Children[Counter]:
        return _Children(Counter(name, documentation, labels, registry=self.registry))

    def _histogram(
        self, name: str, documentation: str, buckets: tuple[float, ...], *labels: str
    ) -> _Children[Histogram]:
        return _Children(Histogram(name, documentation, labels, buckets=buckets, registry=self.registry))

    def write(self, record: RequestRecord) -> None:
        provider = record.provider or NONE
        error = "" if record.outcome in WELL else str(record.outcome)
        self._responses[record.surface, record.outcome].inc()
        self._requested[(self._names.group(record.requested_model),)].inc()
        self._duration[CHAT, provider, error].observe(record.latency_ms / 1000)
        if record.ttft_ms is not None:
            self._first_token[CHAT, provider].observe(record.ttft_ms / 1000)
        if record.queued_ms >= WAITED:
            self._queued.observe(record.queued_ms / 1000)
        for attempt in record.attempts:
            self._called(attempt)
        if record.attempts and record.task_type:
            self._decisions[record.task_type, record.attempts[0].deployment].inc()
        if record.deployment:
            self._answered(record, provider, record.deployment)

    def _called(self, attempt: Attempt) -> None:
        self._attempts[attempt.provider, attempt.deployment, attempt.outcome].inc()
        if attempt.outcome is Outcome.OK:
            labels = (CHAT, attempt.provider, attempt.model, "")
        else:  # without the model: as many series as outcomes for each would be too many
            labels = (CHAT, attempt.provider, "", str(attempt.outcome))
        self._call[labels].observe(attempt.duration_ms / 1000)

    def _answered(self, record: RequestRecord, provider: str, deployment: str) -> None:
        for kind, tokens in (
            ("prompt", record.prompt_tokens),
            ("completion", record.completion_tokens),
            ("cached", record.cached_tokens),
            ("reasoning", record.reasoning_tokens),
        ):
            if tokens:
                self._tokens[provider, deployment, kind].inc(tokens)
        self._usage[CHAT, provider, "input"].observe(record.prompt_tokens)
        self._usage[CHAT, provider, "output"].observe(record.completion_tokens)
        course = self._course(record.course)
        self._course_tokens[(course,)].inc(record.prompt_tokens + record.completion_tokens)
        for price, cost in (("list", record.list_cost), ("billed", record.billed_cost)):
            if cost is not None:
                self._cost[provider, price].inc(cost / NANO_PER_USD)
                self._course_cost[course, price].inc(cost / NANO_PER_USD)
        if record.outcome is Outcome.OK and len(record.attempts) == 1:
            whole = record.latency_ms if record.ttft_ms is None else record.ttft_ms
            self._overhead.observe((whole - record.queued_ms - record.attempts[0].duration_ms) / 1000)

    def _course(self, course: str | None) -> str:
        """A course's label; teachers make courses, and may make too many."""
        if course is None:
            return NONE
        if course not in self._courses:
            if len(self._courses) >= MOST_COURSES:
                return OTHER
            self._courses.add(course)
        return course


class _Given(Collector):
    """Families of one scrape, without the times at which series were created: nobody asks for them, and they would be
    a third of the series."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        for family in self._families:
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


def share_between_processes(folder: Path) -> None:
    """Let processes that are started from now on count together, in files in ``folder``; what is in it is forgotten.

    ``prometheus_client`` wants to know when it is first imported, by the environment.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ[SHARED_FOLDER] = str(folder.absolute())


def collect(registry: CollectorRegistry, families: Iterable[Metric]) -> list[Metric]:
    """All that is known now: the registry, and ``families`` that were read a moment ago.

    Where processes count together, all of them are in it.
    """
    counted = list(registry.collect())
    if folder := shared_folder():
        together = CollectorRegistry()
        MultiProcessCollector(together, str(folder))  # type: ignore[no-untyped-call]
        shared = list(together.collect())
        names = {family.name for family in shared}
        counted = [*shared, *(family for family in counted if family.name not in names)]
    return [*counted, *families]


def render(registry: CollectorRegistry, families: Iterable[Metric]) -> bytes:
    """All that is known now in Prometheus' text format."""
    once = CollectorRegistry(auto_describe=False)
    once.register(_Given(collect(registry, families)))
    return generate_latest(once)
