"""What a scheduler that knows the whole class beforehand could serve: never more than ``bound``, at least ``schedule``.

The bound is Hall's condition over spans of time. Let n(I) be the requests that arrive and give up inside the span I,
and cap(I) the most that all accounts together can serve inside I. Of those n(I), at least n(I) - cap(I) are refused by
any scheduler. Spans that don't overlap have no request in common, so over any set F of disjoint spans

    served <= N - sum over I in F of max(0, n(I) - cap(I)).

The best F is found by dynamic programming over whole seconds. cap(I) is a sum over the accounts: a window of length L
and amount A admits inside a span of d seconds at most A * ceil(d / L) when it slides, A * (periods that I touches)
when it is fixed, and A + A * d / L when it refills; tokens bound the requests by the smallest ones that fit. Each of
these only ever forgets what makes serving harder (faults, seconds an answer takes, what other windows used), so nobody
can serve more.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

from bench.classroom.accounts import Account
from bench.classroom.trace import Ask
from lumni.lab.limits import SECONDS, Limit, Pool
from lumni.lab.model import LabModel

_SEEDS = 16
_STEP = 0.25


@dataclass(frozen=True, slots=True)
class Need:
    """One request as the bound sees it. Times are Unix seconds; ``prompt`` and ``answer`` are the fewest tokens."""

    arrives: float
    leaves: float
    prompt: int
    answer: int

    def tokens(self, *, prompt_only: bool) -> int:
        return self.prompt if prompt_only else self.prompt + self.answer


@dataclass(frozen=True, slots=True)
class Supply:
    """What one account admits. ``prompt_only``: its tokens are those of prompts.

    ``unused`` is for how many seconds an account that reserves ``max_tokens`` may hold what an answer won't need: its
    bucket refills meanwhile, so that much comes on top. (What goes into a bucket between two moments, after giving
    back, is at most its size and what it refills in that time and in the ``unused`` seconds before.)
    """

    limits: tuple[Limit, ...]
    prompt_only: bool = False
    unused: float = 0.0

    @classmethod
    def of(cls, account: Account) -> Self:
        """An account that reserves tokens in other windows than refilling ones has those left out, as no limit."""
        limits, plays = account.parsed(), account.plays
        if plays.counts_max_tokens:
            limits = tuple(limit for limit in limits if limit.unit == "requests" or limit.kind == "refilling")
        return cls(limits, plays.counts_prompt_only, account.seconds_to_answer if plays.counts_max_tokens else 0.0)

    def room(self, unit: str, since: int, until: int) -> float:
        """The requests or tokens that all windows admit from ``since`` to ``until``, in whole Unix seconds."""
        return min((self._admits(limit, since, until) for limit in self.limits if limit.unit == unit), default=math.inf)

    def perishes(self) -> tuple[float, int]:
        """What sorts first is lost first when it isn't used: short windows, then those that refill."""
        kinds = ("refilling", "sliding", "fixed")
        return min((SECONDS[limit.period], kinds.index(limit.kind)) for limit in self.limits)

    def _admits(self, limit: Limit, since: int, until: int) -> float:
        length, span = SECONDS[limit.period], until - since
        if limit.kind == "refilling":
            extra = self.unused if limit.unit == "tokens" else 0.0
            return math.floor(limit.amount * (1 + (span + extra) / length) + 1e-9)
        if limit.kind == "sliding":
            return limit.amount * math.ceil(span / length)
        return limit.amount * (math.ceil(until / length) - math.floor(since / length))


def needs(asks: Sequence[Ask], start: float) -> list[Need]:
    """What each request takes if the class begins at ``start``; answers as short as the lab gives them."""
    models = [LabModel(seed) for seed in range(_SEEDS)]
    found = []
    for ask in asks:
        answers = [model.answer(ask.body("fast"), behaviour="fast") for model in models]
        fewest = min(answer.completion_tokens for answer in answers)
        found.append(Need(start + ask.at, start + ask.deadline, answers[0].prompt_tokens, fewest))
    return found


def bound(needs: Sequence[Need], supplies: Sequence[Supply]) -> int:
    """No scheduler serves more requests than this."""
    if not needs:
        return 0
    origin = math.floor(min(need.arrives for need in needs))
    end = math.floor(max(need.leaves for need in needs)) + 1
    starts = sorted({math.floor(need.arrives) for need in needs})
    ends = {math.floor(need.leaves) + 1 for need in needs}
    by_size = {
        prompt_only: sorted(needs, key=lambda need, p=prompt_only: need.tokens(prompt_only=p))  # type: ignore[misc]
        for prompt_only in (False, True)
    }
    refused = [0] * (end - origin + 1)
    for until in range(origin + 1, end + 1):
        best = refused[until - 1 - origin]
        for since in starts if until in ends else ():
            if since < until:
                best = max(best, refused[since - origin] + _over(by_size, supplies, since, until))
        refused[until - origin] = best
    return len(needs) - refused[-1]


def _over(by_size: Mapping[bool, Sequence[Need]], supplies: Sequence[Supply], since: int, until: int) -> int:
    """How many of the requests inside the span nobody can serve; negative when there is room left.

    Supplies whose tokens may run out before their requests do are also bounded together: they share the small ones.
    """
    sums = {
        prompt_only: list(
            accumulate(
                need.tokens(prompt_only=prompt_only) for need in order if since <= need.arrives and need.leaves < until
            )
        )
        for prompt_only, order in by_size.items()
    }
    count = len(sums[False])
    capacity, tight, tight_tokens = 0, [], 0.0
    for supply in supplies:
        requests = int(min(count, supply.room("requests", since, until)))
        tokens = supply.room("tokens", since, until)
        fitting = bisect_right(sums[supply.prompt_only], tokens)
        capacity += min(requests, fitting)
        if fitting < requests:
            tight.append((supply, requests, fitting))
            tight_tokens += tokens
    shared = bisect_right(sums[any(supply.prompt_only for supply, _, _ in tight)], tight_tokens)
    alone = sum(fitting for _, _, fitting in tight)
    return count - (capacity - alone + min(alone, shared))


def schedule(needs: Sequence[Need], supplies: Sequence[Supply]) -> int:
    """How many one good plan serves, by the lab's own meters: first those who leave first, or first the small ones."""
    by_deadline = _planned(sorted(needs, key=lambda need: (need.leaves, need.prompt)), supplies)
    by_size = _planned(sorted(needs, key=lambda need: (need.prompt + need.answer, need.leaves)), supplies)
    return max(by_deadline, by_size)


def _planned(order: Sequence[Need], supplies: Sequence[Supply]) -> int:
    if not order:
        return 0
    pools = [(supply, Pool(supply.limits)) for supply in sorted(supplies, key=Supply.perishes)]
    waiting, served = list(order), 0
    now, end = min(need.arrives for need in order), max(need.leaves for need in order)
    while waiting and now <= end:
        free = [pair for pair in pools if _has_request(pair[1], now)]
        left = []
        for need in waiting:
            if need.arrives > now:
                left.append(need)
            elif need.leaves >= now:
                taken = _take(need, free, now)
                served += taken is not None
                if taken is None:
                    left.append(need)
                elif not _has_request(taken[1], now):
                    free.remove(taken)
        waiting, now = left, now + _STEP
    return served


def _take(need: Need, free: Sequence[tuple[Supply, Pool]], now: float) -> tuple[Supply, Pool] | None:
    """The first that admits it, and so has served it."""
    fits = (pair for pair in free if pair[1].admit(need.tokens(prompt_only=pair[0].prompt_only), now) is None)
    return next(fits, None)


def _has_request(pool: Pool, now: float) -> bool:
    return all(window.wait(1, now) == 0 for window in pool.windows)
