"""Several real processes before one real server to which something happens: what a provider would count."""

import contextlib
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lumni.quota.model import Window
from tests.quota import storm
from tests.quota.accidents import Accident
from tests.services.server import Unavailable
from tests.services.valkey import Valkey

ROOT = Path(__file__).parents[2]
SECONDS = 5.0
CLOCK = 0.002  # times are whole milliseconds in the store, so that a window may be new by so much sooner


@contextlib.contextmanager
def process(url: str, log: Path, seed: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-W", "error", "-m", "tests.quota.storm", url, str(log), str(SECONDS), str(seed)]
    worker = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield worker
        worker.communicate("\n", timeout=120)
    finally:
        worker.kill()
        worker.wait()


def most(entries: list[tuple[float, int]], window: Window) -> float:
    """The most that was taken in any period, or that a bucket lacked at any time."""
    worst = sum_ = 0.0
    first, last = 0, 0.0
    period = window.period - CLOCK
    for at, amount in entries:
        if window.style == "refilling" and window.limit:
            sum_ = max(0.0, sum_ - (at - last + CLOCK) * window.limit / window.period) + amount
            last = at
        else:
            sum_ += amount
            while entries[first][0] <= at - period:
                sum_ -= entries[first][1]
                first += 1
        worst = max(worst, sum_)
    return worst


def check(log: Path) -> dict[str, int]:
    """No window of any pool was exceeded; how many calls each deployment had."""
    taken = defaultdict[str, list[tuple[float, int]]](list)
    for at, name, tokens in sorted(json.loads(line) for line in log.read_text().splitlines()):
        taken[name].append((at, tokens))
    everything = {pool.id: pool for pools in storm.POOLS.values() for pool in pools}
    for pool in (*everything.values(), storm.TIER.student_pool("ada")):
        names = [name for name, pools in storm.POOLS.items() if pool in pools] or ["ada"]
        calls = sorted(call for name in names for call in taken[name])
        for window in pool.windows:
            amounts = [(at, 1 if window.kind == "requests" else tokens) for at, tokens in calls]
            assert most(amounts, window) <= (window.limit or 0), (pool.id, window)
    return {name: len(calls) for name, calls in taken.items()}


def weather(accident: Accident, wait: Callable[[float], None] = time.sleep) -> None:
    """Some use, the accident, and some use after it."""
    wait(1.5)
    accident.prepare()
    wait(0.5)
    accident.begin()
    wait(2.0)
    accident.end()


@pytest.mark.parametrize("kind", ["empty", "stale", "flushed", "script", "frozen", "cut"])
def test_no_window_is_exceeded_whatever_happens_to_redis(kind: str, tmp_path: Path) -> None:
    """001-12, 000-21: three processes at full tilt; killed, restarted with old data, emptied, frozen, cut off."""
    log = tmp_path / "calls"
    log.touch()
    with ExitStack() as stack:
        try:
            server = stack.enter_context(Valkey())
        except Unavailable as reason:
            pytest.skip(str(reason))
        workers = [stack.enter_context(process(server.url(), log, seed)) for seed in range(3)]
        for worker in workers:
            assert worker.stdout
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin
            worker.stdin.write("\n")
            worker.stdin.flush()
        weather(Accident(kind, server))
        for worker in workers:
            assert worker.stdout
            state = json.loads(worker.stdout.readline())
            assert (state["mode"], state["processes"]) == ("shared", 3)
            assert "degraded" in state["modes"] or kind in ("script", "cut")
    calls = check(log)
    assert all(calls[name] > 0 for name in (*storm.POOLS, "ada"))
