"""What only the shared store has to promise: Redis forgetting, other processes, clusters, callers that leave."""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from lumni.quota.memory import MemoryStore
from lumni.quota.model import MINUTE, Amounts, Correction, Draw, Granted, Pool, Refused, Window
from lumni.quota.queue import FairQueue
from lumni.quota.redis import RedisStore
from lumni.quota.ticket import Ticket
from tests.services.valkey import Valkey

_names = count()
POOL = Pool("groq/llama", (Window("requests", 60, 3), Window("tokens", 60, 1000, provenance="catalogue")))
SHARED = Pool("groq", (Window("requests", 3600, 100),))
DRAW = Draw("groq-llama", (POOL, SHARED), Amounts(1, 200, 100))


@pytest.fixture
async def client(valkey_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey_url) as client:
        yield client


@pytest.fixture
async def store(client: Redis) -> AsyncIterator[RedisStore]:
    store = RedisStore(client, prefix=f"redis-{next(_names)}")
    yield store
    await store.close()


async def test_scripts_are_sent_again_after_a_flush(client: Redis, store: RedisStore) -> None:
    """001-12: SCRIPT FLUSH (as by a restart or failover) costs nobody a request, and no count is lost."""
    for n in range(4):
        await client.script_flush()
        granted = await store.reserve([DRAW], time.time(), lease=60)
        assert isinstance(granted, Granted) == (n < 3)
        await client.script_flush()
        if isinstance(granted, Granted):
            assert await store.settle(granted.reservation, time.time())


async def test_a_restarted_server_serves_on() -> None:
    """001-12: the client reconnects and the script is loaded again; what was in flight settles as no longer held."""
    with Valkey() as server:
        async with Redis.from_url(server.url()) as client:
            store = RedisStore(client, prefix="restart")
            granted = await store.reserve([DRAW], time.time(), lease=60)
            assert isinstance(granted, Granted)
            server.kill()
            server.start()
            assert not await store.settle(granted.reservation, time.time())
            assert isinstance(await store.reserve([DRAW], time.time(), lease=60), Granted)


async def test_every_key_is_in_one_slot_and_none_lives_for_ever(client: Redis) -> None:
    """001-61: a cluster keeps all of one prefix on one node; what nobody uses any more goes away."""
    prefix = f"slots-{next(_names)}"
    store = RedisStore(client, prefix=prefix)
    for lease in (60, 60, 60):
        granted = await store.reserve([DRAW], time.time(), lease=lease)
    assert isinstance(granted, Granted)
    await store.settle(granted.reservation, time.time(), corrections=[Correction("requests", 86400, 50, 20, 100)])
    keys = [key async for key in client.scan_iter(f"*{prefix}*")]
    assert len(keys) >= 5
    assert len({key_slot(key) for key in keys}) == 1
    assert all([await client.ttl(key) > 0 for key in keys])


async def test_pools_under_one_prefix_are_apart_from_others(client: Redis) -> None:
    """001-61"""
    one, two = (RedisStore(client, prefix=f"apart-{next(_names)}") for _ in range(2))
    for _ in range(3):
        assert isinstance(await one.reserve([DRAW], time.time(), lease=60), Granted)
    assert isinstance(await one.reserve([DRAW], time.time(), lease=60), Refused)
    assert isinstance(await two.reserve([DRAW], time.time(), lease=60), Granted)


async def test_an_instance_whose_clock_is_wrong_counts_right(client: Redis) -> None:
    """001-61: Redis's clock rules, so machines with clocks an hour apart share one window."""
    store = RedisStore(client, prefix=f"skew-{next(_names)}")
    answers = [await store.reserve([DRAW], time.time() + n * 3600, lease=60) for n in range(4)]
    assert [isinstance(answer, Granted) for answer in answers] == [True, True, True, False]


async def test_a_caller_that_leaves_in_the_middle_keeps_nothing(client: Redis, store: RedisStore) -> None:
    """000-21: cancelled while Redis is asked, its reservation is given back, not held for a whole lease."""
    for _ in range(20):
        asking = asyncio.ensure_future(store.reserve([DRAW], time.time(), lease=600))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    await store.close()
    rows = await store.snapshot([POOL, SHARED], time.time())
    assert [(row.used, row.reserved) for row in rows] == [(0, 0)] * 3


async def test_what_one_process_gives_back_wakes_another(valkey_url: str) -> None:
    """001-61: two queues on two connections; the waiting one hears of the other's refund before it would ask again."""
    prefix, loop = f"wake-{next(_names)}", asyncio.get_running_loop()
    async with Redis.from_url(valkey_url) as near, Redis.from_url(valkey_url) as far:
        stores = [RedisStore(near, prefix=prefix), RedisStore(far, prefix=prefix)]
        queues = [FairQueue(store, time.time) for store in stores]
        large = Draw("d", (POOL,), Amounts(1, 900, 0))
        heard = asyncio.Event()
        stores[1].subscribe(lambda pools: heard.set() if pools and POOL.id in pools else None)
        lease = await queues[0].lease(Ticket("ada", loop.time() + 30), [large])
        waiting = asyncio.ensure_future(queues[1].lease(Ticket("bob", loop.time() + 30), [large]))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await lease.settle(Amounts(1, 50, 10))
        second = await waiting
        assert heard.is_set()
        await second.release()
        for queue, store in zip(queues, stores, strict=True):
            await queue.close()
            await store.close()


def _storm(url: str, prefix: str, calls: int) -> int:
    """One process: as many concurrent requests as it can; how many were let in."""

    async def main() -> int:
        async with Redis.from_url(url) as client:
            store = RedisStore(client, prefix=prefix)
            answers = await asyncio.gather(*(_call(store) for _ in range(calls)))
            return sum(answers)

    async def _call(store: RedisStore) -> bool:
        answer = await store.reserve([DRAW_OF_40], time.time(), lease=60)
        if isinstance(answer, Granted):
            await store.settle(answer.reservation, time.time(), used=Amounts(1, 20, 5))
        return isinstance(answer, Granted)

    return asyncio.run(main())


DRAW_OF_40 = Draw(
    "d", (Pool("forty", (Window("requests", MINUTE, 40), Window("tokens", MINUTE, 100_000))),), Amounts(1, 20, 9)
)


def test_four_processes_never_exceed_a_limit_and_use_all_of_it(valkey_url: str) -> None:
    """003-11, 001-61, 000-21: 200 concurrent requests in four processes, exactly 40 let in."""
    prefix = f"storm-{next(_names)}"
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as processes:
        counts = [processes.submit(_storm, valkey_url, prefix, 50) for _ in range(4)]
        assert sum(future.result() for future in counts) == 40


async def test_both_stores_are_the_same_interface(client: Redis) -> None:
    """003-11: a learned limit and its provenance look the same in both."""
    word = Correction("requests", 86400, 50, 20, 100)
    rows = []
    for store in (MemoryStore(), RedisStore(client, prefix=f"same-{next(_names)}", server_time=False)):
        await store.learn(POOL, [word], 1_790_000_000)
        rows.append(await store.snapshot([POOL], 1_790_000_000))
    assert rows[0] == rows[1]
    assert [(row.window, row.limit, row.left, row.provenance) for row in rows[0]] == [
        ("r60000", 3, 3, "configured"),
        ("t60000", 1000, 1000, "catalogue"),
        ("r86400000", 50, 20, "learned"),
    ]
