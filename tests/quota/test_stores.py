"""Both stores agree with the plain model, whatever happens in whatever order."""

import asyncio
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from lumni.quota.members import Pace
from lumni.quota.memory import MemoryStore
from lumni.quota.model import Amounts, Correction, Draw, Granted, Pool, Refused, Reservation, Window
from lumni.quota.redis import RedisStore
from lumni.quota.resilient import ResilientStore
from lumni.quota.store import route
from tests.quota.model import Model

MINUTE = Pool("minute", (Window("requests", 60, 4), Window("tokens", 60, 100, provenance="catalogue")))
FIXED = Pool(
    "fixed", (Window("requests", 30, 3, "fixed", anchor=7), Window("input_tokens", 600, 150, "fixed", guard=0))
)
BUCKET = Pool(
    "bucket", (Window("requests", 20, 5, "refilling"), Window("output_tokens", 45, 70, "refilling", "catalogue"))
)
ACCOUNT = Pool("account", (Window("requests", 3600, 12), Window("tokens", 3600, None), Window("tokens", 86400, 1000)))
POOLS = (MINUTE, FIXED, BUCKET, ACCOUNT)
OPEN = Pool("open")
ALL = (*POOLS, OPEN)

needs = st.builds(Amounts, st.integers(0, 2), st.integers(0, 60), st.integers(0, 40))
draws = st.builds(
    Draw,
    st.just("deployment"),
    st.lists(st.sampled_from(ALL), min_size=1, max_size=3, unique_by=lambda pool: pool.id).map(tuple),
    needs,
)
milliseconds = st.integers(0, 90_000).map(lambda ms: ms / 1000)
corrections = st.builds(
    Correction,
    st.sampled_from([None, "requests", "tokens", "input_tokens", "output_tokens"]),
    st.sampled_from([1, 20, 30, 45, 60, 600, 3600, 86400]),
    st.none() | st.integers(0, 150),
    st.none() | st.integers(0, 120),
    st.none() | milliseconds,
    st.booleans(),
)
_names = count()


class Agreement(RuleBasedStateMachine):
    """One step on the memory store, the Lua store and the model; then all three must say the same."""

    url = ""
    resilient = False
    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_700_000_000_000
        self.runner = asyncio.Runner()
        self.client = Redis.from_url(self.url)
        self.memory = MemoryStore()
        prefix = f"agree-{next(_names)}"
        self.lua: RedisStore | ResilientStore = RedisStore(self.client, prefix=prefix, server_time=False)
        if self.resilient:
            self.lua = ResilientStore(self.client, prefix=prefix, server_time=False, pace=Pace(settling=0))
            self.runner.run(self.lua.start())
        self.model = Model(ALL)
        self.model.pass_time(self.now)
        self.exact = True  # until a provider's word or an underestimate: from then on use may exceed a limit

    def teardown(self) -> None:
        if isinstance(self.lua, ResilientStore):
            assert self.lua.state["mode"] == "shared"
            self.runner.run(self.lua.stop())
        self.runner.run(self.client.aclose())
        self.runner.close()

    @property
    def time(self) -> float:
        return self.now / 1000

    @rule(target=held, candidates=st.lists(draws, min_size=1, max_size=3), lease=st.sampled_from([0, 5, 70, 4000]))
    def reserve(self, candidates: list[Draw], lease: float) -> tuple[Reservation, Reservation] | None:
        expected = self.model.first_fit(candidates, self.now)
        ours = self.runner.run(self.memory.reserve(candidates, self.time, lease=lease))
        lua = self.runner.run(self.lua.reserve(candidates, self.time, lease=lease))
        if isinstance(ours, Granted) and isinstance(lua, Granted):
            assert ours.index == lua.index == expected
            assert ours.states == lua.states
            after = self.runner.run(self.memory.snapshot(ours.reservation.draw.pools, self.time))
            assert ours.states == (() if lease else after)
            assert (ours.reservation.at_ms, ours.reservation.expires_ms) == (self.now, self.now + round(lease * 1000))
            assert (lua.reservation.at_ms, lua.reservation.expires_ms) == (self.now, self.now + round(lease * 1000))
            self.model.hold(ours.reservation.id, candidates[expected], self.now, round(lease * 1000))
            return ours.reservation, lua.reservation
        assert isinstance(ours, Refused)
        assert ours == lua
        assert expected is None
        for draw, refusal in zip(candidates, ours.refusals, strict=True):
            wait, earliest = self.model.wait(draw, self.now), self.model.wait(draw, self.now, given_back=True)
            assert refusal.wait == (None if wait is None else wait / 1000)
            assert refusal.earliest == (None if earliest is None else earliest / 1000)
        return None

    @rule(pair=consumes(held), used=st.none() | needs, ago=milliseconds, words=st.lists(corrections, max_size=1))
    def settle(
        self, pair: tuple[Reservation, Reservation] | None, used: Amounts | None, ago: float, words: list[Correction]
    ) -> None:
        if pair is None:
            return
        ours, lua = pair
        actual = used or ours.draw.need
        for pool, own in route(words, ours.draw.pools):
            for word in own:
                self.model.learn(pool, word, self.now, ours.at_ms)
        live = self.model.settle(ours.id, ours.draw, actual, self.now, round(ago * 1000))
        self.exact = self.exact and not words and ours.draw.need.covers(actual)
        arguments = {"used": used, "counted_ago": ago, "corrections": words}
        assert self.runner.run(self.memory.settle(ours, self.time, **arguments)) == live  # type: ignore[arg-type]
        assert self.runner.run(self.lua.settle(lua, self.time, **arguments)) == live  # type: ignore[arg-type]

    @rule(pair=held)
    def release(self, pair: tuple[Reservation, Reservation] | None) -> None:
        if pair is None:
            return
        live = self.model.settle(pair[0].id, pair[0].draw, Amounts(0), self.now, 0)
        assert self.runner.run(self.memory.release(pair[0], self.time)) == live
        assert self.runner.run(self.lua.release(pair[1], self.time)) == live

    @rule(pool=st.sampled_from(ALL), word=corrections)
    def learn(self, pool: Pool, word: Correction) -> None:
        self.exact = False
        self.model.learn(pool, word, self.now, self.now)
        self.runner.run(self.memory.learn(pool, [word], self.time))
        self.runner.run(self.lua.learn(pool, [word], self.time))

    @rule(ms=st.one_of(st.integers(1, 200), st.integers(1, 70_000), st.sampled_from([60_000, 3_600_000, 86_400_000])))
    def wait(self, ms: int) -> None:
        self.now += ms
        self.model.pass_time(self.now)

    @rule()
    def expire(self) -> None:
        ours = self.runner.run(self.memory.expire(ALL, self.time))
        assert ours == self.runner.run(self.lua.expire(ALL, self.time))

    @rule()
    def restart(self) -> None:
        """A new process without anything in flight takes up where the old one was."""
        if not any(pool.holds for pool in self.model.pools.values()):
            store = MemoryStore()
            store.load(self.memory.dump(self.time))
            self.memory = store

    @invariant()
    def same_state(self) -> None:
        ours = self.runner.run(self.memory.snapshot(ALL, self.time))
        assert ours == self.runner.run(self.lua.snapshot(ALL, self.time))
        for row in ours:
            pool = self.model.pools[row.pool]
            meter = pool.meters[row.window]
            assert (row.limit, row.used, row.reserved) == (meter.limit, -(-meter.used() // 1), pool.reserved(meter))
            assert row.blocked_in == max(0, meter.blocked - self.now, pool.blocked - self.now) / 1000
            if self.exact and row.limit is not None:
                assert row.used + row.reserved <= row.limit


class ResilientAgreement(Agreement):
    """The same with the store that can do without Redis, while it needn't."""

    resilient = True


@pytest.fixture(params=[Agreement, ResilientAgreement])
def machine(request: pytest.FixtureRequest, valkey_url: str) -> type[Agreement]:
    kind: type[Agreement] = request.param
    kind.url = valkey_url
    return kind


def test_stores_agree_with_the_model(machine: type[Agreement]) -> None:
    """000-20, 000-22, 003-11: memory, Lua and the plain model agree over random interleavings; no limit is exceeded."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
