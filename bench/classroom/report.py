"""What the class came to, as a table for people and as JSON for later."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.classroom.figures import Figures
from bench.classroom.lesson import Lesson
from bench.classroom.trace import Shape


@dataclass(frozen=True)
class Report:
    """A finished run. ``foreign_share`` is what others used of the machine meanwhile, in [0, 1]."""

    command: str
    date: datetime
    seed: int
    shape: Shape
    machine: Mapping[str, str | int]
    foreign_share: float
    lessons: Sequence[Lesson]

    def print(self, console: Console) -> None:
        """The table: a column a gateway."""
        table = Table(title=f"{self.command}  ({self.date:%Y-%m-%d})")
        table.add_column(f"{self.shape.students} students and a greedy one")
        for lesson in self.lessons:
            table.add_column(f"{lesson.gateway}\nlimits {'known' if lesson.known else 'learned'}", justify="right")
        for row in zip(*(_rows(lesson.figures) for lesson in self.lessons), strict=True):
            table.add_row(row[0][0], *(value for _, value in row))
        console.print(table)
        versions = {lesson.gateway: lesson.version for lesson in self.lessons}
        console.print("Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()))
        console.print("Machine: " + ", ".join(f"{name} {value}" for name, value in self.machine.items()))
        console.print(f"Others used {self.foreign_share:.0%} of the machine.")

    def save(self, directory: Path) -> Path:
        """Write all of it, configurations and every request's fate too, as JSON; returns the file."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"classroom-{self.date:%Y%m%d-%H%M%S}.json"
        content = {
            "command": self.command,
            "date": self.date.isoformat(timespec="seconds"),
            "seed": self.seed,
            "shape": asdict(self.shape),
            "machine": dict(self.machine),
            "foreign_share": round(self.foreign_share, 4),
            "lessons": [lesson.public() for lesson in self.lessons],
        }
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return path


def _rows(found: Figures) -> list[tuple[str, str]]:
    refused = ", ".join(f"{count} × {kind}" for kind, count in found.refused.items()) or "none"
    return [
        ("requests", f"{found.asked}"),
        ("served", f"{found.served} ({found.served_share:.1%})"),
        ("a clairvoyant serves", f"{found.plan} to {found.bound}"),
        ("of the clairvoyant's most", f"{found.of_clairvoyant:.1%}"),
        ("not served, by status", refused),
        ("tries a request", f"{found.tries / max(1, found.asked):.2f}"),
        ("upstream calls", f"{found.upstream_calls}"),
        ("upstream 429s", f"{found.upstream_over_limit} ({found.upstream_over_limit_share:.1%})"),
        ("upstream faults", f"{found.upstream_faults}"),
        ("worst student", f"{found.worst_student:.1%}"),
        ("greedy student, of her fair part", f"{found.greedy:.1%}"),
        ("Jain's index", f"{found.jain:.4f}"),
        ("wait p50, s", f"{found.wait_p50:.1f}"),
        ("wait p95, s", f"{found.wait_p95:.1f}"),
        ("longest wait, s", f"{found.wait_max:.1f}"),
    ]
