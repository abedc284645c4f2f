"""Servers in processes of their own: started, timed from /proc, and ended by their ids."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

STOP_SECONDS = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")
# Places after the command's closing parenthesis in /proc/PID/stat, see proc(5).
_SESSION, _TIMES = 3, slice(11, 15)


class Process:
    """A process in a session of its own, so that all of its children are known too. A context manager."""

    def __init__(self, command: Sequence[str], directory: Path, environ: Mapping[str, str]) -> None:
        """``environ`` is all of its environment but PATH and HOME. What it prints goes to ``directory/output.log``."""
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self._log = directory / "output.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                list(command),
                cwd=directory,
                env={**inherited, **environ},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def output(self) -> str:
        """All that it printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def cpu_seconds(self) -> float:
        """User and system time of the process and its children, living and dead. Resolution: 10 ms on most machines."""
        return sum(_ticks(fields) for fields in _session(self.pid).values()) / _TICKS

    def children(self, word: bytes) -> list[int]:
        """The ids of its session's processes, itself excepted, whose command line has the word."""
        others = [pid for pid in _session(self.pid) if pid != self.pid]
        return [pid for pid in others if word in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def stop(self) -> None:
        """Ask it to end, wait, and end what is left of its session."""
        if self.running:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._end_session()

    def _end_session(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        while time.monotonic() < deadline:
            left = [pid for pid, fields in _session(self.pid).items() if fields[0] != "Z"]
            if not left:
                return
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)


def _session(leader: int) -> dict[int, list[str]]:
    """The /proc/PID/stat fields of each process of ``leader``'s session, from the state on."""
    members = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[_SESSION]) == leader:
                members[int(entry.name)] = fields
    return members


def _ticks(fields: list[str]) -> int:
    return sum(int(field) for field in fields[_TIMES])
