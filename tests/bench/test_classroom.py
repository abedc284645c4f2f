"""The class: is it the same for all, is the clairvoyant's bound one, and does the harness count right?"""

import json
import random
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.classroom import client, figures, lesson, rush, trace
from bench.classroom.accounts import ACCOUNTS, lab_limits, with_windows
from bench.classroom.clairvoyant import Need, Supply, bound, schedule
from bench.classroom.client import BROKEN, LEFT, Outcome
from bench.classroom.trace import GREEDY, QUICK, class_trace
from lumni.lab.limits import Limit, Pool
from lumni.lab.state import check_limits

REPOSITORY = Path(__file__).parents[2]


def test_a_class_is_the_same_for_every_gateway() -> None:
    """Show 3: the same seed gives the same requests, another seed others."""
    first = class_trace(QUICK, 1)
    assert first == class_trace(QUICK, 1)
    assert first != class_trace(QUICK, 2)
    assert [ask.number for ask in first] == list(range(1, len(first) + 1))
    assert len({ask.student for ask in first}) == QUICK.students + 1
    assert len({ask.text for ask in first if ask.at < QUICK.burst}) > QUICK.students / 2


def test_every_student_begins_in_the_burst_and_the_greedy_one_asks_most() -> None:
    """Show 3: bursts, and one greedy student."""
    asks = class_trace(QUICK, 3)
    begun = {ask.student for ask in asks if ask.at < QUICK.burst}
    counts = {student: sum(ask.student == student for ask in asks) for student in begun}
    assert len(begun) == QUICK.students + 1
    assert max(counts, key=lambda student: counts[student]) == GREEDY
    assert counts[GREEDY] == QUICK.lanes * QUICK.seconds / QUICK.greedy_every


def test_the_lab_takes_the_accounts_limits() -> None:
    """Show 3: what is bounded is what the lab enforces: minute, day, tokens, shared ones."""
    limits = lab_limits(ACCOUNTS)
    assert check_limits(limits) == limits
    assert limits["openrouter"]["shared"]["rpd"] == 50
    assert len({account.name for account in ACCOUNTS}) == 8


# Tiny instances: whole seconds, so that trying every whole second tries everything (capacity frees on whole seconds,
# refilling windows apart, which gain only by waiting for one).
_LIMITS = st.builds(
    Limit,
    unit=st.sampled_from(["requests", "tokens"]),
    period=st.sampled_from(["second", "second", "minute"]),
    amount=st.integers(1, 4),
    kind=st.sampled_from(["fixed", "sliding", "refilling"]),
)
_SUPPLIES = st.lists(
    st.builds(Supply, limits=st.lists(_LIMITS, min_size=1, max_size=2).map(tuple), prompt_only=st.booleans()),
    min_size=1,
    max_size=2,
)
_NEEDS = st.lists(
    st.builds(
        lambda at, patience, prompt, answer: Need(100.0 + at, 100.0 + at + patience, prompt, answer),
        st.integers(0, 3),
        st.integers(0, 2),
        st.integers(1, 3),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=5,
)


def _best(needs: Sequence[Need], supplies: Sequence[Supply]) -> int:
    """The most that any plan serves, by trying every moment and supply for each request, on the lab's own meters."""
    moments = range(100, 100 + 6)

    @cache
    def admitted(supply: int, calls: tuple[tuple[int, int], ...]) -> bool:
        pool = Pool(supplies[supply].limits)
        return all(pool.admit(tokens, float(moment)) is None for moment, tokens in calls)

    def rest(number: int, plans: tuple[tuple[tuple[int, int], ...], ...]) -> int:
        if number == len(needs):
            return 0
        need, found = needs[number], rest(number + 1, plans)
        for moment in moments:
            for index, supply in enumerate(supplies):
                if not need.arrives <= moment <= need.leaves or found == len(needs) - number:
                    continue
                calls = tuple(sorted((*plans[index], (moment, need.tokens(prompt_only=supply.prompt_only)))))
                if admitted(index, calls):
                    found = max(found, 1 + rest(number + 1, (*plans[:index], calls, *plans[index + 1 :])))
        return found

    return rest(0, tuple(() for _ in supplies))


@settings(max_examples=150, deadline=None)
@given(needs=_NEEDS, supplies=_SUPPLIES)
def test_nobody_serves_more_than_the_clairvoyant_bound(needs: list[Need], supplies: list[Supply]) -> None:
    """Show 3: brute force over all plans never beats the bound, and the plan never beats brute force."""
    best = _best(needs, supplies)
    assert best <= bound(needs, supplies)
    assert schedule(needs, supplies) <= bound(needs, supplies)


def test_the_bound_is_reached_where_one_window_rules() -> None:
    """Show 3: a bound that is never reached would flatter nobody, but say nothing either."""
    fixed = Supply((Limit("requests", "second", 2, "fixed"),))
    burst = [Need(100.0, 101.0, 5, 5)] * 7
    assert bound(burst, [fixed]) == schedule(burst, [fixed]) == _best(burst, [fixed]) == 4
    tokens = Supply((Limit("tokens", "minute", 30, "sliding"),))
    sizes = [Need(100.0, 120.0, size, 0) for size in (20, 10, 9, 8, 30)]
    assert bound(sizes, [tokens]) == schedule(sizes, [tokens]) == 3


def test_the_bound_is_near_what_a_plan_serves_in_the_real_class() -> None:
    """Show 3: most and fewest of a clairvoyant differ by no more than one in a hundred, also where not all fit."""
    from bench.classroom.clairvoyant import needs

    crowd = trace.Shape(students=60, seconds=18.0, burst=3.0, think=6.0, lanes=20, greedy_every=2.0, patience=15.0)
    asks = needs(class_trace(crowd, 1), 1_800_000_040.0)
    supplies = [Supply.of(account) for account in ACCOUNTS]
    most, fewest = bound(asks, supplies), schedule(asks, supplies)
    assert most < len(asks)
    assert 0.99 * most <= fewest <= most


def test_tokens_that_cannot_be_bounded_bound_nothing() -> None:
    """Show 3: reserved tokens in a sliding window would make the bound wrong, so that they are left out."""
    sliding = [Supply.of(account) for account in with_windows(ACCOUNTS, "sliding")]
    own = [Supply.of(account) for account in ACCOUNTS]
    groq = next(index for index, account in enumerate(ACCOUNTS) if account.profile == "groq")
    assert sliding[groq].room("tokens", 0, 60) == float("inf")
    assert sliding[groq].room("requests", 0, 60) == 30
    assert own[groq].room("tokens", 0, 60) == 6_000 * 2 + 200


def test_what_each_is_entitled_to_is_max_min_fair() -> None:
    """Show 3: small wishes are met whole, the greedy one gets what is left."""
    assert figures.max_min({"a": 2, "b": 4, GREEDY: 100}, 30) == {"a": 2, "b": 4, GREEDY: 24}
    assert figures.max_min({"a": 10, "b": 10}, 10) == {"a": 5, "b": 5}
    assert figures.satisfied({"a": 2, GREEDY: 100}, {"a": 1, GREEDY: 14}, 30) == {"a": 0.5, GREEDY: 0.5}
    assert figures.jain([1.0, 1.0, 1.0]) == pytest.approx(1.0)
    assert figures.jain([1.0, 0.0]) == pytest.approx(0.5)


def test_figures_count_each_request_once() -> None:
    """Show 3: served, refused by kind, the worst student, and upstream refusals in parts of calls."""
    told = [
        Outcome(1, "ada", 200, 1.0, (200,)),
        Outcome(2, "ada", 429, 2.0, (429, 429, 429)),
        Outcome(3, "bob", 200, 3.0, (503, 200)),
        Outcome(4, GREEDY, LEFT, 9.0, ()),
        Outcome(5, GREEDY, BROKEN, 9.0, (BROKEN,)),
    ]
    found = figures.figures(told, {"totals": {"calls": 8, "over_limit": 2, "faults": 1}}, bound=5, plan=5)
    assert (found.asked, found.served, found.tries) == (5, 2, 7)
    assert found.refused == {"429": 1, "left": 1, "broken": 1}
    assert found.of_clairvoyant == 0.4
    assert found.upstream_over_limit_share == 0.25
    assert found.worst_student == 0.5
    assert found.greedy == 0.0
    assert (found.wait_p50, found.wait_max) == (1.0, 3.0)


@pytest.mark.parametrize(
    ("tries", "status", "headers", "least", "most"),
    [
        (0, 429, {}, 0.375, 0.5),
        (1, 503, {}, 0.75, 1.0),
        (0, 429, {"retry-after": "7"}, 7.0, 7.0),
        (0, 429, {"retry-after-ms": "250", "retry-after": "1"}, 0.25, 0.25),
        (0, BROKEN, {}, 0.375, 0.5),
        (0, 400, {"x-should-retry": "true"}, 0.375, 0.5),
    ],
)
def test_students_ask_again_as_openai_s_sdk_does(
    tries: int, status: int, headers: dict[str, str], least: float, most: float
) -> None:
    """Show 3: all gateways meet the client that students use."""
    pause = client.pause_before(tries, status, httpx.Headers(headers), random.Random(1))
    assert pause is not None
    assert least <= pause <= most


@pytest.mark.parametrize(
    ("tries", "status", "headers"),
    [
        (0, 200, {}),
        (0, 400, {}),
        (2, 429, {}),
        (0, 429, {"x-should-retry": "false"}),
        (0, 429, {"retry-after": "3600"}),
    ],
)
def test_students_stop_asking_as_openai_s_sdk_does(tries: int, status: int, headers: dict[str, str]) -> None:
    """Show 3: served, refused for good, tried often enough, or told a time that is too far."""
    assert client.pause_before(tries, status, httpx.Headers(headers), random.Random(1)) is None


def test_only_whole_answers_count_as_served() -> None:
    """Show 3: an empty answer or half a stream is none."""
    chunk = 'data: {"choices": [{"delta": {"content": "Hi"}, "finish_reason": null}]}\n\n'
    end = 'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
    assert client.is_whole('{"choices": [{"message": {"content": "Hi"}}]}', stream=False)
    assert not client.is_whole('{"choices": [{"message": {"content": ""}}]}', stream=False)
    assert not client.is_whole('{"error": {}}', stream=False)
    assert client.is_whole(chunk + end + "data: [DONE]\n\n", stream=True)
    assert not client.is_whole(chunk + "data: [DONE]\n\n", stream=True)
    assert not client.is_whole(chunk + end, stream=True)


def test_a_class_starts_at_its_second_of_the_minute() -> None:
    """Show 3: fixed windows begin with the minute, so a replay begins at the same second."""
    assert lesson.next_start(1_800_000_000.0, 5) == 1_800_000_005.0
    assert lesson.next_start(1_800_000_004.5, 5) == 1_800_000_065.0
    assert lesson.next_start(1_800_000_000.25, None) == 1_800_000_001.25


def test_the_class_is_held_by_lumni(tmp_path: Path) -> None:
    """Show 3: one run gives figures of a real gateway before real providers, and all of it as JSON."""
    command = [sys.executable, "-m", "bench.classroom", "--smoke", "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.glob("classroom-*.json")
    (held,) = json.loads(path.read_text())["lessons"]
    assert held["figures"]["served"] == held["figures"]["asked"] == len(held["outcomes"]) > 10
    assert held["lab"]["totals"]["calls"] == held["figures"]["upstream_calls"] >= held["figures"]["served"]
    assert "rpm: 30" in held["configuration"]


def test_room_that_nobody_used_is_noticed() -> None:
    """Show 2: an account that would have served one more is told, whether requests or tokens limit it."""

    def left(requests: int, tokens: int) -> frozenset[str]:
        def told(ok: int, prompt: int) -> dict[str, Any]:
            return {"models": {"any": {"ok": ok, "prompt_tokens": prompt, "completion_tokens": 0}}}

        state = {"fireworks": {"minute": told(requests, 9_999)}, "together": {"tokens": told(9_999, tokens)}}
        return rush.with_room(rush.EACH_KIND[:2], {"profiles": state}, need=100)

    assert left(30, 5_901) == frozenset()
    assert left(29, 5_901) == {"minute"}
    assert left(30, 5_900) == {"tokens"}
    assert rush.with_room(rush.EACH_KIND[:2], {"profiles": {}}, need=100) == {"minute", "tokens"}
