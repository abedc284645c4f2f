"""The providers: one ``lumni lab serve`` that enforces every account's limits and counts what happens."""

import json
import sys
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.classroom.accounts import Account, flaky_fault, lab_limits
from bench.processes import Process
from bench.targets import wait_until

LATENCY, PACE, JITTER = 0.3, 0.005, 0.3
_READY = "Lab ready on "


@dataclass(frozen=True)
class Lab:
    """A running lab. Whoever started it stops ``process``."""

    base: str
    process: Process

    def state(self) -> dict[str, Any]:
        """What it counted so far (docs/lab.md)."""
        with urllib.request.urlopen(f"{self.base}/_lab/state", timeout=10) as answer:
            state: dict[str, Any] = json.load(answer)
        return state

    def address(self, account: Account) -> str:
        """Where LiteLLM reaches the account's provider."""
        return self.base + (account.path or account.plays.base_path)


def start_lab(accounts: Sequence[Account], directory: Path, *, flaky: bool = True, seed: int = 0) -> Lab:
    """A lab with nothing counted yet. An answer takes about half a second to a second. Raises ``NotStarted``."""
    directory.mkdir()
    (directory / "limits.json").write_text(json.dumps(lab_limits(accounts)))
    command = [sys.executable, "-m", "lumni", "lab", "serve", "--port", "0", "--limits", "limits.json"]
    command += ["--seed", str(seed), "--latency", str(LATENCY), "--pace", str(PACE), "--jitter", str(JITTER)]
    if flaky:
        command += ["--fault", flaky_fault()]
    process = Process(command, directory, {})
    wait_until(process, lambda: _READY in process.output())
    base = process.output().rpartition(_READY)[2].split(". ", 1)[0]
    return Lab(base, process)
