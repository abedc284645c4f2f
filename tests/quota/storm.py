"""One of several processes that ask for as much quota as they can get; run by test_storms.py.

Each call that would be sent is noted in a file that all append to, between its reservation and its settling: the time,
the deployment, and the tokens that it takes.
"""

import asyncio
import os
import random
import sys
import time
from pathlib import Path

import orjson
from redis.asyncio import Redis

from lumni.quota.limits import StudentLimits, Tier
from lumni.quota.members import Pace
from lumni.quota.model import Amounts, Draw, Granted, Pool, Window
from lumni.quota.resilient import ResilientStore

ACCOUNT = Pool("account", (Window("requests", 4, 60),))
POOLS = {
    "one": (Pool("one", (Window("requests", 3, 20), Window("tokens", 3, 1500))), ACCOUNT),
    "two": (Pool("two", (Window("requests", 2, 30, "refilling"), Window("requests", 86400, 200))), ACCOUNT),
    "day": (Pool("day", (Window("requests", 86400, 120), Window("tokens", 86400, 50_000))),),
}
NEED = Amounts(1, 40, 40)
TIER = Tier(burst=None, per_minute=20, per_hour=None)
PACE = Pace(beat=0.2, patience=1.0, burial=20.0, settling=0.5, timeout=0.5)


async def ask(store: ResilientStore, log: int, ends: float, seed: int) -> None:
    chance = random.Random(seed)
    limits = StudentLimits(store, time.time, TIER)
    while time.time() < ends:
        if chance.random() < 0.1 and (await limits.enter("ada")).allowed:
            note(log, "ada", 0)
        name = chance.choice(list(POOLS))
        answer = await store.reserve([Draw(name, POOLS[name], NEED)], time.time(), lease=30)
        if isinstance(answer, Granted):
            used = NEED if chance.random() < 0.5 else Amounts(1, chance.randint(0, 40), chance.randint(0, 40))
            note(log, name, used.of("tokens"))
            await asyncio.sleep(chance.choice([0, 0, 0.02, 0.3]))
            await store.settle(answer.reservation, time.time(), used=used)
        await asyncio.sleep(chance.uniform(0, 0.03))


def note(log: int, name: str, tokens: int) -> None:
    os.write(log, orjson.dumps([time.time(), name, tokens]) + b"\n")


async def main(url: str, path: str, seconds: float, seed: int) -> None:
    log = os.open(path, os.O_WRONLY | os.O_APPEND)
    modes = set()
    async with Redis.from_url(url) as client:
        store = ResilientStore(client, prefix="storm", pace=PACE)
        store.subscribe(lambda _: modes.add(store.state["mode"]))
        await store.start()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        ends = time.time() + seconds
        await asyncio.gather(*(ask(store, log, ends, seed * 10 + n) for n in range(4)))
        deadline = time.time() + 30
        while store.state["mode"] != "shared" and time.time() < deadline:
            await asyncio.sleep(0.05)
        print(orjson.dumps({**store.state, "modes": sorted(modes)}).decode(), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await store.stop()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], str(Path(sys.argv[2])), float(sys.argv[3]), int(sys.argv[4])))
