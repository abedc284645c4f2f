"""``lumni lab serve`` in a process of its own, and its endpoints for tests."""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

START_SECONDS = 180.0
_READY = re.compile(r"Lab ready on (http://\S+?)\.\s")


class LabServer:
    """The lab on a free port, with ``limits`` as its limits file (else none)."""

    def __init__(self, directory: Path, limits: dict[str, Any] | None = None) -> None:
        self._log = directory / "lab.log"
        self._limits = "off"
        if limits is not None:
            path = directory / "limits.json"
            path.write_text(json.dumps(limits), encoding="utf-8")
            self._limits = str(path)

    def __enter__(self) -> Self:
        command = [sys.executable, "-u", "-m", "lumni", "lab", "serve", "--port", "0", "--limits", self._limits]
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        try:
            self.url = self._wait_for_url()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(120)

    def add_fault(self, kind: str, **more: Any) -> None:
        httpx.post(f"{self.url}/_lab/faults", json={"kind": kind, **more}).raise_for_status()

    def clear_faults(self) -> None:
        httpx.delete(f"{self.url}/_lab/faults").raise_for_status()

    def faults_met(self) -> int:
        """How often a scripted fault has happened."""
        return sum(fault["hits"] for fault in httpx.get(f"{self.url}/_lab/faults").json()["faults"])

    def totals(self) -> dict[str, int]:
        totals: dict[str, int] = httpx.get(f"{self.url}/_lab/state").json()["totals"]
        return totals

    def _wait_for_url(self) -> str:
        deadline = time.monotonic() + START_SECONDS
        while not (found := _READY.search(self._log.read_text())):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)
        return found[1]
