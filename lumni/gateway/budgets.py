"""Budgets on the request's way: held before the call, settled with what the record says."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from lumni.budget import Ask, Balance, Bill, Change, Draw, State
from lumni.catalogue.model import Deployment
from lumni.classroom import Rules
from lumni.gateway.accounts import Account, account_of, bounds_of, budget_json, draw_of, priced, refused, used
from lumni.gateway.admission import LEASE_GRACE
from lumni.people.ledger import Ledger, LedgerStore, new_hold
from lumni.types import Alert, AlertSink, ChatRequest, Json, Principal, RequestRecord

Severity = Literal["info", "warning", "critical"]
THRESHOLDS: tuple[tuple[int, Severity], ...] = ((95, "critical"), (80, "warning"))  # percent
MOST_SEEN = 20_000  # balances that a process remembers


class Purse:
    """What one request holds of its budgets. ``tokens``: its answer must be bounded to so many, ``None``: it is."""

    def __init__(
        self, ledger: Ledger, hold: str, accounts: Sequence[Account], draws: tuple[Draw, ...], tokens: int | None
    ) -> None:
        self._ledger = ledger
        self._hold = hold
        self._accounts = accounts
        self._draws = draws
        self.tokens = tokens

    def bound(self, request: ChatRequest) -> ChatRequest:
        """The request with its answer bounded to what is held."""
        if self.tokens is None:
            return request
        name = "max_completion_tokens" if request.body.get("max_completion_tokens") else "max_tokens"
        return replace(request, body={**request.body, name: self.tokens})

    def settle(self, record: RequestRecord) -> None:
        """Count what the record says. A second time changes nothing."""
        spent = {account.budget.id: used(account.budget, record) for account in self._accounts}
        self._ledger.settle(Bill(self._hold, self._draws, spent))


class Budgets:
    """The budgets of all courses. ``rules_of`` gives a course's rules; ``alerts`` hear when a budget runs low."""

    def __init__(
        self,
        store: LedgerStore,
        rules_of: Callable[[str | None], Rules | None],
        now: Callable[[], datetime],
        alerts: Sequence[AlertSink] = (),
    ) -> None:
        self.ledger = Ledger(store, now, self._changed)
        self._store = store
        self.rules_of = rules_of
        self._now = now
        self._alerts = alerts
        self._seen: dict[Balance, tuple[Account, State]] = {}
        self._forecast: set[Balance] = set()

    def accounts(self, request: ChatRequest, principal: Principal) -> Sequence[Account]:
        """The budgets that a request counts against. Teachers and admins have none."""
        rules = self.rules_of(principal.course)
        if rules is None or principal.role != "student":
            return ()
        of_request = (principal, request.label, request.assignment, request.created_at)
        found = (account_of(budget, rules, *of_request) for budget in rules.budgets)
        return [account for account in found if account]

    async def balances(self, principal: Principal, label: str | None = None) -> list[Json]:
        """What a caller has of every budget that may concern her, whatever the assignment."""
        rules = self.rules_of(principal.course)
        if rules is None or principal.role != "student":
            return []
        now = self._now()
        found = (account_of(budget, rules, principal, label, budget.assignment, now) for budget in rules.budgets)
        accounts = [account for account in found if account]
        states = await self._store.states(names=[account.balance for account in accounts]) if accounts else {}
        return [budget_json(account, states.get(account.balance, State())) for account in accounts]

    def economise(self, request: ChatRequest, accounts: Sequence[Account]) -> ChatRequest:
        """The request as it goes on: by cost, if it names no strategy and one of its budgets would end too early."""
        if request.strategy is not None or not self._scarce(request, accounts):
            return request
        return replace(request, strategy="lowest_cost")

    async def reserve(
        self, request: ChatRequest, accounts: Sequence[Account], candidates: Sequence[Deployment]
    ) -> tuple[Purse | None, Sequence[Deployment]]:
        """Hold the most that the answer can cost, and the candidates whose cost is known.

        Waits while requests that run hold the rest. Raises :class:`BudgetExhausted` when it is gone,
        :class:`RateLimited` when the wait was in vain, and :class:`InvalidRequest` when nobody knows what it costs.
        """
        if not accounts:
            return None, candidates
        if any(account.budget.unit == "usd" for account in accounts):
            candidates = priced(candidates)
        bounds, known = bounds_of(request, candidates)
        draws = tuple(draw_of(account, request, candidates) for account in accounts)
        lease = timedelta(seconds=request.deadline - request.received + LEASE_GRACE)
        answer = await self.ledger.reserve(Ask(new_hold(), draws, bounds, self._now() + lease), request.deadline)
        for account, state in zip(accounts, answer.states, strict=True):
            self._note(account, state)
        if answer.verdict.tokens is None:
            raise refused(accounts, answer)
        tokens = None if known and answer.verdict.tokens >= bounds.most else answer.verdict.tokens
        return Purse(self.ledger, answer.hold, accounts, draws, tokens), candidates

    def of_courses(self) -> list[tuple[Account, State]]:
        """The budgets of whole courses whose period runs, as this process saw them last."""
        now = self._now()
        running = (one for one in self._seen.values() if (ends := one[0].period.ends) is None or now < ends)
        return [(account, state) for account, state in running if account.budget.per == "course"]

    def _scarce(self, request: ChatRequest, accounts: Sequence[Account]) -> bool:
        for account in accounts:
            state = self._seen[account.balance][1] if account.balance in self._seen else State()
            if account.budget.economy and account.runs_out(state, request.created_at):
                if account.balance not in self._forecast:
                    self._forecast.add(account.balance)
                    words = "would be used up before its time: automatic choices go by cost now."
                    self._raise(account, state, "budget_forecast", words, "warning")
                return True
            self._forecast.discard(account.balance)
        return False

    def _note(self, account: Account, state: State) -> None:
        if len(self._seen) >= MOST_SEEN:
            self._seen.clear()
            self._forecast.clear()
        self._seen[account.balance] = (account, state)

    def _changed(self, change: Change) -> None:
        """A balance was settled. The one transaction that brought it over a threshold says so."""
        if (known := self._seen.get(change.draw.balance)) is None:
            return
        account, limit = known[0], known[0].limit + change.after.carried
        self._note(account, change.after)
        for percent, severity in THRESHOLDS:
            if 100 * change.before.spent < percent * limit <= 100 * change.after.spent:
                self._raise(account, change.after, "budget_threshold", f"is used to {percent} %.", severity)
                return

    def _raise(self, account: Account, state: State, name: str, words: str, severity: Severity) -> None:
        budget, balance = account.budget, account.balance
        whose = f"{budget.per} {balance.who}" if budget.per != "course" else f"course {budget.course}"
        facts = budget_json(account, state)
        alert = Alert(
            name=name,
            subject=f"{balance.budget}/{balance.who}/{balance.period}",
            message=f"The budget {budget.id} of {whose} {words} {facts['spent']} of {facts['limit']} {budget.unit}.",
            raised_at=self._now(),
            severity="info" if budget.per == "student" else severity,
            course=budget.course,
            facts=facts,
        )
        for sink in self._alerts:
            sink.notify(alert)
