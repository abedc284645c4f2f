"""What Prometheus is told about requests."""

import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lumni.telemetry.metrics import MOST_COURSES, Metrics, render, share_between_processes
from lumni.telemetry.processes import SHARED_FOLDER
from lumni.types import Outcome
from tests.telemetry.records import attempt, catalogue, failure, record

ROOT = Path(__file__).parents[2]
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def exposed(metrics: Metrics) -> Series:
    text = render(metrics.families()).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float:
    """The sum of all series of that name with these labels."""
    return sum(number for (one, given), number in series.items() if one == name and given >= set(labels.items()))


def test_clients_and_providers_are_counted_apart() -> None:
    """001-13: a request that the second provider answered is one success for its client, and one failure upstream."""
    metrics = Metrics(catalogue())
    metrics.write(record(deployment="d1", provider="p1", attempts=(attempt(0, Outcome.UNAVAILABLE), attempt(1))))
    series = exposed(metrics)
    assert value(series, "lumni_client_responses_total", outcome="ok") == 1
    assert value(series, "lumni_client_responses_total") == 1
    assert value(series, "lumni_upstream_attempts_total", deployment="d0", outcome="unavailable") == 1
    assert value(series, "lumni_upstream_attempts_total", deployment="d1", outcome="ok") == 1
    assert value(series, "lumni_decisions_total", task_type="fast", deployment="d0") == 1


def test_times_have_the_names_of_opentelemetry() -> None:
    """004-41: durations, first tokens and tokens of answers, in seconds and in its units."""
    metrics = Metrics(catalogue())
    metrics.write(record(ttft_ms=93.0, latency_ms=700.0))
    metrics.write(failure(Outcome.TIMEOUT, latency_ms=60_000.0))
    series, server = exposed(metrics), "gen_ai_server_request_duration_seconds"
    assert value(series, f"{server}_sum", error_type="", gen_ai_provider_name="p0") == 0.7
    assert value(series, f"{server}_bucket", error_type="timeout", gen_ai_provider_name="none", le="81.92") == 1
    assert value(series, f"{server}_bucket", error_type="timeout", le="40.96") == 0
    assert value(series, "gen_ai_server_time_to_first_token_seconds_sum", gen_ai_provider_name="p0") == 0.093
    assert value(series, "gen_ai_client_token_usage_sum", gen_ai_token_type="input") == 100
    assert value(series, "gen_ai_client_operation_duration_seconds_count", gen_ai_request_model="p0/m0") == 1
    assert value(series, "gen_ai_client_operation_duration_seconds_count", error_type="timeout") == 1


def test_overhead_is_what_is_neither_waiting_nor_a_provider() -> None:
    """001-13: of a stream up to its first content."""
    metrics = Metrics(catalogue())
    metrics.write(record(latency_ms=100.0, queued_ms=4.0))
    metrics.write(record(latency_ms=9000.0, ttft_ms=92.0))
    metrics.write(
        record(attempts=(attempt(0, Outcome.UNAVAILABLE), attempt(1)))
    )  # pauses between calls are no overhead
    series = exposed(metrics)
    assert value(series, "lumni_overhead_seconds_count") == 2
    assert round(value(series, "lumni_overhead_seconds_sum"), 6) == 0.008
    assert value(series, "lumni_queue_wait_seconds_sum") == 0.004


def test_costs_are_by_list_and_as_billed() -> None:
    """003-36: an answer of a free tier has a price that nobody pays; one without a price counts in neither."""
    metrics = Metrics(catalogue())
    metrics.write(record(list_cost=2_500_000, billed_cost=0))
    metrics.write(record(list_cost=None, billed_cost=None))
    series = exposed(metrics)
    assert value(series, "lumni_cost_usd_total", price="list") == 0.0025
    assert value(series, "lumni_cost_usd_total", price="billed") == 0


def test_courses_have_tokens_and_costs() -> None:
    """001-13: by their names, as many as there is room for."""
    metrics = Metrics(catalogue())
    metrics.write(record(course="cs1", prompt_tokens=100, completion_tokens=20, list_cost=2_500_000))
    metrics.write(record(course=None, prompt_tokens=7, completion_tokens=0))
    for number in range(2 * MOST_COURSES):
        metrics.write(record(course=f"made-{number}", prompt_tokens=1, completion_tokens=0))
    series = exposed(metrics)
    assert value(series, "lumni_course_tokens_total", course="cs1") == 120
    assert value(series, "lumni_course_tokens_total", course="none") == 7
    assert value(series, "lumni_course_tokens_total", course="other") == MOST_COURSES + 1
    assert value(series, "lumni_course_cost_usd_total", course="cs1", price="list") == 0.0025


def test_a_cached_answer_is_no_error_and_no_call() -> None:
    """003-36"""
    metrics = Metrics(catalogue())
    metrics.write(record(outcome=Outcome.CACHED, cached=True, attempts=()))
    series = exposed(metrics)
    assert value(series, "lumni_client_responses_total", outcome="cached") == 1
    assert value(series, "lumni_upstream_attempts_total") == 0
    assert value(series, "gen_ai_server_request_duration_seconds_count", error_type="") == 1


def test_models_are_counted_by_their_group() -> None:
    """001-13: whatever form a client writes; names that mean nothing are one."""
    metrics = Metrics(catalogue())
    for name in ("g0", "alias", "d0", "p0/m0", "m0", "g1", "auto", "../../etc", "gpt-9"):
        metrics.write(record(requested_model=name))
    series = exposed(metrics)
    counted = {
        group: value(series, "lumni_requested_models_total", model=group) for group in ("g0", "g1", "auto", "other")
    }
    assert counted == {"g0": 5, "g1": 1, "auto": 1, "other": 2}


def test_the_number_of_series_is_bounded() -> None:
    """001-13: 1,000 students, 200 deployments of 20 providers that fail in every way, 100 bad model names.

    The bound is the product of what the operator configured; nothing that clients write is in it.
    """
    providers, deployments = 20, 200
    metrics = Metrics(catalogue(deployments, providers))
    for number in range(deployments):
        for outcome in Outcome:
            call = attempt(number, outcome, providers)
            done = {"provider": call.provider, "deployment": call.deployment, "ttft_ms": 5.0, "queued_ms": 5.0}
            metrics.write(record(outcome=outcome, attempts=(call,), **done))
            metrics.write(failure(outcome, attempts=(call,), task_type="powerful"))
    full = len(exposed(metrics))
    for number in range(1000):
        metrics.write(record(student=f"student-{number}", key_id=f"key-{number}", request_id=f"request-{number}"))
        metrics.write(failure(requested_model=f"no-such-model-{number % 100}", label=f"label-{number}"))
    assert len(exposed(metrics)) == full + 1  # the model ``other``
    assert full < 65 * deployments + 800 * providers


def test_no_label_names_a_person_or_a_request() -> None:
    """001-13, and no text of a client is in any."""
    metrics = Metrics(catalogue())
    metrics.write(record(requested_model="secret-model", label="grace", client_request_id="mine"))
    text = render(metrics.families()).decode()
    for private in ("ada", "grace", "key-1", "req-1", "secret-model", "mine"):
        assert f'"{private}"' not in text


def test_processes_count_together(tmp_path: Path) -> None:
    """001-13: several workers' requests are one sum, whichever of them is asked, also of one that has died."""
    program = """
import os, signal, sys
from pathlib import Path
from lumni.telemetry.metrics import Metrics, render
from lumni.telemetry.processes import Processes, shared_folder
from tests.telemetry.records import catalogue, record
metrics = Metrics(catalogue())
processes = Processes(shared_folder(), metrics.families)
for _ in range(int(sys.argv[1])):
    metrics.write(record())
print(render(processes.together(metrics.families())).decode(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SHARED_FOLDER, "")  # so that it is put back
        share_between_processes(tmp_path / "metrics")
        texts = [
            subprocess.run(
                [sys.executable, "-c", program, str(number)], cwd=ROOT, capture_output=True, text=True, check=False
            ).stdout
            for number in (3, 4)
        ]
    assert 'lumni_client_responses_total{outcome="ok",surface="chat.completions"} 3.0' in texts[0]
    assert 'lumni_client_responses_total{outcome="ok",surface="chat.completions"} 7.0' in texts[1]
    assert "lumni_overhead_seconds_count 7.0" in texts[1]
    assert 'lumni_overhead_seconds_bucket{le="+Inf"} 7.0' in texts[1]
    assert texts[1].count("# TYPE lumni_client_responses_total") == 1


def test_a_value_on_a_bound_is_below_it() -> None:
    """001-13: buckets are those of Prometheus, whose ``le`` is less or equal."""
    metrics = Metrics(catalogue())
    for milliseconds in (10.0, 10.1, 1e9):
        metrics.write(failure(Outcome.TIMEOUT, latency_ms=milliseconds))
    series, server = exposed(metrics), "gen_ai_server_request_duration_seconds"
    counts = [value(series, f"{server}_bucket", le=bound) for bound in ("0.01", "0.02", "81.92", "+Inf")]
    assert counts == [1, 2, 2, 3]
    assert value(series, f"{server}_count") == 3
