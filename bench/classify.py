"""How long the classifier takes: ``uv run python -m bench.classify``. One process, one core, no network.

Texts are cut from the classroom prompts, and none is read twice. The time of a call is read from the wall
clock and from the process's own CPU clock: on a machine that is shared, the first tells of its neighbours too.
"""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, NamedTuple

CLASSROOM = Path(__file__).parents[1] / "training" / "classroom"
CALLS, STARTS = 2_000, 7
Body = dict[str, Any]


class Times(NamedTuple):
    """Milliseconds of each call."""

    wall: list[float]
    cpu: list[float]


def main() -> None:
    import numpy  # noqa: F401  # its import isn't what the calls are measured by

    from lumni.intelligence import classify

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    print(f"import of lumni.intelligence: {import_time():.0f} ms; weights: {weights():,} bytes")
    print(f"{'':42}{'wall p50':>10}{'p99':>8}{'CPU p50':>10}{'p99':>8}   ms")
    text = prose()
    for name, body in shapes(text).items():
        times = measure(classify, body)
        shown = "".join(
            f"{quantile(found, share):>{width}.2f}"
            for found, share, width in (
                (times.wall, 0.5, 10),
                (times.wall, 0.99, 8),
                (times.cpu, 0.5, 10),
                (times.cpu, 0.99, 8),
            )
        )
        print(f"{name:42}{shown}")


def prose() -> str:
    """All that students ask in the classroom set, one after the other."""
    rows = (json.loads(line) for path in sorted(CLASSROOM.glob("*.jsonl")) for line in path.open(encoding="utf-8"))
    return "\n".join(row.get("prompt") or row["messages"][-1]["content"] for row in rows)


def shapes(text: str) -> dict[str, Iterator[Body]]:
    """Bodies of each size, each one new: the classifier remembers what it has read. The last two are conversations with
    answers of equal length."""
    endless = text * 3
    starts = range(0, len(text), max(1, len(text) // (2 * CALLS)))

    def one(size: int) -> Iterator[Body]:
        return (said([endless[start : start + size]]) for start in starts)

    def talk(turns: int, size: int) -> Iterator[Body]:
        return (said([endless[start + size * turn :][:size] for turn in range(turns)]) for start in starts)

    return {
        "a question of 200 characters": one(200),
        "a question of 2,000": one(2_000),
        "a question of 100,000": one(100_000),
        "12 questions of 200, 12 answers": talk(23, 200),
        "25 questions of 2,000, 25 answers": talk(49, 2_000),
    }


def said(turns: Sequence[str]) -> Body:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[number % 2], "content": turn} for number, turn in enumerate(turns)]}


def measure(call: Callable[[Body], object], bodies: Iterator[Body]) -> Times:
    for _ in range(100):
        call(next(bodies))
    times = Times([], [])
    gc.collect()
    gc.freeze()
    for _ in range(CALLS):
        body = next(bodies)
        wall, cpu = perf_counter(), process_time()
        call(body)
        times.cpu.append(1000 * (process_time() - cpu))
        times.wall.append(1000 * (perf_counter() - wall))
    return times


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def import_time() -> float:
    """Milliseconds of ``import lumni.intelligence`` in a fresh process, the median of some."""
    code = "from time import perf_counter as t; a = t(); import lumni.intelligence; print(t() - a)"
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(STARTS)
    ]
    return 1000 * sorted(float(done.stdout) for done in runs)[STARTS // 2]


def weights() -> int:
    return len((files("lumni.intelligence") / "data" / "weights.npz").read_bytes())


if __name__ == "__main__":
    main()
