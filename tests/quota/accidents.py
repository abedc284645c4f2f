"""What can happen to Redis while it is in use."""

import os
import signal
from dataclasses import dataclass, field

from redis import Redis

from tests.services.valkey import Valkey


@dataclass
class Accident:
    """One kind of accident of one server: ``begin`` it, ``end`` it. ``prepare`` is for some time before."""

    kind: str
    server: Valkey
    pid: int = field(init=False)

    def __post_init__(self) -> None:
        with self._client() as client:
            self.pid = client.info("server")["process_id"]

    def prepare(self) -> None:
        if self.kind == "stale":
            with self._client() as client:
                client.save()

    def begin(self) -> None:
        if self.kind in ("empty", "stale"):
            self.server.kill()
        elif self.kind == "frozen":
            os.kill(self.pid, signal.SIGSTOP)
        else:
            self._disturb()

    def end(self) -> None:
        if self.kind in ("empty", "stale"):
            self.server.start()
        elif self.kind == "frozen":
            os.kill(self.pid, signal.SIGCONT)

    def _disturb(self) -> None:
        with self._client() as client:
            if self.kind == "flushed":
                client.flushall()
            elif self.kind == "script":
                client.script_flush()
            elif self.kind == "cut":
                client.client_kill_filter(_type="normal", skipme=True)
                client.client_kill_filter(_type="pubsub", skipme=True)

    def _client(self) -> "Redis":
        return Redis.from_url(self.server.url())
