"""What each process may do when Redis is gone, and that everything is counted once when it is back."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from lumni.quota.limits import StudentLimits, Tier
from lumni.quota.members import Pace
from lumni.quota.model import Amounts, Correction, Draw, Granted, Pool, Refused, Window
from lumni.quota.portion import Part
from lumni.quota.queue import FairQueue
from lumni.quota.resilient import ResilientStore
from lumni.quota.ticket import Ticket
from tests.quota.accidents import Accident
from tests.services.server import Unavailable
from tests.services.valkey import Valkey

PACE = Pace(beat=0.2, patience=30, burial=60, settling=0.3, timeout=20)
LIMIT = 100
POOL = Pool("pool", (Window("requests", 3600, LIMIT), Window("tokens", 86400, 100_000)))
DRAW = Draw("deployment", (POOL,), Amounts(1, 10, 10))


@pytest.fixture
def server() -> Valkey:
    try:
        return Valkey()
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
async def stores(server: Valkey) -> AsyncIterator[list[ResilientStore]]:
    """Three processes' stores on one server."""
    async with AsyncExitStack() as stack:
        stack.enter_context(server)
        clients = [await stack.enter_async_context(Redis.from_url(server.url())) for _ in range(3)]
        stores = [ResilientStore(client, prefix="resilient", pace=PACE) for client in clients]
        await asyncio.gather(*(store.start() for store in stores))
        await until(stores, "shared")
        yield stores
        for store in stores:
            await store.stop()


async def until(stores: list[ResilientStore], mode: str) -> None:
    async with asyncio.timeout(120):
        while any((s.state["mode"], s.state["processes"]) != (mode, len(stores)) for s in stores):
            await asyncio.sleep(0.01)


async def use(store: ResilientStore, most: int, *, settle: bool = True) -> list[Granted]:
    """As many calls as there is capacity for, ``most`` at most."""
    granted: list[Granted] = []
    while len(granted) < most and isinstance(answer := await store.reserve([DRAW], time.time(), lease=600), Granted):
        granted.append(answer)
        if settle:
            await store.settle(answer.reservation, time.time(), used=Amounts(1, 5, 5))
    return granted


@pytest.mark.parametrize("kind", ["empty", "stale", "flushed"])
async def test_what_is_used_together_is_the_limit_exactly(
    kind: str, server: Valkey, stores: list[ResilientStore]
) -> None:
    """001-12: before, without and after Redis; nothing is lost, nothing counted twice, nothing left unused."""
    accident = Accident(kind, server)
    total = sum([len(await use(store, most)) for store, most in zip(stores, (3, 5, 7), strict=True)])
    accident.prepare()
    open_ones = await use(stores[0], 4, settle=False)
    total += len(open_ones) + len(await use(stores[1], 6))
    accident.begin()
    alone = [await use(store, LIMIT) for store in stores]
    total += sum(map(len, alone))
    for granted in open_ones[:2]:
        assert await stores[0].settle(granted.reservation, time.time())
    accident.end()
    await until(stores, "shared")
    for granted in open_ones[2:]:
        assert await stores[0].settle(granted.reservation, time.time())
    for store in stores:
        total += len(await use(store, LIMIT))
    assert total == LIMIT
    rows = await stores[2].snapshot([POOL], time.time())
    assert [(row.used, row.reserved) for row in rows] == [(LIMIT, 0), (LIMIT * 10 + 40, 0)]


async def test_everybody_is_served_while_redis_is_down(server: Valkey, stores: list[ResilientStore]) -> None:
    """001-12: each has a third of the half that nobody may take without telling, and no more than a third in all."""
    assert len(await use(stores[0], 20)) == 20
    server.kill()
    counts = [len(await use(store, LIMIT)) for store in stores]
    assert counts[0] in (33 - 20, 34 - 20)
    assert sorted(counts[1:]) in ([16, 17], [17, 17])
    for store in stores:
        assert store.state["mode"] == "degraded"
        assert store.state["reason"].startswith("unreachable")
        assert store.state["share"] == pytest.approx(1 / 3)
        assert (await use(store, 1)) == []


async def test_a_students_limit_holds_without_redis(server: Valkey, stores: list[ResilientStore]) -> None:
    """003-28: one student at three processes, before, without and after Redis: exactly the limit."""
    tier = Tier(burst=None, per_minute=None, per_hour=12)
    limits = [StudentLimits(store, time.time, tier) for store in stores]
    allowed = [(await limits[n % 3].enter("ada")).allowed for n in range(4)]
    server.kill()
    allowed += [(await limits[n % 3].enter("ada")).allowed for n in range(12)]
    assert sum(allowed) == 4 + 6
    server.start()
    await until(stores, "shared")
    allowed += [(await limits[n % 3].enter("ada")).allowed for n in range(12)]
    assert sum(allowed) == 12


async def test_learned_limits_and_closed_pools_survive_a_flush(server: Valkey, stores: list[ResilientStore]) -> None:
    """000-23, 001-12: what one process learned is known to all, also when Redis has forgotten it."""
    await stores[0].learn(POOL, [Correction("requests", 3600, 40)], time.time())
    other = Pool("other", (Window("requests", 60, 9),))
    await stores[1].learn(other, [Correction(refused=True, reset_in=600)], time.time())
    await use(stores[2], 1)
    accident = Accident("flushed", server)
    await asyncio.sleep(3 * PACE.beat)
    accident.begin()
    await use(stores[2], 1)
    await until(stores, "shared")
    assert (await stores[2].snapshot([POOL], time.time()))[0].limit == 40
    refused = await stores[2].reserve([Draw("d", (other,))], time.time(), lease=60)
    assert isinstance(refused, Refused)
    assert refused.refusals[0].reason == "blocked"


async def test_who_waits_is_served_when_redis_is_back(server: Valkey, stores: list[ResilientStore]) -> None:
    """000-27, 001-12: a request too large for one process's part waits in the queue, and is not refused."""
    large = Draw("deployment", (POOL,), Amounts(1, 60_000, 0))
    server.kill()
    await use(stores[0], 1)
    queue = FairQueue(stores[0], time.time)
    waiting = asyncio.ensure_future(queue.lease(Ticket("ada", asyncio.get_running_loop().time() + 60), [large]))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    server.start()
    lease = await waiting
    await lease.settle()
    await queue.close()


async def test_a_process_that_leaves_takes_its_part_along(stores: list[ResilientStore]) -> None:
    """001-61: those who stay share what there is."""
    await stores[2].stop()
    await until(stores[:2], "shared")
    assert sum([len(await use(store, LIMIT)) for store in stores[:2]]) == LIMIT


@pytest.mark.parametrize("of", [1, 3, 7])
def test_the_parts_of_all_are_the_limit(of: int) -> None:
    """001-12: limit // n, and one more for the first limit % n."""
    for limit in (0, 1, 5, 20, 100):
        assert [Part(k, of).share(limit) for k in range(of)] == [limit // of + (k < limit % of) for k in range(of)]
    assert Part().share(100) == 0
