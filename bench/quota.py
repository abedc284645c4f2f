"""CPU of one lease and its settling: `uv run python bench/quota.py [--url redis://… | unix://…] [--rounds N]`.

A request with three candidates, each drawing on a model's pool (four windows) and an account's (two), is reserved and
settled with its real usage; the pools are otherwise as full as a class makes them. Prints milliseconds of CPU of this
process (and of the server, when it is one that this script started) and of wall time, a request.
"""

import argparse
import asyncio
import json
import resource
import time
from contextlib import ExitStack

from redis.asyncio import Redis

from lumni.quota.memory import MemoryStore
from lumni.quota.model import Amounts, Correction, Draw, Granted, Pool, Window
from lumni.quota.redis import RedisStore
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


async def measure(store: Store, rounds: int, *, headers: bool) -> dict[str, float]:
    draws, words = candidates(), WORDS if headers else ()
    for warm in (max(1, rounds // 10), rounds):
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(warm):
            granted = await store.reserve(draws, time.time(), lease=120)
            if not isinstance(granted, Granted):
                raise SystemExit(f"refused: {granted}")
            used = Amounts(1, 380, 120)
            await store.settle(granted.reservation, time.time(), used=used, counted_ago=0.0004, corrections=words)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {"cpu_ms": round(cpu * 1000 / rounds, 4), "wall_ms": round(wall * 1000 / rounds, 4)}


async def main(url: str | None, rounds: int) -> None:
    results = {"memory": await measure(MemoryStore(), rounds, headers=False)}
    results["memory, with headers learned"] = await measure(MemoryStore(), rounds, headers=True)
    with ExitStack() as stack:
        address = url or stack.enter_context(Valkey()).url()
        for name, headers in (("redis", False), ("redis, with headers learned", True)):
            async with Redis.from_url(address) as client:
                await client.flushdb()
                before = (await client.info("cpu"))["used_cpu_user"] + (await client.info("cpu"))["used_cpu_sys"]
                results[name] = await measure(RedisStore(client, prefix="bench"), rounds, headers=headers)
                after = await client.info("cpu")
                server = after["used_cpu_user"] + after["used_cpu_sys"] - before
                results[name]["server_cpu_ms"] = round(server * 1000 / rounds / 1.1, 4)
        async with Redis.from_url(address) as client:
            store = ResilientStore(client, prefix="bench-resilient")
            await store.start()
            for name, headers in (("resilient", False), ("resilient, with headers learned", True)):
                results[name] = await measure(store, rounds, headers=headers)
            await store.stop()
    for name, figures in results.items():
        print(json.dumps({"store": name, **figures}))
    print(json.dumps({"rounds": rounds, "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="Redis or Valkey whose database may be emptied; default: a Valkey of its own")
    parser.add_argument("--rounds", type=int, default=5000)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.url, arguments.rounds))
