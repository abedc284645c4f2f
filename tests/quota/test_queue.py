"""Nobody waits while capacity is there for them, and what there is goes round fairly."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumni.quota.line import in_time
from lumni.quota.memory import MemoryStore
from lumni.quota.model import Amounts, Draw, Granted, Pool, Refused, Window
from lumni.quota.queue import CLAIM_AFTER, FairQueue
from lumni.quota.ticket import NoCapacity, Ticket
from tests.quota.virtual import run, settle_down, wall_clock


def pool(name: str, rpm: int, tpm: int | None = None) -> Pool:
    return Pool(name, (Window("requests", 60, rpm), Window("tokens", 60, tpm)))


def ask(*pools: Pool, tokens: int = 0) -> list[Draw]:
    return [Draw(p.id, (p,), Amounts(1, tokens, 0)) for p in pools]


def ticket(student: str, patience: float = 1e6, weight: float = 1, priority: int = 0) -> Ticket:
    return Ticket(student, asyncio.get_running_loop().time() + patience, weight, priority)


def jain(shares: Sequence[float]) -> float:
    """Jain, Chiu and Hawe 1984: 1 when all are equal, 1/n when one has everything."""
    return sum(shares) ** 2 / (len(shares) * sum(share * share for share in shares))


class Class:
    """Students who call through one queue; each call takes ``seconds`` of a provider's time."""

    def __init__(self, *, per_student: int = 1000) -> None:
        self.store = MemoryStore()
        self.queue = FairQueue(self.store, wall_clock, per_student=per_student)
        self.served: list[tuple[float, str]] = []
        self.refused: list[tuple[float, str, NoCapacity]] = []

    async def call(self, ticket: Ticket, draws: list[Draw], seconds: float = 0.0) -> None:
        loop = asyncio.get_running_loop()
        try:
            lease = await self.queue.lease(ticket, draws)
        except NoCapacity as no:
            self.refused.append((loop.time(), ticket.student, no))
            return
        self.served.append((loop.time(), ticket.student))
        await asyncio.sleep(seconds)
        await lease.settle(lease.reservation.draw.need, counted_ago=seconds)

    def count(self) -> Counter[str]:
        return Counter(student for _, student in self.served)


def test_a_greedy_student_cannot_starve_the_shy() -> None:
    """000-23: she asks 200 times at once, nine others once every 40 s; they are served at once, she gets the rest."""

    async def main() -> None:
        room = Class()
        shared = pool("p", 30)
        async with asyncio.TaskGroup() as group:
            for _ in range(200):
                group.create_task(room.call(ticket("greedy", 300), ask(shared)))
            await asyncio.sleep(1)
            for turn in range(6):
                for student in range(9):
                    group.create_task(room.call(ticket(f"shy {student}", 120), ask(shared)))
                await asyncio.sleep(40 if turn < 5 else 0)
        served = room.count()
        assert all(served[f"shy {student}"] == 6 for student in range(9))
        assert not any(student.startswith("shy") for _, student, _ in room.refused)
        assert sum(served.values()) == 30 * 5  # the windows of five minutes, to the last request

    run(main())


@given(st.lists(st.integers(0, 7), max_size=6))
def test_the_largest_claims_that_can_all_be_met_are(deadlines: list[int]) -> None:
    """000-23: by trying every order of service, one after the other is let in if all who were can still be in time."""

    def possible(chosen: list[int]) -> bool:
        return any(all(n <= d for n, d in enumerate(order, 1)) for order in permutations(chosen))

    chosen: list[int] = []
    for deadline, can in zip(deadlines, in_time([float(d) for d in deadlines]), strict=True):
        assert can == possible([*chosen, deadline])
        chosen += [deadline] if can else []


@pytest.mark.parametrize(("shy", "served"), [(3, 10), (20, 0)])
def test_who_must_leave_goes_first_if_all_others_can_wait(shy: int, served: int) -> None:
    """000-22, 000-23: what is there for the greedy isn't wasted; where it doesn't suffice, she is who leaves."""

    async def main() -> None:
        room = Class()
        shared = pool("p", 30)
        async with asyncio.TaskGroup() as group:
            for _ in range(30):
                group.create_task(room.call(ticket("greedy"), ask(shared)))
            await asyncio.sleep(1)
            for _ in range(10):
                group.create_task(room.call(ticket("greedy", 70), ask(shared)))
            for student in range(10):
                for _ in range(shy):
                    group.create_task(room.call(ticket(f"shy {student}", 130), ask(shared)))
        counts = room.count()
        assert counts["greedy"] == 30 + served
        assert sum(counts.values()) == 30 * 2 + (10 if served else 30)
        assert all(student == "greedy" for _, student, _ in room.refused) == (served == 10)

    run(main())


def test_equal_demand_gets_equal_shares_and_weights_count() -> None:
    """000-23: Jain's index above 0.99 among equals; twice the weight gets twice as much."""

    async def main() -> None:
        room = Class()
        shared = pool("p", 12)
        async with asyncio.TaskGroup() as group:
            for number in range(60):
                for student in range(6):
                    if number % (1 + student) == 0:  # some pile up six times as many as others
                        for _ in range(1 + student):
                            who = ticket(f"s{student}", 599, weight=2 if student == 0 else 1)
                            group.create_task(room.call(who, ask(shared)))
        served = room.count()
        assert sum(served.values()) == 120
        assert jain([served[f"s{student}"] for student in range(1, 6)]) > 0.99
        assert served["s0"] == pytest.approx(2 * served["s1"], rel=0.1)

    run(main())


def test_priority_goes_first_but_nobody_starves() -> None:
    """000-11: a course of higher priority is served first; who waits long enough moves up past those who came later."""

    async def main() -> None:
        room = Class()
        shared = pool("p", 1)
        async with asyncio.TaskGroup() as group:
            group.create_task(room.call(ticket("warm-up"), ask(shared)))
            await asyncio.sleep(25)
            group.create_task(room.call(ticket("low"), ask(shared)))
            for minute in range(6):
                for n in range(2):
                    group.create_task(room.call(ticket(f"high {minute} {n}", priority=2), ask(shared)))
                await asyncio.sleep(60)
        order = [student for _, student in room.served]
        assert order[1].startswith("high")
        assert order.index("low") < 6

    run(main())


def test_a_large_request_is_not_passed_over_for_ever() -> None:
    """000-23: small requests fill every gap, until the large one has waited long; then its pool is kept for it."""

    async def main() -> None:
        room = Class()
        tokens = pool("p", 10_000, 1000)
        started = asyncio.get_running_loop().time()

        async def stream_of_small_ones() -> None:
            for n in range(600):
                group.create_task(room.call(ticket(f"s{n % 50}", 200), ask(tokens, tokens=100)))
                await asyncio.sleep(0.5)

        async with asyncio.TaskGroup() as group:
            small = group.create_task(stream_of_small_ones())
            await asyncio.sleep(5)
            await room.call(ticket("large", 300), ask(tokens, tokens=900))
            waited = asyncio.get_running_loop().time() - started - 5
            assert waited < CLAIM_AFTER + 2 * 60
            small.cancel()
        assert room.count()["large"] == 1

    run(main())


def test_a_cancelled_waiter_leaves_at_once_and_takes_nothing() -> None:
    """000-23"""

    async def main() -> None:
        room = Class()
        shared = pool("p", 1)
        await room.call(ticket("first"), ask(shared))
        quitter = asyncio.ensure_future(room.queue.lease(ticket("quitter"), ask(shared)))
        stayer = asyncio.ensure_future(room.queue.lease(ticket("stayer"), ask(shared)))
        await settle_down()
        place = room.queue.place("stayer")
        assert place is not None
        assert (place.position, place.waiting) == (2, 2)
        quitter.cancel()
        await settle_down()
        place = room.queue.place("stayer")
        assert place is not None
        assert (place.position, place.waiting) == (1, 1)
        assert place.eta == pytest.approx(60, abs=1)
        lease = await stayer
        assert lease.waited == pytest.approx(60, abs=0.01)
        await lease.release()
        assert (await room.store.snapshot([shared], wall_clock()))[0].reserved == 0

    run(main())


def test_cancelled_in_the_moment_of_its_grant_it_gives_the_grant_back() -> None:
    """000-23"""

    async def main() -> None:
        room = Class()
        shared = pool("p", 1)
        lease = await room.queue.lease(ticket("first"), ask(shared))
        waiting = asyncio.ensure_future(room.queue.lease(ticket("second"), ask(shared)))
        await settle_down()
        await lease.release()
        while not (await room.store.snapshot([shared], wall_clock()))[0].reserved:
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await settle_down()
        assert (await room.store.snapshot([shared], wall_clock()))[0].reserved == 0
        assert room.queue.waiting == 0

    run(main())


def test_waiting_ends_at_the_deadline_and_at_once_when_it_cannot_help() -> None:
    """003-15: the refusal says when to come back, where one stood, and what share one had."""

    async def main() -> None:
        room = Class()
        loop, shared = asyncio.get_running_loop(), pool("p", 2, 100)
        running = await room.queue.lease(ticket("a"), ask(shared))
        await room.call(ticket("a"), ask(shared))
        before = loop.time()
        with pytest.raises(NoCapacity) as late:  # a call in flight might be given back, so it waits in hope
            await room.queue.lease(ticket("b", patience=5), ask(shared))
        assert loop.time() == pytest.approx(before + 5)
        assert late.value.wait is not None
        assert 54 <= late.value.wait <= 61
        assert late.value.place.position == 1
        assert late.value.share == 0
        assert room.queue.share("a") == 1
        await running.settle()
        before = loop.time()
        with pytest.raises(NoCapacity) as hopeless:
            await room.queue.lease(ticket("b", patience=5), ask(shared))
        assert loop.time() == before
        assert hopeless.value.wait == pytest.approx(55, abs=1)
        with pytest.raises(NoCapacity) as never:
            await room.queue.lease(ticket("b"), ask(shared, tokens=101))
        assert never.value.wait is None
        assert never.value.refusals[0].reason == "too_large"
        assert never.value.refusals[0].window == "t60000"

    run(main())


def test_a_student_runs_only_so_many_at_once() -> None:
    """004-35: the rest waits for its own, not for others'."""

    async def main() -> None:
        room = Class(per_student=2)
        loop, wide = asyncio.get_running_loop(), pool("p", 1000)
        start = loop.time()
        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(room.call(ticket("a"), ask(wide), seconds=10))
            await settle_down()
            group.create_task(room.call(ticket("b"), ask(wide), seconds=10))
        assert [at - start for at, who in room.served if who == "a"] == pytest.approx([0, 0, 10, 10, 20, 20])
        assert [at - start for at, who in room.served if who == "b"] == [0]
        holding = [await room.queue.lease(ticket("a"), ask(wide)) for _ in range(2)]
        with pytest.raises(NoCapacity) as capped:
            await room.queue.lease(ticket("a", patience=3), ask(wide))
        assert capped.value.at_cap
        for lease in holding:
            await lease.release()

    run(main())


def test_refunds_wake_who_waits() -> None:
    """000-21: an answer shorter than its estimate lets the next one go at once."""

    async def main() -> None:
        room = Class()
        loop, tokens = asyncio.get_running_loop(), pool("p", 100, 1000)
        lease = await room.queue.lease(ticket("a"), ask(tokens, tokens=800))
        waiting = asyncio.ensure_future(room.queue.lease(ticket("b"), ask(tokens, tokens=500)))
        await asyncio.sleep(7)
        assert not waiting.done()
        before = loop.time()
        await lease.settle(Amounts(1, 100, 50))
        second = await waiting
        assert loop.time() == before
        await second.release()

    run(main())


def test_a_fault_of_the_store_reaches_the_one_who_asked_and_the_line_goes_on() -> None:
    """002-06"""

    class Faulty(MemoryStore):
        broken = False

        async def reserve(self, draws: Sequence[Draw], now: float, *, lease: float) -> Granted | Refused:
            if self.broken and draws[0].need.input_tokens == 13:
                raise ConnectionError("gone")
            return await super().reserve(draws, now, lease=lease)

    async def main() -> None:
        store, shared = Faulty(), pool("p", 1)
        queue = FairQueue(store, wall_clock)
        first = await queue.lease(ticket("a"), ask(shared))
        unlucky = asyncio.ensure_future(queue.lease(ticket("b"), ask(shared, tokens=13)))
        lucky = asyncio.ensure_future(queue.lease(ticket("c"), ask(shared)))
        await settle_down()
        store.broken = True
        await first.release()
        with pytest.raises(ConnectionError):
            await unlucky
        await (await lucky).release()
        await queue.close()

    run(main())


arrivals = st.lists(
    st.tuples(
        st.sampled_from("abcde"),  # student
        st.integers(0, 90),  # seconds
        st.integers(0, 12),  # seconds of the provider
        st.integers(0, 60),  # tokens
        st.sampled_from([(0,), (1,), (0, 1), (1, 0), (2, 0)]),  # which pools may serve
        st.integers(0, 14),  # patience
        st.integers(0, 2),  # priority
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(arrivals)
def test_nobody_waits_while_there_is_capacity_for_them(
    plan: list[tuple[str, int, int, int, tuple[int, ...], int, int]],
) -> None:
    """000-52: at no moment would the store grant what somebody in line is waiting for; everybody gets an end."""

    async def main() -> None:
        room = Class(per_student=3)
        pools = [pool("x", 3, 100), pool("y", 5), pool("z", 2, 60)]

        async def one(
            who: str, at: int, seconds: int, tokens: int, eligible: tuple[int, ...], patience: int, prio: int
        ) -> None:
            await asyncio.sleep(at)
            draws = ask(*(pools[n] for n in eligible), tokens=tokens)
            await room.call(ticket(who, patience, priority=prio), draws, seconds)

        async def watch() -> None:
            while True:
                await settle_down()
                for waiter in list(room.queue._line):
                    if not waiter.done.done() and not room.queue._running.at_cap(waiter.ticket):
                        granted = await room.store.reserve(waiter.draws, wall_clock(), lease=1)
                        assert not isinstance(granted, Granted), f"{waiter} could have been served"
                await asyncio.sleep(0.25)

        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch())
            await asyncio.gather(*(one(*call) for call in plan))
            watching.cancel()
        assert len(room.served) + len(room.refused) == len(plan)
        assert room.queue.waiting == 0
        assert not room.queue.running
        assert not any(row.reserved for row in await room.store.snapshot(pools, wall_clock()))

    run(main())


def test_the_line_tells_who_waits_and_how_long() -> None:
    """004-35: the next first, whoever came when."""

    async def main() -> None:
        room = Class()
        shared = pool("p", 1)
        async with asyncio.TaskGroup() as group:
            group.create_task(room.call(ticket("ada", 100), ask(shared)))
            await asyncio.sleep(1)
            group.create_task(room.call(ticket("ada", 100), ask(shared)))
            await asyncio.sleep(10)
            group.create_task(room.call(ticket("ben", 100), ask(shared)))
            await asyncio.sleep(4)
            assert [(one.student, round(one.waited)) for one in room.queue.line()] == [("ben", 4), ("ada", 14)]
        assert room.queue.line() == ()

    run(main())
