"""A class of sixty before eight free accounts, held by Lumni and by LiteLLM's proxy.

    uv run python -m bench.classroom                    about four minutes a gateway
    uv run python -m bench.classroom --quick            about one and a half
    uv run python -m bench.classroom --learn            Lumni has to find the limits out

Only the loopback is used; everything that was started ends with the run, also after Ctrl-C. docs/benchmarks.md says
what the figures mean.
"""

import argparse
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from bench import machine
from bench.classroom import trace
from bench.classroom.accounts import ACCOUNTS, WINDOWS, with_windows
from bench.classroom.entrants import ENTRANTS, Entrant
from bench.classroom.lesson import hold
from bench.classroom.report import Report
from bench.overhead import RESULTS, end_tidily
from bench.targets import NotStarted


def main(arguments: Sequence[str] | None = None) -> int:
    """0: measured. 1: it couldn't be measured."""
    options = _options(arguments)
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    command = shlex.join(["python", "-m", "bench.classroom", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        report = run(options, command, console)
    except (NotStarted, subprocess.CalledProcessError) as error:
        console.print(f"[bold red]Not measured:[/] {error}")
        return 1
    report.print(console)
    console.print(f"All of it: {report.save(options.results)}")
    return 0


def run(options: argparse.Namespace, command: str, console: Console) -> Report:
    """One class after the other, the same for each gateway."""
    shape = trace.SMOKE if options.smoke else trace.QUICK if options.quick else trace.DEFAULT
    if options.lanes is not None:
        shape = replace(shape, lanes=options.lanes)
    asks = trace.class_trace(shape, options.seed)
    date, earlier, lessons = datetime.now(UTC), machine.Clock.read([]), []
    accounts = with_windows(ACCOUNTS, options.windows)
    environ = dict(setting.split("=", 1) for setting in options.env)
    for entrant in _entrants(options):
        entrant.prepare()
        console.print(f"{entrant.name}: {len(asks)} requests, the last given up after {asks[-1].deadline:.0f} s")
        with tempfile.TemporaryDirectory(prefix="lumni-classroom-") as name:
            lessons.append(hold(entrant, asks, accounts, shape.phase, Path(name) / "class", environ))
    foreign = machine.Clock.read([]).foreign_share(earlier)
    return Report(command, date, options.seed, shape, machine.describe(), foreign, lessons)


def _entrants(options: argparse.Namespace) -> list[Entrant]:
    return [kind(known=not options.learn) for kind in ENTRANTS if kind.name in options.gateways]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    names = [entrant.name for entrant in ENTRANTS]
    parser = argparse.ArgumentParser(description="What a gateway makes of a class before a pool of free accounts.")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="18 seconds of class instead of 110")
    length.add_argument("--smoke", action="store_true", help="two seconds, six students: does it run at all?")
    parser.add_argument("--learn", action="store_true", help="no limits in the configuration: they must be learned")
    parser.add_argument("--windows", choices=WINDOWS, default="own", help="how the providers' windows move")
    parser.add_argument("--gateways", nargs="+", choices=names, help="which ones (all; --smoke: only lumni)")
    parser.add_argument("--seed", type=int, default=1, help="of the class")
    parser.add_argument("--lanes", type=int, help="how many loops the greedy student runs")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="a setting for the gateways")
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory for the JSON file")
    options = parser.parse_args(arguments)
    options.gateways = options.gateways or (["lumni"] if options.smoke else names)
    return options


if __name__ == "__main__":
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, end_tidily)
    sys.exit(main())
