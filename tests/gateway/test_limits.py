"""Providers' limits and failures: nobody calls what is known to be closed, clients don't notice, all comes back."""

import asyncio

import pytest

from lumni.catalogue.limits import Limit
from lumni.errors import AllProvidersFailed, RateLimited
from lumni.types import Outcome
from tests.gateway.provider import Clock, limited, provider
from tests.upstream.wire import Line, deployment, line

KNOWN = Limit("requests", 60, 1000)


async def refused(lane: Line) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        await lane.ask()
    return caught.value


@pytest.mark.parametrize(("period", "name"), [(60, "minute"), (3600, "hour"), (86_400, "day")])
async def test_a_limit_that_is_hit_ends_the_calls_until_its_window_is_over(period: int, name: str) -> None:
    """000-20, 000-21, 000-22: minute, hour and day: no call while it is used up, and it comes back by itself."""
    clock = Clock()
    pools = limited(name, Limit("requests", period, 3), *(() if period == 60 else (KNOWN,)))
    async with provider() as p, line(deployment("d", p.base, pools=pools), clock=clock) as lane:
        for _ in range(3):
            await lane.ask()
        for part in (0.0, 0.3, 0.2):
            clock.now += period * part
            error = await refused(lane)
        assert p.calls["chat"] == 3
        assert error.retry_after is not None
        clock.now += error.retry_after
        for _ in range(3):
            await lane.ask()
        await refused(lane)
        assert p.calls["chat"] == 6


async def test_tokens_are_a_limit_like_requests() -> None:
    """000-20: counted as the provider says that they were used."""
    clock = Clock()
    pools = limited("t", Limit("tokens", 60, 400))
    async with provider() as p, line(deployment("d", p.base, pools=pools), clock=clock) as lane:
        served = 0
        try:
            while served < 100:
                await lane.ask(max_tokens=10)
                clock.now += 0.01
                served += 1
        except RateLimited:
            pass
        # 15 tokens each, of which the last needs as much as is estimated.
        assert 20 <= served <= 26
        clock.now += 70
        await lane.ask(max_tokens=10)


async def test_what_a_provider_refuses_is_remembered_and_tried_again_in_time() -> None:
    """000-21, 000-22: a limit that nobody knew: one refusal, then none until the provider's own time is over."""
    clock = Clock()
    async with provider(chat=429, headers={"retry-after": "30"}) as p:
        pools = limited("p", KNOWN)
        async with line(deployment("d", p.base, pools=pools), clock=clock) as lane:
            for _ in range(3):
                error = await refused(lane)
            assert p.calls["chat"] == 1
            assert error.retry_after == pytest.approx(30, abs=1)
            p.chat, p.headers = 200, {}
            clock.now += 31
            await lane.ask()


async def test_traffic_switches_when_a_limit_is_hit_and_switches_back() -> None:
    """000-52, 000-27: nobody sees an error; a refusal is no failure, so no breaker opens for it."""
    clock = Clock()
    async with provider() as first, provider() as second:
        members = (
            deployment("a", first.base, priority=0, pools=limited("a", KNOWN)),
            deployment("b", second.base, priority=1, pools=limited("b", KNOWN), account="b"),
        )
        async with line(*members, clock=clock) as lane:
            first.chat, first.headers = 429, {"retry-after": "20"}
            served = [(await lane.ask(strategy="priority")).headers["x-lumni-deployment"] for _ in range(5)]
            assert served == ["b"] * 5
            assert first.calls["chat"] == 1
            assert [[a.outcome for a in record.attempts] for record in lane.records] == [
                [Outcome.RATE_LIMITED, Outcome.OK], *[[Outcome.OK]] * 4,
            ]  # fmt: skip
            assert {record.outcome for record in lane.records} == {Outcome.OK}
            assert lane.quota.breakers.view("a")["failures"] == 0
            first.chat, first.headers = 200, {}
            clock.now += 21
            assert (await lane.ask(strategy="priority")).headers["x-lumni-deployment"] == "a"


async def test_hits_of_limits_are_recorded_apart_from_errors() -> None:
    """000-27: in each attempt, and in what became of the request."""
    clock = Clock()
    async with provider(chat=429, headers={"retry-after": "99"}) as p:
        async with line(deployment("d", p.base, pools=limited("p", KNOWN)), clock=clock) as lane:
            await refused(lane)
            await refused(lane)
            p.chat, p.headers = 503, {}
            clock.now += 100
            with pytest.raises(AllProvidersFailed):
                await lane.ask()
        told = [(r.outcome, r.status, r.error_code, [a.outcome for a in r.attempts]) for r in lane.records]
        limit, down = Outcome.RATE_LIMITED, Outcome.UNAVAILABLE
        assert told == [
            (limit, 429, "providers_exhausted", [limit]),
            (limit, 429, "providers_exhausted", []),
            (down, 503, "all_providers_failed", [down]),
        ]


async def test_three_failures_in_a_row_disable_a_deployment_until_a_probe_finds_it_well() -> None:
    """004-03, 004-04, 002-06, 002-09: then a single call decides; a probe that fails costs 600 seconds more."""
    clock = Clock()
    async with provider(chat=500) as p, line(deployment("d", p.base), clock=clock) as lane:
        for expected in (1, 2, 3, 3, 3):
            with pytest.raises(AllProvidersFailed):
                await lane.ask()
            assert p.calls["chat"] == expected
        assert [record.error_code for record in lane.records][2:4] == ["all_providers_failed", "all_providers_down"]
        clock.now += 570
        with pytest.raises(AllProvidersFailed):
            await lane.ask()
        assert p.calls["chat"] == 3
        clock.now += 30
        with pytest.raises(AllProvidersFailed):
            await lane.ask()
        assert p.calls["chat"] == 4
        clock.now += 570
        with pytest.raises(AllProvidersFailed):
            await lane.ask()
        assert p.calls["chat"] == 4
        clock.now += 30
        p.chat = 200
        await lane.ask()
        assert lane.quota.breakers.view("d")["consecutive_failures"] == 0
        p.chat = 500
        for _ in range(2):
            with pytest.raises(AllProvidersFailed):
                await lane.ask()
        assert lane.quota.breakers.state("d") == "closed"


async def test_a_success_between_failures_starts_the_count_anew() -> None:
    """004-05"""
    async with provider() as p, line(deployment("d", p.base)) as lane:
        for status in (500, 500, 200, 500, 500, 200):
            p.chat = status
            if status == 200:
                await lane.ask()
            else:
                with pytest.raises(AllProvidersFailed):
                    await lane.ask()
        assert lane.quota.breakers.state("d") == "closed"
        assert p.calls["chat"] == 6


async def test_one_deployment_down_is_nothing_that_a_class_notices() -> None:
    """002-44, 000-52: 60 requests at once while one of two providers fails: all served, and it is called little."""
    async with provider(chat=503) as dead, provider() as well:
        members = (deployment("a", dead.base, priority=0), deployment("b", well.base, priority=1))
        async with line(*members, student_concurrency=100) as lane:
            for _ in range(3):
                await lane.ask(strategy="priority")
            replies = await asyncio.gather(*(lane.ask(strategy="priority") for _ in range(60)))
            assert {reply.headers["x-lumni-deployment"] for reply in replies} == {"b"}
            assert dead.calls["chat"] == 3
