"""A real gateway in a process of its own, as a user would start it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

KEY = "lumni-key-of-the-tests"
START_SECONDS = 240.0
_BASE_URL = re.compile(r"Base URL: (http://\S+)/v1")


class Gateway:
    """``lumni serve`` on a free port, in ``directory``, with ``model_list`` as its litellm_config.yaml.

    Without a model list the gateway has the lab only. ``environ`` is all of the environment but PATH and HOME.
    """

    def __init__(self, directory: Path, model_list: str | None = None, **environ: str) -> None:
        self.directory = directory
        self.key = KEY
        self._environ = {"UNIFIED_API_KEY": KEY, **environ}
        if model_list is not None:
            (directory / "litellm_config.yaml").write_text(model_list, encoding="utf-8")
        self._log = directory / "gateway.log"

    def __enter__(self) -> Self:
        inherited = {
            name: os.environ[name] for name in ("PATH", "HOME", "PYTHONDONTWRITEBYTECODE") if name in os.environ
        }
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lumni", "serve", "--host", "127.0.0.1", "--port", "0"],
                cwd=self.directory,
                env={"PYTHONUNBUFFERED": "1", **inherited, **self._environ},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.url = self._wait_for_url()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def base_url(self) -> str:
        """What an OpenAI client is given."""
        return f"{self.url}/v1"

    @property
    def database(self) -> Path:
        """The SQLite file, if no DATABASE_URL was given."""
        return self.directory / ".lumni" / "lumni.db"

    def log(self) -> str:
        """Everything that the process printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def stop(self, number: int = signal.SIGTERM, seconds: float = 120.0) -> int:
        """Ask it to end and wait; returns the exit code. A second call does nothing more."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
        return self.process.returncode

    def _wait_for_url(self) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if found := _BASE_URL.search(self.log()):
                return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"the gateway did not start:\n{self.log()}")
