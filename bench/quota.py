"""CPU of one lease and its settling: `uv run python bench/quota.py [--url redis://… | unix://…] [--rounds N]`.

A request with three candidates, each drawing on a model's pool (four windows) and an account's (two), is reserved and
settled with its real usage; the pools are otherwise as full as a class makes them. The stores take turns, batch after
batch, so that a slow moment of the machine hits all of them. Prints milliseconds a request: this process's CPU as the
median of the batches and of the best one, the server's CPU and wall time as medians.
"""

import argparse
import json
import os
import resource
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import uvloop
from redis.asyncio import Redis

from lumni.quota.memory import MemoryStore
from lumni.quota.model import Amounts, Correction, Draw, Granted, Pool, Window
from lumni.quota.redis import RedisStore, connect
from lumni.quota.resilient import ResilientStore
from lumni.quota.store import Store
from tests.services.valkey import Valkey

WORDS = (
    Correction("requests", 86400, 10_000_000, 9_900_000, 3000.0),
    Correction("tokens", 60, 50_000_000, 49_000_000, 12.0),
)


def candidates() -> list[Draw]:
    """Three deployments like Groq's, with limits that never bind, so that each round does all the work of a grant."""
    draws = []
    for name in ("strong", "middle", "weak"):
        model = Pool(
            f"{name}-model",
            (
                Window("requests", 60, 50_000, provenance="catalogue"),
                Window("tokens", 60, 50_000_000, provenance="catalogue"),
                Window("requests", 86400, 10_000_000, provenance="catalogue"),
                Window("tokens", 86400, None, provenance="catalogue"),
            ),
        )
        account = Pool(f"{name}-account", (Window("requests", 60, 50_000), Window("requests", 3600, 500_000)))
        draws.append(Draw(name, (model, account), Amounts(1, 400, 300)))
    return draws


@dataclass
class Contender:
    """A store and what was measured of it. ``client`` leads to its server, if it has one."""

    name: str
    store: Store
    client: Redis | None = None
    headers: bool = False
    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)

    async def batch(self, rounds: int) -> None:
        """Milliseconds a request, over ``rounds`` of them."""
        server, cpu, wall = await self._server_cpu(), time.process_time(), time.perf_counter()
        await measure(self.store, rounds, headers=self.headers)
        self.cpu.append((time.process_time() - cpu) * 1000 / rounds)
        self.wall.append((time.perf_counter() - wall) * 1000 / rounds)
        self.server.append((await self._server_cpu() - server) * 1000 / rounds)

    async def _server_cpu(self) -> float:
        """Seconds."""
        if self.client is None:
            return 0.0
        told = await self.client.info("cpu")
        return float(told["used_cpu_user"] + told["used_cpu_sys"])

    def figures(self) -> dict[str, Any]:
        medians = {"cpu_ms": self.cpu, "server_cpu_ms": self.server, "wall_ms": self.wall}
        shown = {name: round(median(values), 3) for name, values in medians.items()}
        return {"store": self.name, "headers learned": self.headers, "best_cpu_ms": round(min(self.cpu), 3), **shown}


async def measure(store: Store, rounds: int, *, headers: bool) -> None:
    draws, words = candidates(), WORDS if headers else ()
    for _ in range(rounds):
        granted = await store.reserve(draws, time.time(), lease=120)
        if not isinstance(granted, Granted):
            raise SystemExit(f"refused: {granted}")
        used = Amounts(1, 380, 120)
        await store.settle(granted.reservation, time.time(), used=used, counted_ago=0.0004, corrections=words)


async def main(url: str | None, rounds: int, batches: int) -> None:
    async with AsyncExitStack() as stack:
        address = url or stack.enter_context(Valkey()).url()
        client = await stack.enter_async_context(connect(address))
        await client.flushdb()
        contenders = []
        for headers in (False, True):
            resilient = ResilientStore(client, prefix=f"resilient-{headers}")
            stack.push_async_callback(resilient.stop)
            await resilient.start()
            contenders += [
                Contender("memory", MemoryStore(), headers=headers),
                Contender("redis", RedisStore(client, prefix=f"bench-{headers}"), client, headers),
                Contender("resilient", resilient, client, headers),
            ]
        for contender in contenders:
            await measure(contender.store, rounds, headers=contender.headers)
        for _ in range(batches):
            for contender in contenders:
                await contender.batch(rounds)
    for contender in contenders:
        print(json.dumps(contender.figures()))
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"rounds": rounds, "batches": batches, "max_rss_mb": size, "load": os.getloadavg()[0]}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="Redis or Valkey whose database may be emptied; default: a Valkey of its own")
    parser.add_argument("--rounds", type=int, default=200, help="requests a batch")
    parser.add_argument("--batches", type=int, default=25)
    arguments = parser.parse_args()
    uvloop.run(main(arguments.url, arguments.rounds, arguments.batches))
