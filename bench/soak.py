"""Does a worker stay as it is? Memory over many requests, the CPU of a start, and how many slow streams it holds.

    uv run python -m bench.soak                                      about two minutes
    uv run python -m bench.soak --requests 200000 --streams 20000    about ten
    uv run python -m bench.soak --requests 0 --streams 0             only the start, and the slow streams

Memory is the resident set (RSS) of Lumni's process in MiB, read between batches; one stream of a hundred is hung up on
in the middle. The slow streams all run at once: each is 100 chunks over half a minute.
"""

import argparse
import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import tools
from bench.gateways import Lumni
from bench.loads import Kind, Load, Run, run
from bench.targets import Target, start_provider

BATCHES = 10
ABORTED = 100  # one of so many streams
SLOW_PACE_MS = 300.0
WARM_SECONDS = 2.0


def main(arguments: Sequence[str] | None = None) -> int:
    """0: measured, and every answer was right."""
    options = _options(arguments)
    errors = 0
    with tempfile.TemporaryDirectory(prefix="lumni-soak-") as name:
        directory = Path(name)
        programs = tools.build(directory / "programs")
        with _running(programs, 5.0, directory / "even") as lumni:
            print(f"start: {lumni.process.cpu_seconds():.1f} s of CPU, {rss(lumni):.0f} MiB")
            for load, number in (
                (Load("plain", Kind.PLAIN, 0), options.requests),
                (Load("burst", Kind.BURST, 0, connections=8, abort_every=ABORTED), options.streams),
            ):
                errors += soak(programs.loadgen, lumni, load, number, directory)
        with _running(programs, SLOW_PACE_MS, directory / "slow") as lumni:
            errors += hold(programs.loadgen, lumni, options.slow, directory)
    return 1 if errors else 0


def soak(loadgen: Path, lumni: Target, load: Load, number: int, directory: Path) -> int:
    """So many requests in batches, and the memory after each; the number of faulty answers."""
    if not number:
        return 0
    _run(loadgen, lumni, load, max(1, number // BATCHES), directory)  # what comes once: pools, caches
    sizes, errors, cpu = [rss(lumni)], 0, []
    for _ in range(BATCHES):
        done = _run(loadgen, lumni, load, number // BATCHES, directory)
        errors += done.errors
        sizes.append(rss(lumni))
        cpu.append(done.cpu_ms)
    told, mean = " ".join(f"{size:.0f}" for size in sizes), sum(cpu) / len(cpu)
    print(f"{load.name}: {number:,}, after a tenth as many: {told} MiB; {mean:.2f} ms of CPU; {errors} faulty")
    return errors


def hold(loadgen: Path, lumni: Target, number: int, directory: Path) -> int:
    """So many slow streams at once; the number of faulty answers."""
    if not number:
        return 0
    run(loadgen, lumni, Load("warm", Kind.BURST, WARM_SECONDS, connections=8), directory)
    before, began = rss(lumni), time.monotonic()
    load = Load("slow", Kind.PACED, 0, connections=number)
    done = _run(loadgen, lumni, load, number, directory)
    seconds = time.monotonic() - began
    share = done.cpu_ms * done.requests / 1000 / done.seconds
    print(
        f"{number:,} slow streams at once: {done.requests:,} whole in {seconds:.0f} s, {done.errors} faulty; "
        f"{before:.0f} MiB before, {peak(lumni):.0f} at most; {share:.0%} of a core, {done.cpu_ms:.1f} ms a stream"
    )
    return done.errors + number - done.requests


def _run(loadgen: Path, lumni: Target, load: Load, number: int, directory: Path) -> Run:
    return run(loadgen, lumni, load, directory, number=number)


def rss(target: Target) -> float:
    """Resident memory of the target's process now, in MiB."""
    return _status(target, "VmRSS")


def peak(target: Target) -> float:
    """The most that it ever was."""
    return _status(target, "VmHWM")


def _status(target: Target, name: str) -> float:
    lines = Path(f"/proc/{target.process.pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024


@contextlib.contextmanager
def _running(programs: tools.Tools, pace_ms: float, directory: Path) -> Iterator[Target]:
    directory.mkdir()
    provider = start_provider(programs.provider, pace_ms, directory / "provider")
    with provider.process:
        lumni = Lumni().start(provider, directory / "lumni")
        with lumni.process:
            yield lumni


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Whether a worker stays as it is.")
    parser.add_argument("--requests", type=int, default=20_000, help="plain requests (20000)")
    parser.add_argument("--streams", type=int, default=4_000, help="streams, one of a hundred aborted (4000)")
    parser.add_argument("--slow", type=int, default=1_000, help="slow streams at once (1000)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
