"""In which order deployments are called: by setting, by request, by what the client prefers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from lumni.catalogue.limits import Limit
from lumni.catalogue.model import Price
from lumni.errors import AllProvidersFailed, InvalidRequest
from lumni.money import NanoUSD
from lumni.quota.model import Amounts, Draw
from lumni.types import Outcome
from tests.gateway.provider import Clock, Provider, limited, provider
from tests.upstream.wire import Line, deployment, line


@asynccontextmanager
async def three(*more: dict[str, Any], **settings: Any) -> AsyncIterator[tuple[Line, Provider, Clock]]:
    """Deployments a, b and c of equal standing at one provider, with what ``more`` says of each."""
    clock = Clock()
    async with provider() as p:
        pools = [limited(name, Limit("requests", 60, 1000)) for name in "abc"]
        own = [
            {"pools": pool, "account": name} | dict(given) for name, pool, given in zip("abc", pools, more, strict=True)
        ]
        members = [deployment(name, p.base, **given) for name, given in zip("abc", own, strict=True)]
        async with line(*members, clock=clock, **settings) as lane:
            yield lane, p, clock


@asynccontextmanager
async def dead_and_well() -> AsyncIterator[tuple[Line, Provider, Provider]]:
    """Deployment a, which fails, before b."""
    async with (
        provider(chat=503) as dead,
        provider() as well,
        line(deployment("a", dead.base, priority=0), deployment("b", well.base, priority=1)) as lane,
    ):
        yield lane, dead, well


NOTHING: tuple[dict[str, Any], ...] = ({}, {}, {})


async def chosen(lane: Line, times: int = 1, **body: Any) -> str:
    return "".join([(await lane.ask(**body)).headers["x-lumni-deployment"] for _ in range(times)])


async def test_round_robin_hits_each_once() -> None:
    """000-12, 002-02, 002-32: N requests over N equals, again and again, chosen by the request."""
    async with three(*NOTHING) as (lane, _, _):
        for _ in range(3):
            assert sorted(await chosen(lane, 3, strategy="round_robin")) == ["a", "b", "c"]


async def test_round_robin_as_a_setting() -> None:
    """000-43: and a request may still ask for another one."""
    async with three({"priority": 2}, {"priority": 1}, {"priority": 0}, routing_strategy="round_robin") as (lane, _, _):
        assert sorted(await chosen(lane, 3)) == ["a", "b", "c"]
        assert await chosen(lane, 3, strategy="priority") == "ccc"


async def test_round_robin_skips_who_is_out_of_order() -> None:
    """000-12, 000-15"""
    async with three(*NOTHING) as (lane, _, _):
        lane.quota.breakers.record("b", Outcome.AUTH)
        assert sorted(await chosen(lane, 6, strategy="round_robin")) == ["a", "a", "a", "c", "c", "c"]


async def test_priority_takes_the_lowest_number_that_is_available() -> None:
    """000-11, 004-06"""
    async with three({"priority": 1}, {"priority": 0}, {"priority": 2}) as (lane, _, _):
        assert await chosen(lane, 2, strategy="priority") == "bb"
        lane.quota.breakers.record("b", Outcome.AUTH)
        assert await chosen(lane, 2, strategy="priority") == "aa"


async def test_least_used_takes_the_one_with_the_fewest_calls_of_late() -> None:
    """000-13: by what was really called, not by what was asked for."""
    async with three(*NOTHING) as (lane, _, clock):
        for name, times in (("a", 3), ("b", 1), ("c", 2)):
            for _ in range(times):
                lane.quota.traffic.called(name, clock.now)
        assert await chosen(lane, 4, strategy="least_used") == "bbca"
        clock.now += 6000  # all that is long ago
        assert sorted(await chosen(lane, 3, strategy="least_used")) == ["a", "b", "c"]


async def test_least_latency_takes_the_one_that_was_measured_fastest() -> None:
    """002-03: the call itself is measured, so a provider that becomes slow loses its place."""
    async with three(*NOTHING) as (lane, _, _):
        for name, seconds in (("a", 9.0), ("b", 5.0), ("c", 7.0)):
            lane.quota.traffic.answered(name, seconds)
        assert await chosen(lane, strategy="least_latency") == "b"
        assert (lane.quota.traffic.latency("b") or 5.0) < 5.0
        for _ in range(50):
            lane.quota.traffic.answered("b", 30.0)
        assert await chosen(lane, strategy="least_latency") == "c"


async def test_lowest_cost_takes_free_ones_first_then_the_cheapest() -> None:
    """002-04: whose price nobody knows comes last."""
    paid = {"free": False}
    usd = 10**9
    dear, cheap = Price(NanoUSD(9 * usd), NanoUSD(9 * usd)), Price(NanoUSD(usd), NanoUSD(20 * usd))
    members = ({**paid, "price": dear}, paid, {**paid, "price": cheap})
    async with three(*members) as (lane, _, _):
        assert await chosen(lane, strategy="lowest_cost") == "c"
    async with three(members[0], {}, members[2]) as (lane, _, _):
        assert await chosen(lane, strategy="lowest_cost") == "b"


async def test_adaptive_spares_the_scarce_quota() -> None:
    """000-58: of equals the one whose quota is nearly gone is left for others."""
    async with three(*NOTHING) as (lane, _, clock):
        for row in lane.quota.pools.of("a"):
            for _ in range(990):
                granted = await lane.quota.store.reserve([Draw("a", (row,), Amounts(1))], clock.now, lease=0)
                assert granted
        clock.now += 2
        assert "a" not in await chosen(lane, 4, strategy="adaptive")


@pytest.mark.parametrize("strategy", ["priority", "round_robin", "least_used", "least_latency", "lowest_cost"])
async def test_every_strategy_falls_over_to_the_next(strategy: str) -> None:
    """000-52, 004-02: without a client-visible error."""
    async with dead_and_well() as (lane, _, _):
        assert await chosen(lane, 2, strategy=strategy) == "bb"


async def test_without_fallback_no_other_is_tried() -> None:
    """002-33: the failure is the client's to see, in one attempt."""
    async with dead_and_well() as (lane, dead, well):
        with pytest.raises(AllProvidersFailed) as caught:
            await lane.ask(fallback=False)
        assert [attempt["deployment"] for attempt in caught.value.extra["attempts"]] == ["a"]
        assert (dead.calls["chat"], well.calls["chat"]) == (1, 0)


async def test_a_preferred_provider_comes_first_and_others_after_it() -> None:
    """002-34, 002-33: a preference with fallback, a condition without."""
    async with provider() as groq, provider() as openai:
        members = (deployment("a", openai.base, priority=0), deployment("b", groq.base, "groq", priority=1))
        async with line(*members) as lane:
            assert await chosen(lane) == "a"
            assert await chosen(lane, provider="groq") == "b"
            assert await chosen(lane, provider="groq", strategy="priority") == "b"
            groq.chat = 503
            assert await chosen(lane, provider="groq") == "a"
            with pytest.raises(AllProvidersFailed):
                await lane.ask(provider="groq", fallback=False)
            with pytest.raises(InvalidRequest):
                await lane.ask(provider="nobody")
