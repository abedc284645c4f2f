"""Do two workers serve twice what one does?

    uv run python -m bench.scaling                 about three minutes; root on Linux
    uv run python -m bench.scaling --share 0.25    of a core for each worker

Each worker gets the same bounded share of a core, so small that the provider, the load generator, Valkey and PostgreSQL
always have what they need, which on a machine with few cores they would take from the workers. One worker and
two take turns; both have their limits in Valkey and their records in PostgreSQL. docs/benchmarks.md says more.
"""

import argparse
import contextlib
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import machine, tools
from bench.gateways import LumniShared, LumniTwice, NotHere
from bench.loads import PACE_MS, Kind, Load, Run, run
from bench.shares import NoShares, shares
from bench.targets import Target, start_provider

# Connections are those of each worker, so that two find each what one does.
LOADS = (
    Load("plain", Kind.PLAIN, 4.0, connections=16),
    Load("burst", Kind.BURST, 4.0, connections=8),
    Load("paced", Kind.PACED, 4.0, connections=64),
)
WARM_SECONDS = 2.0
Rounds = dict[tuple[str, str], list[Run]]  # (target, load) -> one Run a round


def main(arguments: Sequence[str] | None = None) -> int:
    """0: measured, and every answer was right."""
    options = _options(arguments)
    try:
        runs = measure(options.share, options.rounds)
    except (NoShares, NotHere, tools.NoCompiler) as error:
        print(f"Not measured: {error}")
        return 1
    one, two = LumniShared.name, LumniTwice.name
    for load in LOADS:
        single, double = (statistics.median(map(_rate, runs[name, load.name])) for name in (one, two))
        cpu = [statistics.median(each.cpu_ms for each in runs[name, load.name]) for name in (one, two)]
        print(
            f"{load.name}: one worker {single:.0f} a second with {cpu[0]:.2f} ms of CPU each, two {double:.0f} with "
            f"{cpu[1]:.2f}: {double / single:.2f} times as many"
        )
    errors = sum(each.errors for rounds in runs.values() for each in rounds)
    print(f"{sum(each.requests for rounds in runs.values() for each in rounds):,} answers, {errors} faulty")
    return 1 if errors else 0


def measure(share: float, rounds: int) -> Rounds:
    """One worker and two by turns. Raises :class:`NoShares`, :class:`NotHere` or :class:`bench.tools.NoCompiler`."""
    runs: Rounds = {}
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lumni-scaling-")))
        programs = tools.build(directory / "programs")
        provider = start_provider(programs.provider, PACE_MS, directory / "provider")
        stack.callback(provider.process.stop)
        targets: list[Target] = []
        for gateway in (LumniShared(), LumniTwice()):
            gateway.prepare(stack)
            target = gateway.start(provider, directory / gateway.name)
            stack.callback(target.process.stop)
            run(programs.loadgen, target, Load("warm", Kind.BURST, WARM_SECONDS), directory)
            targets.append(target)
        pids = {target.name: workers(target) for target in targets}
        for serving in pids.values():
            stack.enter_context(shares(serving, share))
        earlier = machine.Clock.read(targets)
        for _ in range(rounds):
            for load in LOADS:
                for target in targets:
                    each = replace(load, connections=load.connections * len(pids[target.name]))
                    done = run(programs.loadgen, target, each, directory)
                    runs.setdefault((target.name, load.name), []).append(done)
        idle = machine.Clock.read(targets).idle_share(earlier)
    print(f"{share:.0%} of a core for each worker; {idle:.0%} of the machine was idle meanwhile")
    return runs


def workers(target: Target) -> list[int]:
    """The process ids of those who serve: the children of one that only supervises, or itself."""
    return sorted(target.process.children(b"spawn_main")) or [target.process.pid]


def _rate(run: Run) -> float:
    return run.requests / run.seconds


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Whether two workers serve twice what one does.")
    parser.add_argument("--share", type=float, default=0.35, help="of a core, for each worker (0.35)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each load is put on each (5)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
