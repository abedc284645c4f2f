"""The machine that measured, and how much of it others used meanwhile."""

import os
import platform
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.targets import Target


def describe() -> dict[str, str | int]:
    """Cores, CPU model, kernel and Python; nothing that tells whose machine it is."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
    }


@dataclass(frozen=True)
class Clock:
    """Seconds of CPU since the machine's start: all there was, all that was used, and what the benchmark used."""

    total: float
    busy: float
    ours: float

    @classmethod
    def read(cls, targets: Sequence[Target]) -> "Clock":
        """Now. Fields of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal (proc(5))."""
        ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        ours = sum(target.process.cpu_seconds() for target in targets)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            usage = resource.getrusage(who)
            ours += usage.ru_utime + usage.ru_stime
        second = os.sysconf("SC_CLK_TCK")
        return cls(sum(ticks) / second, (sum(ticks) - ticks[3] - ticks[4]) / second, ours)

    def foreign_share(self, earlier: "Clock") -> float:
        """The share of the machine, in [0, 1], that others used since ``earlier``; interrupts count as others."""
        foreign = (self.busy - earlier.busy) - (self.ours - earlier.ours)
        return max(0.0, foreign / max(self.total - earlier.total, 1e-9))

    def idle_share(self, earlier: "Clock") -> float:
        """The share of the machine, in [0, 1], that nobody used since ``earlier``."""
        return 1 - (self.busy - earlier.busy) / max(self.total - earlier.total, 1e-9)
