"""Quota in one hand: how deployments stand, who is taken out with whom, and what is done in the background."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni.catalogue.limits import Limit, PoolLimits
from lumni.catalogue.model import Catalogue, Deployment
from lumni.gateway.quotas import make_quota
from lumni.quota.memory import MemoryStore
from lumni.quota.model import ONE_REQUEST, Amounts, Draw
from lumni.quota.redis import RedisStore, connect
from lumni.quota.service import GLANCE, Quota
from lumni.quota.standing import Standing, Standings
from lumni.quota.strategies import headroom
from lumni.settings import Settings
from lumni.types import Outcome


class Clock:
    now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def deployment(id_: str, account: str = "one", disabled: str = "") -> Deployment:
    pools = (PoolLimits(f"pool-{account}", (Limit("requests", 60, 2),)),)
    return Deployment(id_, "g", "groq", account, f"groq/{id_}", {}, pools=pools, disabled=disabled)


@pytest.fixture
def quota(clock: Clock) -> Quota:
    members = (deployment("a"), deployment("b"), deployment("c", "two"), deployment("off", disabled="no key"))
    return make_quota(Settings(), Catalogue(members), MemoryStore(), clock)


async def take(quota: Quota, id_: str) -> None:
    await quota.store.reserve([Draw(id_, quota.pools.of(id_), ONE_REQUEST)], quota.clock(), lease=0)


async def test_only_enabled_deployments_have_a_standing(quota: Quota) -> None:
    assert set(await quota.standings()) == {"a", "b", "c"}


async def test_a_spent_pool_is_seen_within_a_second_by_all_that_draw_on_it(quota: Quota, clock: Clock) -> None:
    """000-18, 000-21: and from when."""
    assert {s.state for s in (await quota.standings()).values()} == {"available"}
    start = clock.now
    await take(quota, "a")
    await take(quota, "b")
    clock.now += GLANCE
    standings = await quota.standings()
    assert {id_: s.state for id_, s in standings.items()} == {"a": "exhausted", "b": "exhausted", "c": "available"}
    assert [standings[id_].since for id_ in "abc"] == [start + GLANCE, start + GLANCE, start]
    assert standings["a"].blocked == ""
    clock.now += 100
    assert {s.state for s in (await quota.standings()).values()} == {"available"}


async def test_many_who_ask_at_once_read_the_store_once(quota: Quota) -> None:
    reads = 0
    snapshot = quota.store.snapshot

    async def counted(*args: object) -> object:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0)
        return await snapshot(*args)  # type: ignore[arg-type]

    quota.store.snapshot = counted  # type: ignore[method-assign, assignment]
    await asyncio.gather(*(quota.standings() for _ in range(50)))
    assert reads == 1


async def test_a_clock_that_was_set_back_does_not_freeze_the_view(quota: Quota, clock: Clock) -> None:
    await quota.standings()
    await take(quota, "a")
    await take(quota, "a")
    clock.now -= 0.5
    assert (await quota.standings())["a"].state == "exhausted"


async def test_breakers_are_seen_at_once(quota: Quota) -> None:
    """000-15: without waiting for the next look at the pools."""
    await quota.standings()
    quota.failed(quota.catalogue.by_id["a"], Outcome.AUTH, "bad key", 401)
    standings = await quota.standings()
    assert {id_: s.state for id_, s in standings.items()} == {"a": "broken", "b": "broken", "c": "available"}
    assert (standings["b"].headroom, standings["b"].until) == (0.0, 600.0)


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("fail"), st.sampled_from("abc")),
            st.tuples(st.just("answer"), st.sampled_from("abc")),
            st.tuples(st.just("take"), st.sampled_from("abc")),
            st.tuples(st.just("withhold"), st.sampled_from(["", "a", "bc"])),
            st.tuples(st.just("wait"), st.sampled_from([0.0, 0.4, 1.0, 61.0, 601.0])),
        ),
        max_size=30,
    )
)
def test_standings_are_never_older_than_they_may_be(steps: list[tuple[str, Any]]) -> None:
    """000-15, 000-18: whatever is kept of the last ones, breakers are as they are, and quotas of this second."""

    async def run() -> None:
        clock, known = Clock(), Catalogue((deployment("a"), deployment("b"), deployment("c", "two")))
        quota = make_quota(Settings(), known, MemoryStore(), clock)
        states: dict[str, tuple[str, float]] = {}
        seen, seen_at, need = await quota.rows(), clock.now, Amounts(1, 10, 10)
        for what, which in [("wait", 0.0), *steps]:
            if what == "wait":
                clock.now += which
            elif what == "take":
                await take(quota, which)
            elif what == "withhold":
                quota.breakers.withhold(dict.fromkeys(which, "broken"))
            else:
                quota.breakers.record(which, Outcome.OK if what == "answer" else Outcome.AUTH)
            standings = await quota.standings()
            if clock.now - seen_at >= GLANCE:
                seen, seen_at = await quota.rows(), clock.now
            for id_, standing in standings.items():
                windows = tuple(row for pool in quota.pools.of(id_) for row in seen if row.pool == pool.id)
                why, wait = quota.breakers.blocked(id_) or ("", None)
                free = 0.0 if why else headroom(windows, ONE_REQUEST)
                if states.get(id_, ("",))[0] != standing.state:
                    states[id_] = standing.state, clock.now
                assert standing == Standing(free, why, wait, windows, states[id_][1])
            anew = Standings(standings, quota.pools)
            assert standings.supply(need) == anew.supply(need)
            assert [standings.perishing(id_) for id_ in "abc"] == [anew.perishing(id_) for id_ in "abc"]
            assert await quota.standings() == standings

    asyncio.run(run())


async def test_work_in_the_background_ends_before_the_quota_does(quota: Quota) -> None:
    """000-38: what is still being given back is saved too; a failure of it is logged, and harms nobody."""
    done = []

    async def work(number: int) -> None:
        await asyncio.sleep(0.01)
        if number == 1:
            raise OSError("the store is away")
        done.append(number)

    quota.store = RedisStore(connect("redis://127.0.0.1:1"))  # one that is waited for
    for number in range(3):
        quota.later(work(number))
    await quota.close()
    assert done == [0, 2]


async def test_what_memory_takes_is_given_back_at_once(quota: Quota) -> None:
    """000-38: without a task; a failure of it is logged, and harms nobody."""
    done = []

    async def work(number: int) -> None:
        if number == 1:
            raise OSError
        done.append(number)

    tasks = asyncio.all_tasks()
    for number in range(3):
        quota.later(work(number))
    assert done == [0, 2]
    assert asyncio.all_tasks() == tasks
    with pytest.raises(RuntimeError):
        quota.later(asyncio.sleep(0))


async def test_work_that_must_be_done_outlives_who_waits_for_it(quota: Quota) -> None:
    """000-20"""
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.01)
        done.set()

    waiting = asyncio.create_task(quota.surely(work()))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await quota.close()
    assert done.is_set()


async def test_states_of_a_version_before_are_read(quota: Quota) -> None:
    """000-38: a file without since-whens, as written before there were any."""
    dumped = quota.dump()
    del dumped["states"]
    dumped["breakers"] = {"a": {"failures": 3, "opened_at": quota.clock(), "recovery": 600.0, "reason": "failed"}}
    quota.load(dumped)
    assert (await quota.standings())["a"].state == "broken"
