"""What the provider sees: whichever way it counts, never one request over its limit."""

import heapq
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lumni.quota.clockwork import calendar_resets, drops_at
from lumni.quota.memory import MemoryStore
from lumni.quota.model import DAY, MONTH, TRANSIT_MS, Amounts, Correction, Draw, Granted, Pool, Style, Window

PERIOD = 60.0


@dataclass
class Provider:
    """Counts requests as it receives them, its own way; ``offset`` is where its fixed windows begin."""

    style: str
    limit: int
    offset: float = 0.0
    seen: list[float] = field(default_factory=list)

    def receive(self, at: float) -> bool:
        """Whether it is within the limit."""
        self.seen.append(at)
        if self.style == "sliding":
            return sum(t > at - PERIOD for t in self.seen) <= self.limit
        if self.style == "fixed":
            begin = (at - self.offset) // PERIOD * PERIOD + self.offset
            return sum(t >= begin for t in self.seen) <= self.limit
        bucket, last = float(self.limit), self.seen[0]
        for t in self.seen:
            bucket = min(self.limit, bucket + (t - last) * self.limit / PERIOD) - 1
            last = t
        return bucket >= -1e-6


gaps = st.floats(0, 15) | st.sampled_from([0.0, 0.0, 0.1, 0.3, 29.5, 59.5, 59.9, 60.0])
ways = st.floats(0.001, TRANSIT_MS / 1000) | st.sampled_from([0.001, TRANSIT_MS / 1000])
delays = st.floats(0.001, 20) | st.just(0.001)


@settings(max_examples=300, deadline=None)
@given(
    style=st.sampled_from(["sliding", "fixed", "refilling"]),
    same=st.booleans(),
    limit=st.integers(1, 6),
    offset=st.floats(0, 59) | st.just(0.0),
    skew=st.floats(-0.4, 0.4),
    calls=st.lists(st.tuples(gaps, ways, delays), min_size=1, max_size=60),
)
async def test_no_request_over_a_known_limit(
    style: str, *, same: bool, limit: int, offset: float, skew: float, calls: list[tuple[float, float, float]]
) -> None:
    """000-21: with the provider's own style, or not knowing it; whatever the network does in a second."""
    window = Window("requests", PERIOD, limit)
    if same and style != "sliding":
        window = Window("requests", PERIOD, limit, "fixed" if style == "fixed" else "refilling", anchor=offset)
    store, provider = MemoryStore(), Provider(style, limit, offset)
    draws = [Draw("d", (Pool("p", (window,)),))]
    now, events = 0.0, list[tuple[float, int, str, object, float]]()
    for number, (gap, there, back) in enumerate(calls):
        now += gap
        while events and events[0][0] <= now:
            at, _, what, reservation, sent = heapq.heappop(events)
            if what == "arrive":
                assert provider.receive(at + skew), f"over {limit} at {at}"
            else:
                await store.settle(reservation, at, counted_ago=at - sent)  # type: ignore[arg-type]
        answer = await store.reserve(draws, now, lease=600)
        if isinstance(answer, Granted):
            # the answer's beginning is the latest that the provider can have counted the request
            heapq.heappush(events, (now + there, number, "arrive", None, 0.0))
            heapq.heappush(events, (now + there + back, number, "settle", answer.reservation, now + there + back / 2))


@pytest.mark.parametrize("skew", [-0.4, 0.4])
async def test_calls_around_a_reset_count_on_both_sides_of_it(skew: float) -> None:
    """000-22: a fixed window is neither overdrawn before nor after its reset when the provider's clock differs."""
    store, provider = MemoryStore(), Provider("fixed", 2)
    draws = [Draw("d", (Pool("p", (Window("requests", PERIOD, 2, "fixed"),)),))]
    granted = []
    for tenth in range(580, 640):
        if isinstance(await store.reserve(draws, tenth / 10, lease=0), Granted):
            granted.append(tenth)
            assert provider.receive(tenth / 10 + skew)
    assert granted == [580, 580 + 1, 605, 606]


async def test_a_full_window_is_used_to_the_last_request() -> None:
    """000-22: each style gives back exactly when its provider does."""
    for window, second_batch in (
        (Window("requests", 60, 5), 60.0),
        (Window("requests", 60, 5, "fixed", anchor=0, guard=0), 20.0),
        (Window("requests", 60, 5, "refilling"), 12.0),
    ):
        store, draws = MemoryStore(), [Draw("d", (Pool("p", (window,)),))]
        start = 1_800_000_040.0  # 40 s into a minute
        for _ in range(5):
            assert isinstance(await store.reserve(draws, start, lease=0), Granted)
        assert not isinstance(await store.reserve(draws, start + second_batch - 0.001, lease=0), Granted)
        assert isinstance(await store.reserve(draws, start + second_batch, lease=0), Granted)


async def test_a_crash_leaks_no_reservation_longer_than_its_lease() -> None:
    """000-21: what nobody settles counts as made when it was reserved, so a minute's window is whole again in time."""
    store = MemoryStore()
    pools = (Pool("p", (Window("tokens", 60, 20), Window("tokens", DAY, 100))),)
    draws = [Draw("d", pools, Amounts(1, 5, 5))]
    for _ in range(2):
        assert isinstance(await store.reserve(draws, 0, lease=90), Granted)
    refused = await store.reserve(draws, 60, lease=90)
    assert not isinstance(refused, Granted)
    assert refused.wait == 30
    assert isinstance(await store.reserve(draws, 90, lease=90), Granted)
    minute, day = await store.snapshot(pools, 90)
    assert (minute.used, minute.reserved, day.used, day.reserved) == (0, 10, 20, 10)


async def test_a_request_counts_from_its_arrival_however_long_its_answer_takes() -> None:
    """000-22: a second's window has room again a second after it, though no answer is there; what it took is known."""
    store, pool = MemoryStore(), Pool("p", (Window("requests", 1, 1), Window("tokens", 60, 100)))
    draws = [Draw("d", (pool,), Amounts(1, 10, 10))]
    first = await store.reserve(draws, 100, lease=90)
    assert isinstance(first, Granted)
    refused = await store.reserve(draws, 101, lease=90)
    assert not isinstance(refused, Granted)
    assert refused.wait == 0.1
    assert isinstance(await store.reserve(draws, 101.1, lease=90), Granted)
    await store.settle(first.reservation, 102.5, used=Amounts(1, 3, 3))
    second, tokens = await store.snapshot([pool], 102.5)
    assert (second.used, second.reserved, tokens.used, tokens.reserved) == (0, 0, 6, 20)


@pytest.mark.parametrize("style", ["sliding", "fixed", "refilling"])
async def test_what_a_provider_did_not_count_is_given_back_after_it_has_landed(style: Style) -> None:
    """000-21: a refusal that comes late, or a call that was never sent."""
    store, pool = MemoryStore(), Pool("p", (Window("requests", 3600, 2, style),))
    answers = [await store.reserve([Draw("d", (pool,))], 1, lease=90) for _ in range(2)]
    ours, other = [answer.reservation for answer in answers if isinstance(answer, Granted)]
    assert [row.used for row in await store.snapshot([pool], 11)] == [2]
    assert await store.settle(ours, 11, used=Amounts(0))
    assert await store.release(other, 11)
    assert [(row.used, row.reserved) for row in await store.snapshot([pool], 11)] == [(0, 0)]


async def test_a_refusal_closes_its_window_until_the_time_it_named() -> None:
    """000-21, 000-22: and the day's refusal without a time until the calendar's reset, in the provider's zone."""
    pacific = Window("requests", DAY, 20, "fixed", "catalogue", "America/Los_Angeles")
    pool, store = Pool("gemini", (Window("requests", 60, 5), pacific)), MemoryStore()
    noon = datetime(2026, 11, 20, 20, tzinfo=UTC).timestamp()  # at noon in Los Angeles
    draws = [Draw("d", (pool,))]
    await store.learn(pool, [Correction("requests", 60, 5, reset_in=34, refused=True)], noon)
    refused = await store.reserve(draws, noon, lease=0)
    assert not isinstance(refused, Granted)
    assert (refused.wait, refused.refusals[0].reason) == (34, "blocked")
    assert isinstance(await store.reserve(draws, noon + 34, lease=0), Granted)
    await store.learn(pool, [Correction("requests", DAY, 20, refused=True)], noon + 40)
    refused = await store.reserve(draws, noon + 40, lease=0)
    assert not isinstance(refused, Granted)
    assert refused.wait == pytest.approx(12 * 3600 - 40, abs=1)
    assert isinstance(await store.reserve(draws, noon + 12 * 3600 + 1, lease=0), Granted)


async def test_an_owners_limit_is_a_ceiling_and_a_catalogues_is_a_guess() -> None:
    """000-23: learning may raise what the catalogue says, and only lower what the owner set."""
    for provenance, expected in (("configured", (10, 3)), ("catalogue", (60, 3))):
        store = MemoryStore()
        pool = Pool("p", (Window("requests", 60, 10, provenance=provenance),))  # type: ignore[arg-type]
        limits = []
        for said in (60, 3):
            await store.learn(pool, [Correction("requests", 60, said)], 0)
            limits.append((await store.snapshot([pool], 0))[0].limit)
        assert tuple(limits) == expected


async def test_somebody_elses_use_of_the_account_is_learned_from_headers() -> None:
    """000-20: remaining lowers what is left, our calls in flight don't count twice, old news changes nothing."""
    pool, store = Pool("p", (Window("requests", 60, 10),)), MemoryStore()
    draws = [Draw("d", (pool,), Amounts())]
    held = [await store.reserve(draws, 0, lease=60) for _ in range(3)]
    assert isinstance(held[0], Granted)
    await store.settle(held[0].reservation, 0.9, corrections=[Correction("requests", 60, 10, 7, 59)])
    assert (await store.snapshot([pool], 0.9))[0].left == 7
    await store.learn(pool, [Correction("requests", 60, 10, 4, 20.1)], 0.9)
    row = (await store.snapshot([pool], 0.9))[0]
    assert (row.left, row.used, row.reserved) == (4, 4, 2)
    await store.learn(pool, [Correction("requests", 60, 10, 9, 59)], 1)
    assert (await store.snapshot([pool], 1))[0].left == 4
    assert (await store.snapshot([pool], 21))[0].left == 7


@pytest.mark.parametrize(
    ("zone", "period", "now", "reset"),
    [
        ("America/Los_Angeles", DAY, "2026-03-08T12:00:00+00:00", "2026-03-09T07:00:00+00:00"),  # 23 hours long
        ("America/Los_Angeles", DAY, "2026-11-01T12:00:00+00:00", "2026-11-02T08:00:00+00:00"),  # 25 hours long
        ("Asia/Kolkata", DAY, "2026-06-01T18:29:59+00:00", "2026-06-01T18:30:00+00:00"),
        ("", MONTH, "2026-02-15T00:00:00+00:00", "2026-03-01T00:00:00+00:00"),
        ("Europe/Berlin", MONTH, "2026-12-31T22:59:59+00:00", "2026-12-31T23:00:00+00:00"),
    ],
)
def test_calendars(zone: str, period: int, now: str, reset: str) -> None:
    """000-22: days and months reset by the provider's calendar, daylight saving time included."""
    window = Window("requests", period, 1, "fixed", zone=zone, guard=0)
    at = int(datetime.fromisoformat(now).timestamp() * 1000)
    resets = calendar_resets(window, at)
    assert resets[1] <= at < resets[2]
    assert drops_at(window, at, resets) == datetime.fromisoformat(reset).timestamp() * 1000


async def test_what_remained_before_a_window_moved_on_is_no_use_of_others() -> None:
    """000-22: the provider had 2 of 2 taken when it answered; one has left since, so its word is too old."""
    pool, store = Pool("p", (Window("requests", 60, 2),)), MemoryStore()
    draws = [Draw("d", (pool,))]
    assert isinstance(await store.reserve(draws, 0.5, lease=0), Granted)
    last = await store.reserve(draws, 60, lease=60)
    assert isinstance(last, Granted)
    await store.settle(last.reservation, 61, corrections=[Correction("requests", 60, 2, 0, 60)])
    assert (await store.snapshot([pool], 61))[0].left == 1
    another = await store.reserve(draws, 62, lease=60)
    assert isinstance(another, Granted)
    await store.settle(another.reservation, 63, corrections=[Correction("requests", 60, 2, 0, 60)])
    assert (await store.snapshot([pool], 63))[0].left == 0
