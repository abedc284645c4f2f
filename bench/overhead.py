"""What a gateway adds to a provider: CPU, latency, and how much one worker carries.

    uv run python -m bench.overhead             less than six minutes
    uv run python -m bench.overhead --quick     about two
    uv run python -m bench.overhead --gateways lumni lumni-shared

The provider called directly, Lumni over each of its lanes and the other gateways take turns in one run. Only the
loopback is used; everything that was started ends with the run, also after Ctrl-C. docs/benchmarks.md says what the
figures mean.
"""

import argparse
import contextlib
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from rich.console import Console

from bench import machine, rounds, tools
from bench.figures import figures
from bench.gateways import Gateway, Lumni, LumniCached, LumniShared, LumniTranslated, LumniTwice, NotHere
from bench.loads import PACE_MS
from bench.report import Report
from bench.rivals import Ferrogw, LiteLLMProxy, Portkey, Rolter
from bench.targets import NotStarted, Target, start_provider

GATEWAYS: tuple[type[Gateway], ...] = (
    Lumni, LumniCached, LumniShared, LumniTranslated, LumniTwice, LiteLLMProxy, Portkey, Ferrogw, Rolter,
)  # fmt: skip
USUAL = ("lumni", "lumni-translated", "litellm-proxy", "portkey", "ferrogw", "rolter")
RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """0: measured, and every answer was right. 1: it couldn't be measured, or some answers were faulty."""
    options = _options(arguments)
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    plan = rounds.SMOKE if options.smoke else rounds.QUICK if options.quick else rounds.DEFAULT
    chosen = [gateway() for gateway in GATEWAYS if gateway.name in options.gateways]
    command = shlex.join(["python", "-m", "bench.overhead", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        report = run(chosen, plan, command, console)
    except (tools.NoCompiler, NotStarted, subprocess.CalledProcessError) as error:
        console.print(f"[bold red]Not measured:[/] {error}")
        return 1
    report.print(console)
    console.print(f"All of it: {report.save(options.results)}")
    return 1 if any(found.errors for found in report.figures.values()) else 0


def run(gateways: Sequence[Gateway], plan: rounds.Plan, command: str, console: Console) -> Report:
    """Start everything, measure, end everything."""
    date = datetime.now(UTC)
    with contextlib.ExitStack() as exits:
        directory = Path(exits.enter_context(tempfile.TemporaryDirectory(prefix="lumni-bench-")))
        programs = tools.build(directory / "programs")
        able = [gateway for gateway in gateways if _prepared(gateway, exits, console)]
        started = time.monotonic()
        with _running(able, programs, directory, console) as targets:
            earlier = machine.Clock.read(targets)
            runs = rounds.measure(programs.loadgen, targets, plan, started, directory, console.print)
            foreign = machine.Clock.read(targets).foreign_share(earlier)
    versions = {target.name: target.version for target in targets}
    return Report(command, date, machine.describe(), versions, foreign, figures(runs), runs)


def _prepared(gateway: Gateway, stack: contextlib.ExitStack, console: Console) -> bool:
    """Whether it can be measured here; if not, why is told."""
    try:
        gateway.prepare(stack)
    except NotHere as error:
        console.print(f"[yellow]without {gateway.name}: {error}[/]")
        return False
    return True


@contextlib.contextmanager
def _running(
    gateways: Sequence[Gateway], programs: tools.Tools, directory: Path, console: Console
) -> Iterator[list[Target]]:
    """The provider and the gateways, running."""
    with contextlib.ExitStack() as stack:
        targets = [start_provider(programs.provider, PACE_MS, directory / "provider")]
        stack.callback(targets[0].process.stop)
        for gateway in gateways:
            console.print(f"starting {gateway.name}")
            target = gateway.start(targets[0], directory / gateway.name)
            stack.callback(target.process.stop)
            targets.append(target)
        yield targets


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [gateway.name for gateway in GATEWAYS]
    parser = argparse.ArgumentParser(description="What a gateway adds to a provider called directly.")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="two short rounds")
    length.add_argument("--smoke", action="store_true", help="one round of moments: does it run at all?")
    parser.add_argument(
        "--gateways", nargs="+", choices=names, help="which ones (one worker, memory and SQLite; --smoke: only lumni)"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory for the JSON file")
    options = parser.parse_args(arguments)
    options.gateways = options.gateways or (["lumni"] if options.smoke else list(USUAL))
    return options


def end_tidily(number: int, _: FrameType | None) -> None:
    """Passes through every `finally`; a second Ctrl-C must not stop what stops the processes."""
    for further in (signal.SIGINT, signal.SIGTERM):
        signal.signal(further, signal.SIG_IGN)
    sys.exit(128 + number)


if __name__ == "__main__":
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, end_tidily)
    sys.exit(main())
