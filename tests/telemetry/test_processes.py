"""What several processes have each for itself is one figure, whichever of them is asked."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from lumni.telemetry.processes import Processes


def figures(depth: float, breaker: float, lost: float, *, redis: bool = True) -> list[Metric]:
    up = GaugeMetricFamily("lumni_store_up", "-", labels=["store"])
    up.add_metric(["redis"], redis)
    state = GaugeMetricFamily("lumni_breaker_state", "-", labels=["deployment"])
    state.add_metric(["d0"], breaker)
    queue = GaugeMetricFamily("lumni_queue_depth", "-", depth)
    counter = CounterMetricFamily("lumni_records_lost", "-", labels=["reason"])
    counter.add_metric(["refused"], lost)
    return [up, state, queue, counter]


def values(families: Sequence[Metric]) -> dict[str, float]:
    return {sample.name: sample.value for family in families for sample in family.samples}


@pytest.fixture
def gone() -> int:
    """The number of a process that is over."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_processes_are_put_together(tmp_path: Path) -> None:
    """001-13: queues add up, counters too, and of states the worst counts."""
    mine = Processes(tmp_path, lambda: figures(2, 0, 1), os.getpid())
    Processes(tmp_path, lambda: figures(3, 2, 4, redis=False), os.getppid()).publish()
    mine.publish()  # its own file isn't read: what it has now counts
    together = values(mine.together(figures(5, 1, 1)))
    assert together == {
        "lumni_store_up": 0, "lumni_breaker_state": 2, "lumni_queue_depth": 8, "lumni_records_lost_total": 5,
    }  # fmt: skip


def test_a_dead_process_still_counts(tmp_path: Path, gone: int) -> None:
    """001-13: a sum that fell would look like a restart; but a queue of the dead holds nobody."""
    Processes(tmp_path, lambda: figures(3, 2, 4), gone).publish()
    together = values(Processes(tmp_path, list).together(figures(5, 0, 1)))
    assert together["lumni_records_lost_total"] == 5
    assert (together["lumni_queue_depth"], together["lumni_breaker_state"]) == (5, 0)


async def test_figures_are_there_from_start_to_end(tmp_path: Path) -> None:
    """001-13: a process that ends leaves its last ones."""
    now = [1.0]
    processes = Processes(tmp_path, lambda: figures(0, 0, now[0]))
    processes.start()
    other = Processes(tmp_path, list, os.getppid())
    assert values(other.together(figures(0, 0, 0)))["lumni_records_lost_total"] == 1
    now[0] = 6.0
    await processes.close()
    assert values(other.together(figures(0, 0, 0)))["lumni_records_lost_total"] == 6


def test_a_torn_file_costs_nothing(tmp_path: Path) -> None:
    """001-13"""
    (tmp_path / f"{os.getppid()}.json").write_bytes(b"[[")
    assert values(Processes(tmp_path, list).together(figures(5, 0, 1)))["lumni_queue_depth"] == 5
