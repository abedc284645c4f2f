"""What was measured, as tables for people and as JSON for later."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.figures import Figures, ratio
from bench.rounds import Runs
from bench.targets import DIRECT

# What is shown, in order: the field of Figures, its name, and whether a ratio of it says anything.
ROWS = (
    ("request_cpu", "CPU per request, ms", True),
    ("burst_stream_cpu", "CPU per 100-chunk stream, at once, ms", True),
    ("paced_stream_cpu", "CPU per 100-chunk stream, 5 ms apart, 64 at once, ms", True),
    ("lone_stream_cpu", "CPU per such a stream, 3 a second, ms", True),
    ("requests_per_second", "requests a second, one worker", True),
    ("streams_per_second", "streams a second, one worker", True),
    ("added_latency_p50", "added latency p50, one client, ms", True),
    ("added_latency_p99", "added latency p99, one client, ms", True),
    ("added_spaced_p50", "added latency p50, 25 a second, ms", True),
    ("added_spaced_p99", "added latency p99, 25 a second, ms", True),
    ("added_half_load_p50", "added latency at half load p50, ms", True),
    ("added_half_load_p99", "added latency at half load p99, ms", True),
    ("added_first_content_p50", "added time to first content p50, ms", True),
    ("added_first_content_p99", "added time to first content p99, ms", True),
    ("added_gap_p50", "added time between chunks p50, ms", True),
    ("added_gap_p99", "added time between chunks p99, ms", True),
    ("answers", "answers", False),
    ("errors", "errors", False),
)


@dataclass(frozen=True)
class Report:
    """A finished run. ``foreign_share`` is what others used of the machine meanwhile, in [0, 1]."""

    command: str
    date: datetime
    machine: Mapping[str, str | int]
    versions: Mapping[str, str]
    foreign_share: float
    figures: Mapping[str, Figures]
    runs: Runs

    def pairs(self) -> list[tuple[str, str]]:
        """Whose ratios are told: ours to the provider, other gateways to ours; without ours, all to the provider."""
        others = [name for name in self.figures if name not in (DIRECT, "lumni")]
        if "lumni" not in self.figures:
            return [(name, DIRECT) for name in others]
        return [("lumni", DIRECT), *((name, "lumni") for name in others)]

    def ratios(self) -> dict[str, dict[str, float | None]]:
        """For each pair and figure the quotient; ``None`` where there is nothing to divide by."""
        told: dict[str, dict[str, float | None]] = {}
        for of, to in self.pairs():
            quotients = {
                row: ratio(getattr(self.figures[of], row), getattr(self.figures[to], row))
                for row, _, comparable in ROWS
                if comparable
            }
            told[f"{of}/{to}"] = {row: value if value == value else None for row, value in quotients.items()}
        return told

    def print(self, console: Console) -> None:
        """The table of figures and ratios."""
        table = Table(title=f"{self.command}  ({self.date:%Y-%m-%d})")
        ratios = self.ratios()
        table.add_column("median of the rounds")
        for name in [*self.figures, *ratios]:
            table.add_column(name, justify="right")
        for row, title, _ in ROWS:
            values = [_shown(getattr(figures, row)) for figures in self.figures.values()]
            quotients = [_shown(by_row.get(row), " ×") for by_row in ratios.values()]
            table.add_row(title, *values, *quotients)
        console.print(table)
        console.print("Versions: " + ", ".join(f"{name} {version}" for name, version in self.versions.items()))
        console.print("Machine: " + ", ".join(f"{name} {value}" for name, value in self.machine.items()))
        console.print(f"Others used {self.foreign_share:.0%} of the machine. CPU per answer is the figure to trust.")
        for name, figures in self.figures.items():
            if figures.errors:
                console.print(f"[bold red]{name}: {figures.errors} faulty answers; the first: {figures.error}[/]")

    def save(self, directory: Path) -> Path:
        """Write all of it, the samples too, as JSON; returns the file."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"overhead-{self.date:%Y%m%d-%H%M%S}.json"
        runs = [
            {"target": target, "load": load, "rounds": [asdict(run) for run in rounds]}
            for (target, load), rounds in self.runs.items()
        ]
        content = {
            "command": self.command,
            "date": self.date.isoformat(timespec="seconds"),
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "foreign_share": round(self.foreign_share, 4),
            "figures": {name: asdict(figures) for name, figures in self.figures.items()},
            "ratios": self.ratios(),
            "runs": runs,
        }
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return path


def _shown(value: float | None, unit: str = "") -> str:
    if value is None or value != value:
        return "–"
    if isinstance(value, int):
        return f"{value:,}{unit}"
    return f"{value:,.0f}{unit}" if abs(value) >= 100 else f"{value:.3g}{unit}"
