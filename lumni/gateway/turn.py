"""One request's way through the quota: its turn among the others, and a reservation for each of its calls."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from lumni.catalogue.model import Deployment
from lumni.errors import AllProvidersFailed, LumniError, RateLimited, RequestTooLarge
from lumni.quota.estimate import Demand
from lumni.quota.learn import lessons
from lumni.quota.lease import Lease
from lumni.quota.model import MINUTE, Amounts, Correction, Draw, Refusal, Refused
from lumni.quota.queue import AllClosed
from lumni.quota.service import Quota
from lumni.quota.ticket import NoCapacity, Ticket
from lumni.types import Json, Outcome, Usage
from lumni.upstream.failures import Failure

PROBE_PEEK = 0.25  # seconds between looks at a breaker whose probe is on its way


class Turn:
    """The gate of one request's journey. It holds one reservation at a time, for the call that runs now.

    ``waited`` is how many seconds it spent in line.
    """

    def __init__(self, quota: Quota, ticket: Ticket, demand: Demand) -> None:
        self._quota = quota
        self._ticket = ticket
        self._demand = demand
        self._lease: Lease | None = None
        self._began = 0.0
        self._probing = ""  # the deployment whose breaker waits for this request's call to decide
        self.waited = 0.0

    async def lease(self, candidates: Sequence[Deployment], deadline: float) -> Deployment:
        """Reserve for the first candidate that fits, after a fair wait if none does now; it is the one to call next.

        A reservation that is already held is kept. ``deadline`` is in loop time. Raises :class:`LumniError`.
        """
        if self._lease:
            for deployment in candidates:
                if deployment.id == self._lease.deployment:
                    return deployment
        self._release()
        ticket = self._ticket
        if ticket.deadline != deadline:
            ticket = replace(ticket, deadline=deadline)
        while True:
            if not self._quota.breakers.all_closed:
                await self._unbroken(candidates, deadline)
            try:
                lease = await self._quota.queue.lease(ticket, [self._draw(deployment) for deployment in candidates])
            except AllClosed:
                continue
            except NoCapacity as nothing:
                able = [d for d in candidates if not self._quota.breakers.blocked(d.id)]
                raise _refusal(nothing, able) from None
            self.waited += lease.waited
            if self._hold(candidates[lease.index], lease):
                return candidates[lease.index]

    async def enter(self, deployment: Deployment) -> float:
        """0 when the call may be made now, for it is reserved; else the seconds after which it may fit."""
        if self._held == deployment.id:
            self._start(deployment)
            return 0.0
        self._release()
        if broken := self._quota.breakers.blocked(deployment.id):
            return broken[1]
        answer = await self._quota.queue.attempt(self._ticket, [self._draw(deployment)])
        if isinstance(answer, Refused):
            return max(0.001, answer.wait if answer.wait is not None else float("inf"))
        if not self._hold(deployment, answer):
            return PROBE_PEEK
        self._start(deployment)
        return 0.0

    async def failed(self, deployment: Deployment, failure: Failure) -> bool:
        """Learn from a call that failed, and give back what it didn't use.

        Whether the provider's quota is now known to be closed for a while.
        """
        self._probing = ""
        self._quota.failed(deployment, failure.outcome, failure.detail, failure.status)
        lease, self._lease = self._lease, None
        if lease is None:
            return False
        words = _words(failure, deployment, self._quota.clock())
        pools, now = lease.reservation.draw.pools, asyncio.get_running_loop().time()
        timed = self._quota.timed(pools, words, self._began, now)
        spent = _spent(failure, lease, telling=deployment.id in self._quota.telling)

        async def learn() -> None:
            more = await self._quota.inferred(pools, words)
            await lease.settle(spent, corrections=timed)
            if more:
                await self._quota.store.learn(pools[0], more, self._quota.clock())

        await self._quota.surely(learn())
        return any(word.refused for word in words) and bool(pools)

    def answered(self, deployment: Deployment, usage: Usage, headers: Mapping[str, str], counted_ago: float) -> None:
        """Settle with what an answer really used; ``counted_ago`` is how many seconds ago it began."""
        quota, self._probing = self._quota, ""
        quota.breakers.record(deployment.id, Outcome.OK)
        quota.estimator.observe(deployment.model, self._demand.size, usage, choices=self._demand.choices)
        if (running := asyncio.get_running_loop().time() - self._began) >= counted_ago:
            quota.traffic.answered(deployment.id, running - counted_ago)
        else:  # a stream that was asked for again: its first content came from the call before
            counted_ago = running
        lease, self._lease = self._lease, None
        if lease is None:
            return
        used = Amounts(1, usage.prompt_tokens, usage.completion_tokens)
        words = lessons(200, headers, now=quota.clock(), provider=deployment.provider)
        if (
            quota.pools.counts_max_tokens(deployment.id)
            and self._demand.max_tokens is not None
            and not _says(words, "tokens")
        ):
            used = used._replace(output_tokens=max(used.output_tokens, lease.reservation.draw.need.output_tokens))
        if _says(words, "requests"):
            quota.telling.add(deployment.id)
        pools = lease.reservation.draw.pools
        for pool in pools[:1]:
            quota.backoff.succeeded(pool.id, self._began)
        words = quota.heard(pools, words)
        quota.later(lease.settle(used, counted_ago=counted_ago, corrections=words))

    def close(self) -> None:
        """The request is over. A call of which nobody knows how it ended counts as estimated."""
        if self._began:
            self._stop_probing()
        else:
            self._release()
        lease, self._lease = self._lease, None
        if lease is not None:
            self._quota.later(lease.settle())

    def lost(self, deployment: Deployment, outcome: Outcome) -> None:
        """A call was given up. Nobody knows what it used; ``close`` settles it as estimated."""
        self._probing = ""
        self._quota.failed(deployment, outcome, "")

    @property
    def _held(self) -> str:
        return self._lease.deployment if self._lease else ""

    def _draw(self, deployment: Deployment) -> Draw:
        pools, counts = self._quota.pools.of(deployment.id), self._quota.pools.counts_max_tokens(deployment.id)
        need = self._demand.of(deployment.model, counts_max_tokens=counts)
        return Draw(deployment.id, pools, need)

    def _hold(self, deployment: Deployment, lease: Lease) -> bool:
        """Keep the lease, unless the breaker opened meanwhile or another request is probing."""
        breakers = self._quota.breakers
        probes = not breakers.all_closed and breakers.state(deployment.id) == "half_open"
        if not breakers.allow(deployment.id):
            self._quota.later(lease.release())
            return False
        self._lease, self._began, self._probing = lease, 0.0, deployment.id if probes else ""
        return True

    def _start(self, deployment: Deployment) -> None:
        self._began = asyncio.get_running_loop().time()
        self._quota.traffic.called(deployment.id, self._quota.clock())

    def _release(self) -> None:
        """Give back a reservation whose call was never sent."""
        self._stop_probing()
        lease, self._lease = self._lease, None
        if lease is not None:
            self._quota.later(lease.release())

    def _stop_probing(self) -> None:
        """Nobody will hear how the probe ended: let another request make it."""
        if self._probing:
            self._quota.breakers.give_back(self._probing)
            self._probing = ""

    async def _unbroken(self, candidates: Sequence[Deployment], deadline: float) -> None:
        """Wait until the breaker of any candidate lets a call through, if one may in time."""
        breakers, loop = self._quota.breakers, asyncio.get_running_loop()
        while True:
            blocked = {d.id: why for d in candidates if (why := breakers.blocked(d.id))}
            if len(blocked) < len(candidates):
                return
            probing = any(breakers.state(d.id) == "half_open" for d in candidates)
            wait = min(seconds for _, seconds in blocked.values())
            if loop.time() + (PROBE_PEEK if probing else wait) > deadline:
                raise _broken(blocked)
            await asyncio.sleep(PROBE_PEEK if probing else min(wait, 1.0))


def _words(failure: Failure, deployment: Deployment, now: float) -> Sequence[Correction]:
    """What a failed call teaches. A provider in trouble that names a time is left alone until then."""
    if failure.status is None:
        return ()
    words = lessons(failure.status, failure.headers, failure.body, now=now, provider=deployment.provider)
    if failure.outcome is Outcome.UNAVAILABLE and failure.retry_after:
        return (*words, Correction(refused=True, reset_in=failure.retry_after))
    return words


def _says(words: Sequence[Correction], kind: str) -> bool:
    """Whether a provider says what remains of a minute's limit: if it counts otherwise than we do, it shows."""
    return any(w.kind == kind and w.period == MINUTE and w.remaining is not None for w in words)


def _spent(failure: Failure, lease: Lease, *, telling: bool) -> Amounts | None:
    """What a failed call may have taken: nothing if quota was refused, for its window is closed then; only the request
    if it was refused for another reason, and else as much as was estimated. A provider in trouble may count the call
    (OpenAI does); one that is ``telling`` will say so with the next answer."""
    if failure.outcome is Outcome.RATE_LIMITED:
        return Amounts(0)
    if failure.outcome in (Outcome.AUTH, Outcome.NOT_FOUND, Outcome.BAD_REQUEST, Outcome.CONTEXT):
        return Amounts(1)
    if failure.outcome is Outcome.UNAVAILABLE:
        if telling:
            return Amounts(0)
        return lease.reservation.draw.need._replace(output_tokens=0)
    return None


def _broken(blocked: dict[str, tuple[str, float]]) -> AllProvidersFailed:
    reasons = "; ".join(f"{id_}: {why}" for id_, (why, _) in list(blocked.items())[:5])
    wait = min(seconds for _, seconds in blocked.values())
    return AllProvidersFailed(
        f"All {len(blocked)} deployments that could answer are out of order ({reasons}).",
        code="all_providers_down",
        retry_after=wait,
        extra={"attempts": []},
    )


def _refusal(nothing: NoCapacity, candidates: Sequence[Deployment]) -> LumniError:
    place = nothing.place
    line = {"position": place.position, "waiting": place.waiting}
    if nothing.at_cap:
        return RateLimited(
            "You have as many requests running as one student may. Wait until one of them ends.",
            code="too_many_concurrent_requests",
            retry_after=nothing.wait or 1.0,
            extra={"queue": line, "share": round(nothing.share, 3)},
        )
    if nothing.wait is None and nothing.refusals and all(r.reason == "too_large" for r in nothing.refusals):
        return RequestTooLarge(
            "The request needs more tokens at once than the limits of any account allow in one window. "
            "Shorten it, or ask for a shorter answer with max_tokens.",
            code="larger_than_quota",
        )
    wait = nothing.wait or 1.0
    return RateLimited(
        f"All {len(candidates)} deployments that could answer are out of quota; the first is free again in about "
        f"{wait:.0f} s. You are number {place.position} of {place.waiting} in line, and had "
        f"{nothing.share:.0%} of what was served of late.",
        code="providers_exhausted",
        retry_after=wait,
        extra={
            "attempts": [],
            "queue": line,
            "share": round(nothing.share, 3),
            "pools": [_shown(r) for r in nothing.refusals[:10]],
        },
    )


def _shown(refusal: Refusal) -> Json:
    return {
        "deployment": refusal.deployment,
        "reason": refusal.reason,
        "window": refusal.window,
        "free_in": refusal.wait,
    }
