"""Budgets on the request's way, over both databases: what is held, what is told, and when they begin anew."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lumni.budget import Balance, Budget
from lumni.catalogue.model import Capabilities, Deployment, Price
from lumni.classroom import Assignment, Course, Rules
from lumni.errors import BudgetExhausted, InvalidRequest, LumniError, RateLimited
from lumni.gateway.accounts import TEMPLATE_TOKENS
from lumni.gateway.budgets import Budgets, Purse
from lumni.money import NanoUSD
from lumni.quota.estimate import size_of
from lumni.storage.database import Database
from lumni.types import Alert, ChatRequest, Outcome, Principal
from tests.intelligence.catalogues import deployment
from tests.storage.samples import record

NOON = datetime(2026, 9, 2, 10, tzinfo=UTC)  # a Wednesday, noon in Berlin
ADA = Principal("k-ada", student="ada", course="cs1")
BEN = Principal("k-ben", student="ben", course="cs1")
PRICED = deployment("priced", price=Price(NanoUSD(1_000_000_000), NanoUSD(4_000_000_000)))  # 1,000 and 4,000 a token
DEAR = deployment("dear", price=Price(NanoUSD(5_000_000_000), NanoUSD(3_000_000_000)))
UNPRICED = deployment("unpriced", price=None)
COURSE = Course("cs1", "cs1", NOON - timedelta(days=90), time_zone="Europe/Berlin")


@dataclass
class Desk:
    """Budgets with rules that a test sets, and the alerts that they raised."""

    database: Database
    rules: Rules = field(default_factory=lambda: Rules(COURSE))
    alerts: list[Alert] = field(default_factory=list)
    now: datetime = NOON

    def __post_init__(self) -> None:
        self.budgets = Budgets(self.database.ledger, lambda course: self.rules if course else None, self.clock, [self])

    def clock(self) -> datetime:
        return self.now

    def notify(self, alert: Alert) -> None:
        self.alerts.append(alert)

    async def give(self, **values: Any) -> Budget:
        made = Budget(
            **{"id": f"b-{len(self.rules.budgets)}", "course": "cs1", "created_at": COURSE.created_at, **values}
        )
        await self.database.rules.add_budget(made)
        self.rules = replace(self.rules, budgets=(*self.rules.budgets, made))
        return made

    def request(self, patience: float = 30.0, **more: Any) -> ChatRequest:
        now = asyncio.get_running_loop().time()
        body = {"model": "auto", "messages": [{"role": "user", "content": "x" * 88}], "max_tokens": 10} | more
        return ChatRequest("r", body, "auto", self.now, now, now + patience)

    async def reserve(
        self, request: ChatRequest, who: Principal, candidates: Sequence[Deployment]
    ) -> tuple[Purse | None, Sequence[Deployment]]:
        return await self.budgets.reserve(request, self.budgets.accounts(request, who), candidates)

    def economise(self, request: ChatRequest, who: Principal) -> ChatRequest:
        return self.budgets.economise(request, self.budgets.accounts(request, who))

    async def spend(self, who: Principal = ADA, *, tokens: tuple[int, int] = (50, 10), **more: Any) -> None:
        """One request that used so many tokens, at PRICED's price."""
        purse, _ = await self.reserve(replace(self.request(), **more), who, [PRICED])
        assert purse is not None
        cost = 1000 * tokens[0] + 4000 * tokens[1]
        purse.settle(record(prompt_tokens=tokens[0], completion_tokens=tokens[1], list_cost=cost, deployment="priced"))
        await self.budgets.ledger.settled()

    async def refused(self, who: Principal = ADA, **more: Any) -> LumniError:
        with pytest.raises(LumniError) as caught:
            await self.reserve(replace(self.request(patience=0.4), **more), who, [PRICED])
        return caught.value


@pytest.fixture
async def desk(database: Database) -> AsyncIterator[Desk]:
    await database.people.add_course(COURSE)
    made = Desk(database)
    yield made
    await made.budgets.ledger.close()


async def test_the_dearest_that_may_answer_is_held(desk: Desk) -> None:
    """000-61: each byte of the prompt as a token, at the highest price of any candidate; what is left is given back."""
    await desk.give(unit="usd", amount=10_000_000)
    purse, able = await desk.reserve(desk.request(), ADA, [PRICED, UNPRICED, DEAR])
    assert able == [PRICED, DEAR]
    balance = Balance("b-0", "cs1", "total")
    held = (await desk.database.ledger.states("b-0"))[balance]
    prompt = size_of(desk.request().body) + TEMPLATE_TOKENS
    assert prompt > 88 + 16
    assert held.reserved == prompt * 5000 + 10 * 4000
    assert purse is not None
    purse.settle(record(list_cost=123_456))
    await desk.budgets.ledger.settled()
    assert (await desk.database.ledger.states("b-0"))[balance] == (123_456, 0, 0)


async def test_what_has_no_price_is_not_free(desk: Desk) -> None:
    """003-32: a budget in dollars lets nobody ask what nobody knows the price of; one in tokens does."""
    await desk.give(unit="usd", amount=10**12)
    with pytest.raises(InvalidRequest) as caught:
        await desk.reserve(desk.request(), ADA, [UNPRICED])
    assert caught.value.code == "unpriced_model"
    desk.rules = Rules(COURSE)
    await desk.give(id="b-tokens", unit="tokens", amount=1000)
    assert (await desk.reserve(desk.request(), ADA, [UNPRICED]))[0] is not None


@pytest.mark.parametrize(
    ("ended", "spent"),
    [
        ({"outcome": Outcome.OK}, (1, 366)),
        ({"outcome": Outcome.DISCONNECTED}, (1, 366)),
        ({"outcome": Outcome.CUT}, (1, 366)),
        ({"outcome": Outcome.CACHED, "cached": True}, (0, 0)),
        ({"outcome": Outcome.UNAVAILABLE, "deployment": None, "prompt_tokens": 0, "completion_tokens": 0}, (0, 0)),
        ({"outcome": Outcome.DISCONNECTED, "deployment": None, "prompt_tokens": 0, "completion_tokens": 0}, (1, 0)),
    ],
)
async def test_what_counts_is_what_the_record_says(desk: Desk, ended: dict[str, Any], spent: tuple[int, int]) -> None:
    """000-61: what failed or was cached costs nothing; what the client cut costs what it had used."""
    await desk.give(unit="requests", amount=5)
    await desk.give(unit="tokens", amount=5000)
    purse, _ = await desk.reserve(desk.request(), ADA, [PRICED])
    assert purse is not None
    purse.settle(record(**ended))
    await desk.budgets.ledger.settled()
    found = [next(iter((await desk.database.ledger.states(name)).values())) for name in ("b-0", "b-1")]
    assert [(state.spent, state.reserved) for state in found] == [(amount, 0) for amount in spent]


async def test_each_has_a_balance_of_her_own(desk: Desk) -> None:
    """000-61: also behind a key that a class shares, by `user`; teachers and admins have none."""
    await desk.give(unit="requests", amount=1, per="student")
    shared = Principal("k-all", course="cs1")
    for who, label in ((ADA, None), (BEN, None), (shared, "x"), (shared, "y\x00")):
        await desk.spend(who, label=label)
        assert isinstance(await desk.refused(who, label=label), BudgetExhausted)
    teacher = Principal("k-t", role="teacher", course="cs1")
    assert await desk.reserve(desk.request(), teacher, [UNPRICED]) == (None, [UNPRICED])


async def test_a_new_day_begins_at_midnight_where_the_course_is(desk: Desk) -> None:
    """000-22, 000-61: and brings what was left of the day before, if it is to be carried over."""
    await desk.give(unit="requests", amount=2, period="day", carry_over=True, economy=False)
    midnight = datetime(2026, 6, 4, 22, tzinfo=UTC)
    desk.now = midnight - timedelta(seconds=1)
    await desk.spend()
    desk.now = midnight
    for _ in range(3):
        await desk.spend(BEN)
    error = await desk.refused()
    assert error.extra["budget"]["resets_at"] == (midnight + timedelta(days=1)).isoformat()
    assert "2026-06-06 00:00 CEST" in error.message
    desk.now = midnight - timedelta(seconds=1)  # who came a moment ago is counted to that day
    await desk.spend()
    assert isinstance(await desk.refused(), BudgetExhausted)
    desk.now = midnight + timedelta(days=5)  # after days in which nobody asked there are two more, and no more
    for _ in range(4):
        await desk.spend()
    assert (await desk.refused()).extra["budget"]["limit"] == 4


async def test_a_top_up_is_for_its_period_and_payer(desk: Desk) -> None:
    """000-61"""
    made = await desk.give(unit="requests", amount=1, per="student")
    desk.rules = replace(desk.rules, top_ups={Balance(made.id, "ada", "total"): 1, Balance(made.id, "", "other"): 9})
    await desk.spend()
    await desk.spend()
    assert (await desk.refused()).extra["budget"]["limit"] == 2
    await desk.spend(BEN)
    assert (await desk.refused(BEN)).extra["budget"]["limit"] == 1


async def test_what_others_hold_is_no_reason_to_send_anybody_away_for_good(desk: Desk) -> None:
    """000-61: at the deadline the answer is one that a retry may change."""
    await desk.give(unit="requests", amount=1)
    await desk.reserve(desk.request(), ADA, [PRICED])
    error = await desk.refused(BEN)
    assert (type(error), error.code, error.retryable) == (RateLimited, "budget_busy", True)


async def test_thresholds_are_told_once(desk: Desk) -> None:
    """000-53, issue 5: at 80 and at 95 percent, once, without anybody's name."""
    await desk.give(unit="tokens", amount=10_000, economy=False)
    for _ in range(12):
        await desk.spend(tokens=(600, 200))
    assert [(alert.name, alert.severity, alert.facts["spent"]) for alert in desk.alerts] == [
        ("budget_threshold", "warning", 8000),
        ("budget_threshold", "critical", 9600),
    ]
    assert {alert.subject for alert in desk.alerts} == {"b-0/cs1/total"}
    assert "80 %" in desk.alerts[0].message
    assert await desk.database.ledger.reset("b-0", "total") == 1
    for _ in range(10):
        await desk.spend(tokens=(600, 200))
    assert len(desk.alerts) == 3


async def test_a_budget_that_goes_too_fast_makes_choices_cheap(desk: Desk) -> None:
    """Issue 5: until the forecast is good again; who names a strategy keeps it, and it is told once."""
    begins = NOON - timedelta(days=1)
    await desk.give(unit="tokens", amount=1000, assignment="hw-1", created_at=begins)
    work = Assignment("hw-1", "cs1", "Homework", begins, ends_at=NOON + timedelta(days=9))
    desk.rules = replace(desk.rules, assignments={"hw-1": work})

    def asked() -> ChatRequest:
        return replace(desk.request(), assignment="hw-1")

    assert desk.economise(asked(), ADA).strategy is None
    for _ in range(4):
        await desk.spend(tokens=(60, 15), assignment="hw-1")
    for _ in range(2):
        assert desk.economise(asked(), ADA).strategy == "lowest_cost"
    assert desk.economise(replace(asked(), strategy="quality"), ADA).strategy == "quality"
    assert desk.economise(desk.request(), ADA).strategy is None
    assert [alert.name for alert in desk.alerts] == ["budget_forecast"]
    desk.now = NOON + timedelta(days=5)
    assert desk.economise(asked(), ADA).strategy is None
    desk.rules = replace(desk.rules, budgets=(replace(desk.rules.budgets[0], economy=False),))
    desk.now = NOON
    assert desk.economise(asked(), ADA).strategy is None


async def test_an_answer_of_unknown_length_is_bounded(desk: Desk) -> None:
    """000-61: where the model's longest is known it need not be, unless it doesn't fit."""
    await desk.give(unit="tokens", amount=100_000)
    known = replace(PRICED, capabilities=Capabilities(max_output=4000))
    endless: dict[str, Any] = {"max_tokens": None}
    free, _ = await desk.reserve(desk.request(**endless), ADA, [known])
    bounded, _ = await desk.reserve(desk.request(**endless), ADA, [known, UNPRICED])
    assert free is not None
    assert bounded is not None
    assert free.tokens is None
    assert bounded.bound(desk.request(**endless)).body["max_tokens"] == bounded.tokens == 8192
    for purse in (free, bounded):
        purse.settle(record(prompt_tokens=1000))
    asked = desk.request(max_tokens=None, max_completion_tokens=200_000)
    most, _ = await desk.reserve(asked, ADA, [known])
    assert most is not None
    assert most.tokens is not None
    assert most.tokens < 100_000
    assert most.bound(asked).body["max_completion_tokens"] == most.tokens
