"""Prometheus' view of requests: a sink of their records, with labels of which there are only ever so many.

Names are OpenTelemetry's for generative AI where it has them (semantic conventions 1.37, ``gen_ai.*``, with the bucket
bounds that it advises), and ``lumni_*`` for the rest. No label holds a student, a key, a request or anything else that
a client makes up.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from lumni.catalogue.model import Catalogue
from lumni.money import NANO_PER_USD
from lumni.telemetry.names import NONE, OTHER, Names
from lumni.telemetry.processes import SHARED_FOLDER
from lumni.telemetry.tallies import Counter, Histogram
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


class Metrics:
    """A sink of records. What it counts is this process's."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._names = Names(catalogue)
        self._courses: set[str] = set()
        self._all: list[Counter | Histogram] = []
        self._count_requests()
        self._measure_requests()

    def families(self) -> list[Metric]:
        """Everything that was counted and measured so far."""
        return [one.family() for one in self._all]

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
        operation, provider = "gen_ai_operation_name", "gen_ai_provider_name"
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
        self._overhead = self._histogram(
            "lumni_overhead_seconds",
            "What Lumni itself added to requests that one call answered: no waiting in line, no provider.",
            OVERHEADS,
        )
        self._queued = self._histogram(
            "lumni_queue_wait_seconds", "Waiting in line for quota, of requests that waited.", WAITS
        )

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        self._all.append(counter := Counter(name, documentation, *labels))
        return counter

    def _histogram(self, name: str, documentation: str, bounds: tuple[float, ...], *labels: str) -> Histogram:
        self._all.append(histogram := Histogram(name, documentation, bounds, *labels))
        return histogram

    def write(self, record: RequestRecord) -> None:
        provider = record.provider or NONE
        error = "" if record.outcome in WELL else str(record.outcome)
        self._responses[record.surface, record.outcome] += 1
        self._requested[(self._names.group(record.requested_model),)] += 1
        self._duration.observe((CHAT, provider, error), record.latency_ms / 1000)
        if record.ttft_ms is not None:
            self._first_token.observe((CHAT, provider), record.ttft_ms / 1000)
        if record.queued_ms >= WAITED:
            self._queued.observe((), record.queued_ms / 1000)
        for attempt in record.attempts:
            self._called(attempt)
        if record.attempts and record.task_type:
            self._decisions[record.task_type, record.attempts[0].deployment] += 1
        if record.deployment:
            self._answered(record, provider, record.deployment)

    def _called(self, attempt: Attempt) -> None:
        self._attempts[attempt.provider, attempt.deployment, attempt.outcome] += 1
        if attempt.outcome is Outcome.OK:
            labels = (CHAT, attempt.provider, attempt.model, "")
        else:  # without the model: as many series as outcomes for each would be too many
            labels = (CHAT, attempt.provider, "", str(attempt.outcome))
        self._call.observe(labels, attempt.duration_ms / 1000)

    def _answered(self, record: RequestRecord, provider: str, deployment: str) -> None:
        for kind, tokens in (
            ("prompt", record.prompt_tokens),
            ("completion", record.completion_tokens),
            ("cached", record.cached_tokens),
            ("reasoning", record.reasoning_tokens),
        ):
            if tokens:
                self._tokens[provider, deployment, kind] += tokens
        self._usage.observe((CHAT, provider, "input"), record.prompt_tokens)
        self._usage.observe((CHAT, provider, "output"), record.completion_tokens)
        course = self._course(record.course)
        self._course_tokens[(course,)] += record.prompt_tokens + record.completion_tokens
        for price, cost in (("list", record.list_cost), ("billed", record.billed_cost)):
            if cost is not None:
                self._cost[provider, price] += cost / NANO_PER_USD
                self._course_cost[course, price] += cost / NANO_PER_USD
        if record.outcome is Outcome.OK and len(record.attempts) == 1:
            whole = record.latency_ms if record.ttft_ms is None else record.ttft_ms
            self._overhead.observe((), (whole - record.queued_ms - record.attempts[0].duration_ms) / 1000)

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
    """Families of one scrape."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def share_between_processes(folder: Path) -> None:
    """Let processes that are started from now on count together, by files in ``folder``; what is in it is forgotten."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ[SHARED_FOLDER] = str(folder.absolute())


def with_process(families: Iterable[Metric]) -> list[Metric]:
    """``families``, and what this process takes of CPU, memory and open files."""
    return [*ProcessCollector(registry=None).collect(), *families]


def render(families: Iterable[Metric]) -> bytes:
    """Prometheus' text format."""
    once = CollectorRegistry(auto_describe=False)
    once.register(_Given(families))
    return generate_latest(once)
