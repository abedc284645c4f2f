"""Which budgets a request counts against, what it may take of them, and how that is said. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lumni.budget import (
    FAIR_OUTPUT,
    PER_TOKEN,
    Answer,
    Balance,
    Bounds,
    Budget,
    Draw,
    Span,
    State,
    Unit,
    ends_early,
    limit_of,
    previous,
    span,
)
from lumni.catalogue.model import Deployment
from lumni.classroom import Rules
from lumni.errors import BudgetExhausted, InvalidRequest, RateLimited
from lumni.gateway.admission import person_of
from lumni.money import cost, to_usd
from lumni.people.times import shown
from lumni.quota.estimate import asked_tokens, size_of
from lumni.storage.rows import clean_text
from lumni.types import ChatRequest, Json, Outcome, Principal, RequestRecord

UNKNOWN_OUTPUT = 8192  # tokens that an answer is bounded to where nobody knows how long the model's may be
MOST_OUTPUT = 10_000_000  # tokens: more than any model gives
TEMPLATE_TOKENS = 16  # of a chat template, besides what ``size_of`` counts a message
TOOL_TOKENS = 512  # of the instructions that providers add when there are tools
NO_GROUP = "-"
BUSY_SECONDS = 5.0  # after which it may be worth asking again for what others hold


@dataclass(frozen=True, slots=True)
class Account:
    """One budget as it concerns one request: whose balance, in which period. ``limit`` lacks what is carried over."""

    budget: Budget
    rules: Rules
    balance: Balance
    limit: int
    period: Span

    @property
    def owner(self) -> str:
        """Whose it is, in words."""
        return {"student": "your budget", "group": "your group's budget", "course": "your course's budget"}[
            self.budget.per
        ] + (f" for {self.budget.assignment}" if self.budget.assignment else "")

    @property
    def ends_at(self) -> datetime | None:
        """Until when it has to last: its period's end, or that of its assignment or course."""
        course = self.rules.course
        work = self.rules.assignments.get(self.budget.assignment or "")
        known = [at for at in (self.period.ends, work.ends_at if work else None, course.ends_at) if at is not None]
        return min(known, default=None)

    def runs_out(self, state: State, now: datetime) -> bool:
        """Whether it would be used up before its time, were it used on as until now."""
        ends = self.ends_at
        return ends is not None and ends_early(state.spent, self.limit + state.carried, self.period.starts, ends, now)


def account_of(
    budget: Budget, rules: Rules, principal: Principal, label: str | None, assignment: str | None, at: datetime
) -> Account | None:
    """The budget as it concerns a request that somebody makes ``at`` a moment; ``None`` if it doesn't."""
    if budget.assignment is not None and budget.assignment != assignment:
        return None
    who = clean_text(_payer(budget, rules, principal, label))
    if budget.who is not None and budget.who != who:
        return None
    period = span(budget.period, at, rules.course.time_zone, budget.created_at)
    limit = limit_of(budget, who, period.name, rules.top_ups)
    return Account(budget, rules, Balance(budget.id, who, period.name), limit, period)


def _payer(budget: Budget, rules: Rules, principal: Principal, label: str | None) -> str:
    if budget.per == "course":
        return budget.course
    if budget.per == "group":
        return rules.groups.get(principal.student or "", NO_GROUP)
    return person_of(principal, label)


def draw_of(account: Account, request: ChatRequest, candidates: Sequence[Deployment]) -> Draw:
    """The most that a request can take from a balance, whoever of ``candidates`` answers. A token is a byte or more."""
    prompt = size_of(request.body) + TEMPLATE_TOKENS + (TOOL_TOKENS if request.body.get("tools") else 0)
    choices = max(1, request.body.get("n") or 1)
    base, rate = {"requests": (1, 0), "tokens": (prompt, choices * PER_TOKEN), "usd": (0, 0)}[account.budget.unit]
    if account.budget.unit == "usd":
        prices = [deployment.price for deployment in candidates if deployment.price is not None]
        base = cost(prompt, max(price.prompt for price in prices))
        rate = choices * max(price.completion for price in prices)
    budget, rules = account.budget, account.rules
    before = None
    if budget.carry_over:
        last = previous(budget.period, account.period, rules.course.time_zone, budget.created_at)
        if last is not None:
            who = account.balance.who
            before = Balance(budget.id, who, last.name), limit_of(budget, who, last.name, rules.top_ups)
    return Draw(account.balance, account.limit, base, rate, budget.amount, before)


def bounds_of(request: ChatRequest, candidates: Sequence[Deployment]) -> tuple[Bounds, bool]:
    """How long the answer may be, and whether that holds by itself: if not, it must be asked for."""
    if (asked := asked_tokens(request.body)) is not None:
        return Bounds(min(asked, MOST_OUTPUT), min(asked, MOST_OUTPUT)), True
    most = [d.capabilities.max_output or d.capabilities.context_window for d in candidates]
    known = [tokens for tokens in most if tokens]
    if len(known) < len(most):
        return Bounds(UNKNOWN_OUTPUT, FAIR_OUTPUT), False
    longest = min(max(known), MOST_OUTPUT)
    return Bounds(longest, min(longest, FAIR_OUTPUT)), True


def priced(candidates: Sequence[Deployment]) -> Sequence[Deployment]:
    """Those with a price: what costs nobody knows how much would leave a budget in dollars worthless."""
    found = [deployment for deployment in candidates if deployment.price is not None]
    if not found:
        names = ", ".join(sorted({deployment.group for deployment in candidates})[:5])
        raise InvalidRequest(
            f"Your budget is in US dollars, and nobody knows what {names} costs. Ask for another model, or `auto`.",
            code="unpriced_model",
            param="model",
        )
    return found


def used(budget: Budget, record: RequestRecord) -> int:
    """What a request took by its record. One that nobody answered took nothing, unless its client left a call alone."""
    if record.deployment is None:
        abandoned = record.outcome is Outcome.DISCONNECTED and bool(record.attempts)
        return int(budget.unit == "requests" and abandoned)
    if record.cached:
        return 0
    if budget.unit == "tokens":
        return record.prompt_tokens + record.completion_tokens
    return 1 if budget.unit == "requests" else record.list_cost or 0


def refused(accounts: Sequence[Account], answer: Answer) -> RateLimited:
    """The error for a budget that is gone, or (a retry helps) whose rest is held by requests that run."""
    place = answer.verdict.at[0]
    account, state = accounts[place], answer.states[place]
    shown_budget = budget_json(account, state)
    spent, limit = shown_budget["spent"], shown_budget["limit"]
    if not answer.verdict.gone:
        return RateLimited(
            f"What is left of {account.owner} is held by requests that run. Ask again in a moment.",
            code="budget_busy",
            retry_after=BUSY_SECONDS,
            extra={"budget": shown_budget},
        )
    ends, words = account.period.ends, "Ask your teacher for more."
    if ends is not None:
        words = f"It is new on {shown(ends, account.rules.course.time_zone)}."
    unit = {"usd": "USD"}.get(account.budget.unit, account.budget.unit)
    left = account.limit + state.carried - state.spent
    gone = "is used up" if left <= 0 else "has too little left for this request"
    return BudgetExhausted(
        f"{account.owner[0].upper()}{account.owner[1:]} {gone}: {spent} of {limit} {unit} spent. {words}",
        extra={"budget": shown_budget},
    )


def budget_json(account: Account, state: State) -> Json:
    """A balance for clients: amounts in dollars as decimal strings, others as numbers."""
    unit, limit = account.budget.unit, account.limit + state.carried
    return {
        "id": account.budget.id,
        "unit": unit,
        "per": account.budget.per,
        "who": account.balance.who,
        "assignment": account.budget.assignment,
        "period": account.balance.period,
        "spent": shown_amount(unit, state.spent),
        "reserved": shown_amount(unit, state.reserved),
        "limit": shown_amount(unit, limit),
        "left": shown_amount(unit, max(0, limit - state.spent)),
        "resets_at": account.period.ends.isoformat() if account.period.ends else None,
    }


def shown_amount(unit: Unit, amount: int) -> int | str:
    return f"{to_usd(amount):f}" if unit == "usd" else amount
