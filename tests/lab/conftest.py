"""A real lab server on a free port, in a thread of this process."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import uvicorn

from lumni.lab.server import LabApp, create_lab_app


@dataclass(frozen=True)
class RunningLab:
    url: str
    http: httpx.Client

    def faults(self, *specs: dict[str, Any]) -> None:
        assert self.http.post("/_lab/faults", json=list(specs)).status_code == 200

    def configure(self, **settings: Any) -> None:
        answer = self.http.post("/_lab/config", json=settings)
        assert answer.status_code == 200, answer.text

    def totals(self) -> dict[str, int]:
        totals: dict[str, int] = self.http.get("/_lab/state").json()["totals"]
        return totals


def _serve(app: LabApp) -> Iterator[str]:
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    started = threading.Event()

    async def run() -> None:
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        started.set()
        await serving

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert started.wait(120)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope="session")
def _lab_url() -> Iterator[str]:
    yield from _serve(create_lab_app())


@pytest.fixture
def lab(_lab_url: str) -> Iterator[RunningLab]:
    """The lab, forgetful of what the test before it did."""
    with httpx.Client(base_url=_lab_url, timeout=120) as http:
        http.post("/_lab/reset")
        http.post("/_lab/config", json={"limits": "default", "latency": 0, "pace": 0, "jitter": 0, "any_model": False})
        yield RunningLab(_lab_url, http)
