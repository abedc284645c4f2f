"""What one student may ask for: told exactly, counted for the right person, the same on every surface."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from httpx import Response

from tests.gateway.provider import Provider, provider
from tests.gateway.stage import Stage, entry, model_list, stage

HEADERS = ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests")


@pytest.fixture
async def provided() -> AsyncIterator[Provider]:
    async with provider() as made:
        yield made


@pytest.fixture
async def lumni(provided: Provider, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, model_list(entry("all", provided.base, "one", rpm=100_000))) as made:
        yield made


def told(answer: Response) -> tuple[str, ...]:
    return tuple(answer.headers[name] for name in HEADERS)


async def windows(lumni: Stage, user: str = "me", who: str = "ada") -> dict[str, tuple[int, int]]:
    """(limit, used) by window, of ``GET /v1/rate-limit/{user}``."""
    answer = await lumni.get(f"/v1/rate-limit/{user}", who)
    assert answer.status_code == 200, answer.text
    return {row["window"]: (row["limit"], row["used"]) for row in answer.json()["windows"]}


async def spend(lumni: Stage, times: int, who: str = "ada", **body: Any) -> list[int]:
    return [(await lumni.ask(who, **body)).status_code for _ in range(times)]


async def test_the_eleventh_request_in_a_minute_is_refused(lumni: Stage, provided: Provider) -> None:
    """003-28, 003-15: it reaches no provider, and the headers say exactly what is left and when it is back."""
    for number in range(1, 11):
        answer = await lumni.ask()
        assert answer.status_code == 200
        assert told(answer) == ("10", str(10 - number), "60s")
    lumni.clock.now += 12.5
    answer = await lumni.ask()
    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "rate_limit_exceeded"
    assert answer.json()["error"]["type"] == "rate_limit_error"
    assert answer.headers["retry-after"] == "48"
    assert answer.headers["x-should-retry"] == "true"
    assert told(answer) == ("10", "0", "47.5s")
    assert provided.calls["chat"] == 10
    lumni.clock.now += 47.4
    assert (await lumni.ask()).status_code == 429
    lumni.clock.now += 0.2
    assert (await lumni.ask()).status_code == 200


async def test_the_minute_slides(lumni: Stage) -> None:
    """003-03: five early and five late: not ten more at the turn of a clock's minute."""
    assert await spend(lumni, 5) == [200] * 5
    lumni.clock.now += 50
    assert await spend(lumni, 6) == [200] * 5 + [429]
    lumni.clock.now += 11
    assert await spend(lumni, 6) == [200] * 5 + [429]


async def test_the_hundred_and_first_request_in_an_hour_is_refused(lumni: Stage) -> None:
    """003-29"""
    for _ in range(10):
        assert await spend(lumni, 10) == [200] * 10
        lumni.clock.now += 61
    answer = await lumni.ask()
    assert answer.status_code == 429
    assert told(answer)[:2] == ("100", "0")
    # The first ten leave the hour together; an hour's log rounds up to six seconds.
    assert 2990 <= int(answer.headers["retry-after"]) <= 2997
    assert answer.headers["x-should-retry"] == "false"
    lumni.clock.now += int(answer.headers["retry-after"])
    assert (await lumni.ask()).status_code == 200


async def test_a_refused_request_costs_nothing(lumni: Stage) -> None:
    """003-15: else whoever asks again in vain would never be let in."""
    await spend(lumni, 10)
    for _ in range(3):
        lumni.clock.now += 15
        assert await spend(lumni, 3) == [429] * 3
    lumni.clock.now += 16
    assert await spend(lumni, 10) == [200] * 10


async def test_everybody_has_limits_of_their_own(lumni: Stage) -> None:
    """003-28: of a user."""
    await spend(lumni, 10)
    assert (await lumni.ask("ben")).status_code == 200


async def test_all_surfaces_share_one_limit(lumni: Stage) -> None:
    """003-28: there is no way around it."""
    await spend(lumni, 9)
    messages = [{"role": "user", "content": "hello"}]
    assert (await lumni.post("/completion", messages=messages, model="all")).status_code == 200
    assert (await lumni.post("/completion", messages=messages, model="all")).status_code == 429


async def test_the_state_of_one_s_limits_is_told_without_counting(lumni: Stage) -> None:
    """003-22"""
    await spend(lumni, 3)
    expected = {"10 requests a minute": (10, 3), "100 requests an hour": (100, 3)}
    assert await windows(lumni) == expected
    assert await windows(lumni, "ada") == expected
    body = (await lumni.get("/v1/rate-limit/me")).json()
    assert (body["user"], body["tier"], body["waiting"]) == ("me", "student", None)
    minute = next(row for row in body["windows"] if row["limit"] == 10)
    assert (minute["remaining"], minute["reset_in"]) == (7, 60)


async def test_only_teachers_and_admins_see_the_limits_of_others(lumni: Stage) -> None:
    """003-22, 003-13"""
    await spend(lumni, 2)
    assert (await lumni.get("/v1/rate-limit/ada", "ben")).status_code == 403
    assert (await lumni.client.get("/v1/rate-limit/ada")).status_code == 401
    for who in ("teacher", "admin"):
        assert (await windows(lumni, "ada", who))["10 requests a minute"] == (10, 2), who


async def test_labels_of_a_shared_key_count_separately(lumni: Stage) -> None:
    """003-28, 003-22: who has a key of her own can't hide behind labels."""
    assert await spend(lumni, 11, "class", user="dora") == [200] * 10 + [429]
    assert await spend(lumni, 1, "class", user="emil") == [200]
    assert (await windows(lumni, "dora", "class"))["10 requests a minute"] == (10, 10)
    assert (await windows(lumni, "emil", "class"))["10 requests a minute"] == (10, 1)
    assert (await windows(lumni, "me", "class"))["10 requests a minute"] == (10, 0)
    assert await spend(lumni, 11, "ada", user="someone else") == [200] * 10 + [429]


async def test_the_admin_is_unlimited_but_not_her_labels(lumni: Stage) -> None:
    """003-13, 002-08"""
    assert await spend(lumni, 30, "admin") == [200] * 30
    answer = await lumni.ask("admin")
    assert not [name for name in HEADERS if name in answer.headers]
    assert (await lumni.get("/v1/rate-limit/me", "admin")).json()["windows"] == []
    assert await spend(lumni, 11, "admin", user="fay") == [200] * 10 + [429]


async def test_a_bucket_bounds_bursts_and_refills(provided: Provider, tmp_path: Path) -> None:
    """002-08, 002-22: five at once, then one every two seconds."""
    settings = {
        "default_rate_limit_capacity": 5,
        "default_rate_limit_refill_rate": 0.5,
        "max_requests_per_minute": 0,
        "max_requests_per_hour": 0,
    }
    async with stage(tmp_path, model_list(entry("all", provided.base, "one", rpm=9999)), **settings) as lumni:
        assert await spend(lumni, 6) == [200] * 5 + [429]
        refused = await lumni.ask()
        assert refused.headers["retry-after"] == "2"
        assert "5 at once, and 0.5 a second from then on" in refused.json()["error"]["message"]
        lumni.clock.now += 2
        assert await spend(lumni, 2) == [200, 429]
        lumni.clock.now += 100
        assert await spend(lumni, 6) == [200] * 5 + [429]


async def test_tiers_give_roles_other_limits(provided: Provider, tmp_path: Path) -> None:
    """002-08: a teacher more, an admin less than nothing, and what a tier leaves out is as for students."""
    tiers = {"teacher": {"per_minute": 20}, "admin": {"per_minute": 2}}
    listed = model_list(entry("all", provided.base, "one", rpm=9999))
    async with stage(tmp_path, listed, limit_tiers=tiers) as lumni:
        assert await spend(lumni, 21, "teacher") == [200] * 20 + [429]
        assert await spend(lumni, 3, "admin") == [200] * 2 + [429]
        assert await spend(lumni, 11, "ada") == [200] * 10 + [429]
        assert (await windows(lumni, "me", "teacher"))["100 requests an hour"] == (100, 20)
