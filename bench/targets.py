"""Running servers that a load can be put on: the provider itself and the gateways before it."""

import http.client
import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.processes import Process

DIRECT = "direct"
MODEL = "bench"
CHAT_PATH = "/v1/chat/completions"
START_SECONDS = 240.0
SETTLE_SECONDS = 0.3


class NotStarted(Exception):
    """A server ended, or gave no answer in time; the message ends with what it printed."""


@dataclass(frozen=True)
class Target:
    """A server that answers. Whoever started it stops ``process``."""

    name: str
    version: str
    port: int
    key: str
    process: Process
    model: str = MODEL
    headers: Mapping[str, str] = field(default_factory=dict)
    chat_path: str = CHAT_PATH

    def settled_cpu_seconds(self) -> float:
        """CPU so far, after a moment for the work that an answer leaves behind, such as storing its record."""
        time.sleep(SETTLE_SECONDS)
        return self.process.cpu_seconds()

    def answers(self) -> bool:
        """Whether a chat completion is answered with 200 now."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        body = json.dumps({"model": self.model, "messages": [{"role": "user", "content": "Are you there?"}]})
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.key}", **self.headers}
        try:
            connection.request("POST", self.chat_path, body, headers)
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()


def start_provider(program: Path, pace_ms: float, directory: Path) -> Target:
    """The provider, as a target."""
    directory.mkdir()
    process = Process([str(program), str(pace_ms)], directory, {})
    wait_until(process, lambda: process.output().endswith("\n"))
    return Target(DIRECT, "bench/provider.c", int(process.output()), "none", process)


def wait_until(process: Process, ready: Callable[[], bool]) -> None:
    """Returns once the process is ready. Else it is stopped: raises :class:`NotStarted`."""
    deadline = time.monotonic() + START_SECONDS
    try:
        while process.running and time.monotonic() < deadline:
            if ready():
                return
            time.sleep(0.1)
        raise NotStarted(f"process {process.pid} did not start:\n{process.output()[-2000:]}")
    except BaseException:
        process.stop()
        raise


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
