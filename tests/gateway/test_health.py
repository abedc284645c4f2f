"""What was taken out comes back by itself, found out by calls that cost nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lumni.catalogue.model import Deployment
from lumni.errors import AllProvidersFailed
from lumni.gateway.health import HealthChecks
from lumni.types import Outcome
from lumni.upstream.probe import Prober
from tests.gateway.provider import Clock, provider
from tests.gateway.stage import entry, model_list, stage
from tests.upstream.wire import Line, deployment, line

INTERVAL = 60.0


@asynccontextmanager
async def checked(*deployments: Deployment, **settings: Any) -> AsyncIterator[tuple[Line, HealthChecks, Clock]]:
    """A line whose time moves by hand, and its health checks, which run when they are told to."""
    clock = Clock()
    async with line(*deployments, clock=clock, **settings) as lane:
        checks = HealthChecks(lane.quota, Prober(), INTERVAL)
        try:
            yield lane, checks, clock
        finally:
            await checks.close()


async def fail(lane: Line, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(AllProvidersFailed):
            await lane.ask()


async def test_all_accounts_disabled_at_once_come_back_by_themselves() -> None:
    """000-17, 000-15: three providers fail, nobody is called, and each serves again before its 600 seconds are over."""
    async with provider(chat=503) as one, provider(chat=503) as two, provider(chat=503) as three:
        everybody = [deployment(f"d{n}", p.base, account=f"a{n}") for n, p in enumerate((one, two, three))]
        async with checked(*everybody) as (lane, checks, _):
            await fail(lane, 3)
            called = [p.calls["chat"] for p in (one, two, three)]
            await fail(lane)
            assert [p.calls["chat"] for p in (one, two, three)] == called == [3, 3, 3]
            for p in (one, two, three):
                p.chat = 200
            await checks.check()
            assert {lane.quota.breakers.state(d.id) for d in everybody} == {"half_open"}
            reply = await lane.ask()
            assert reply.body is not None
            assert lane.quota.breakers.state(reply.headers["x-lumni-deployment"]) == "closed"


async def test_a_key_that_is_taken_again_brings_the_whole_account_back() -> None:
    """000-17, 002-12: once its server, which has refused the key before, takes it; one call for all its deployments."""
    async with provider(chat=401, models=401) as p:
        pair = [deployment("one", p.base), deployment("two", p.base)]
        async with checked(*pair) as (lane, checks, clock):
            await fail(lane)
            assert [lane.quota.breakers.cause(d.id) for d in pair] == ["auth", "auth"]
            await checks.check()
            assert p.calls["models"] == 1  # one account, one call
            p.models = p.chat = 200
            await checks.check()
            assert [lane.quota.breakers.state(d.id) for d in pair] == ["closed", "closed"]
            assert (await lane.ask()).body is not None
            assert clock.now == Clock().now


async def test_a_list_that_everybody_sees_proves_no_key() -> None:
    """000-15: else each round would send a student to a dead key."""
    async with provider(chat=401) as p, checked(deployment("one", p.base)) as (lane, checks, clock):
        await fail(lane)
        await checks.check()
        assert lane.quota.breakers.state("one") == "open"
        clock.now += 600
        p.chat = 200
        assert (await lane.ask()).body is not None


async def test_a_key_that_is_still_refused_stays_out_and_says_so() -> None:
    """000-15, 000-18: its time begins again, so that no student is sent to find out."""
    told = "Incorrect API key"
    async with (
        provider(chat=401, models=401, message=told) as p,
        checked(deployment("one", p.base)) as (lane, checks, clock),
    ):
        await fail(lane)
        clock.now += 570
        await checks.check()
        clock.now += 570
        await fail(lane)
        view = lane.quota.breakers.view("one")
        assert view["last_error"] == f"health check: HTTP 401: {told}"
        assert view["last_error_at"] == clock.now - 570
        assert (view["failures"], view["reason"]) == (1, "the account's key was refused")
        assert p.calls["chat"] == 1


async def test_a_model_comes_back_when_its_provider_lists_it() -> None:
    """000-17: and not because the provider answers."""
    async with provider(chat=404, listed=["another"]) as p, checked(deployment("one", p.base)) as (lane, checks, _):
        await fail(lane)
        await checks.check()
        assert lane.quota.breakers.state("one") == "open"
        p.listed = ["another", "stand-in"]
        await checks.check()
        assert lane.quota.breakers.state("one") == "closed"


async def test_a_provider_that_only_lists_costs_ever_fewer_requests() -> None:
    """002-09: its list is well and its answers aren't: the rest between two probes doubles, up to the usual one."""
    async with provider(chat=500) as p, checked(deployment("one", p.base)) as (lane, checks, clock):
        await fail(lane, 3)
        for _ in range(20):
            clock.now += INTERVAL
            await checks.check()
            await fail(lane)
        # After 1 round, then 2, 4 and 8; and then every ten, which are 600 seconds.
        assert p.calls["chat"] == 3 + 4


async def test_a_check_that_fails_changes_nothing_but_the_last_error() -> None:
    """000-18"""
    async with provider(chat=503, models=503) as p, checked(deployment("one", p.base)) as (lane, checks, clock):
        await fail(lane, 3)
        clock.now += 10
        await checks.check()
        view = lane.quota.breakers.view("one")
        assert (view["state"], view["failures"], view["retry_in"]) == ("open", 3, 590)
        assert view["last_error"] == "health check: HTTP 503: told to fail"


async def test_nobody_is_asked_while_all_is_well() -> None:
    """000-16, 002-12: each deployment is looked at once if nobody has called it; then only traffic counts."""
    async with provider() as used, provider() as idle, provider(models=401) as odd:
        three = [deployment("used", used.base), deployment("idle", idle.base), deployment("odd", odd.base)]
        async with checked(*three) as (lane, checks, _):
            assert (await lane.ask(model="used")).body is not None
            for _ in range(3):
                await checks.check()
            assert [p.calls["models"] for p in (used, idle, odd)] == [0, 1, 3]
            # A key may be allowed to chat and not to list: nothing is taken out for that.
            assert lane.quota.breakers.state("odd") == "closed"
            assert "told to fail" in lane.quota.breakers.view("odd")["last_error"]


async def test_the_lab_and_providers_without_a_free_call_are_never_asked() -> None:
    """000-16: Bedrock has none; the lab is ours."""
    async with provider() as p:
        odd = [deployment("lab", p.base, "lumni-lab"), deployment("cloud", p.base, "bedrock")]
        async with checked(*odd) as (lane, checks, _):
            for one in odd:
                lane.quota.breakers.record(one.id, Outcome.AUTH)
            await checks.check()
            assert p.calls == {}


async def test_checks_run_by_themselves_until_they_are_closed() -> None:
    """000-16: at an interval that can be set, and a failure of one round ends nothing."""
    async with provider(chat=503) as p, line(deployment("one", p.base)) as lane:
        checks = HealthChecks(lane.quota, Failing(), 0.01)
        await fail(lane, 3)
        before = asyncio.all_tasks()
        checks.start()
        async with asyncio.timeout(120):
            while lane.quota.breakers.state("one") != "half_open":
                await asyncio.sleep(0.005)
        await checks.close()
        assert asyncio.all_tasks() <= before


async def test_an_interval_of_zero_means_no_checks() -> None:
    async with provider(chat=503) as p, line(deployment("one", p.base)) as lane:
        checks = HealthChecks(lane.quota, Prober(), 0)
        checks.start()
        await fail(lane, 3)
        await asyncio.sleep(0.05)
        assert p.calls["models"] == 0
        await checks.close()


class Failing(Prober):
    """Falls over the first time."""

    fell = False

    async def ask(self, *call: Any) -> Any:
        if not self.fell:
            self.fell = True
            raise RuntimeError("a fault in a round")
        return await super().ask(*call)


async def test_a_running_gateway_takes_an_account_back_without_a_restart(tmp_path: Path) -> None:
    """000-16, 000-17: the checks begin with the gateway and end with it."""
    async with provider(chat=401, models=401) as p:
        listed = model_list(entry("all", p.base, "one"))
        async with stage(tmp_path, listed, health_check_interval=0.02) as lumni:
            assert (await lumni.ask()).status_code == 503
            async with asyncio.timeout(120):
                while p.calls["models"] == 0:
                    await asyncio.sleep(0.01)
                p.chat = p.models = 200
                while lumni.services.quota.breakers.state("one") != "closed":
                    await asyncio.sleep(0.01)
            assert (await lumni.ask()).status_code == 200
        called = p.calls["models"]
        await asyncio.sleep(0.1)
        assert p.calls["models"] == called
