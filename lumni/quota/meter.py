"""One window of one pool in memory: what was used, and when it comes back."""

from bisect import bisect_right, insort
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from lumni.quota.clockwork import DEFAULT_BLOCK_MS, calendar_resets, drops_at, milliseconds_up, round_up
from lumni.quota.model import Amounts, Correction, Window, WindowState


class Held(NamedTuple):
    """A reservation as its pool remembers it. At ``lands_ms`` the provider has surely counted its requests."""

    expires_ms: int
    at_ms: int
    lands_ms: int
    need: Amounts


class Flight(NamedTuple):
    """What a call in flight will add to a window: ``amount`` at ``joins``, as of ``counts``."""

    joins: int
    counts: int
    amount: int


@dataclass(slots=True)
class Meter:
    """Times are milliseconds. ``log`` holds (stamp, amount) in order; ``dropped`` is when something last left it.

    ``debt`` is what a refilling bucket lacks, times its period: whole numbers, so that every store computes the same.
    """

    window: Window
    learned_limit: int | None = None
    anchor: int | None = None
    blocked: int = 0
    used: int = 0
    log: list[tuple[int, int]] = field(default_factory=list)
    debt: int = 0
    debt_at: int = 0
    resets: tuple[int, ...] = ()
    dropped: int = 0

    @property
    def limit(self) -> int | None:
        configured, learned = self.window.limit, self.learned_limit
        if learned is None or configured is None:
            return configured if learned is None else learned
        return min(configured, learned) if self.window.provenance == "configured" else learned

    def advance(self, now: int) -> None:
        """Forget what no longer counts at ``now``."""
        if self.window.style == "refilling":
            self._refill(now)
            return
        if self.window.style == "fixed" and not (self.resets and self.resets[1] <= now < self.resets[2]):
            self.resets = calendar_resets(self.window, now)
        gone = 0
        for stamp, amount in self.log:
            if self.drops_at(stamp) > now:
                break
            self.used -= amount
            gone += 1
        if gone:
            self.dropped = max(self.dropped, self.drops_at(self.log[gone - 1][0]))
            del self.log[:gone]

    def charge(self, amount: int, at: int) -> None:
        """Count ``amount`` as used at ``at``."""
        if amount <= 0:
            return
        if self.window.style == "refilling":
            self._refill(at)
            self.debt += amount * self.window.period_ms
            return
        stamp = round_up(at, self.window.width_ms)
        place = bisect_right(self.log, stamp, key=lambda entry: entry[0])
        if place and self.log[place - 1][0] == stamp:
            self.log[place - 1] = (stamp, self.log[place - 1][1] + amount)
        else:
            insort(self.log, (stamp, amount))
        self.used += amount

    def uncharge(self, amount: int, at: int) -> None:
        """Take back what was counted as used at ``at``, as far as it is still there."""
        if self.window.style == "refilling":
            self.debt = max(0, self.debt - amount * self.window.period_ms)
            return
        stamp = round_up(at, self.window.width_ms)
        place = bisect_right(self.log, stamp, key=lambda entry: entry[0]) - 1
        if place < 0 or self.log[place][0] != stamp:
            return
        amount = min(amount, self.log[place][1])
        self.log[place] = (stamp, self.log[place][1] - amount)
        if not self.log[place][1]:
            del self.log[place]
        self.used -= amount

    @property
    def taken(self) -> int:
        return -(-self.debt // self.window.period_ms) if self.window.style == "refilling" else self.used

    def fits(self, amount: int, now: int, reserved: int) -> bool:
        """Whether ``amount`` fits beside ``reserved`` now."""
        limit = self.limit
        if self.blocked > now:
            return False
        if limit is None or not amount:
            return True
        if self.window.style == "refilling":
            return self.debt + (reserved + amount - limit) * self.window.period_ms <= 0
        return self.used + reserved + amount <= limit

    def fits_at(self, amount: int, now: int, reserved: int, flights: Collection[Flight]) -> int | None:
        """When ``amount`` fits beside ``reserved`` (all of ``flights``) if nothing else happens; ``None``: never."""
        limit = self.limit
        start = max(now, self.blocked)
        if limit is None or not amount:
            return start
        if amount > limit:
            return None
        if self.window.style == "refilling":
            return max(start, self._refilled_at(reserved + amount - limit, limit, now, flights))
        need = self.used + reserved + amount - limit
        if need <= 0:
            return start
        frees = [(self.drops_at(stamp), freed) for stamp, freed in self.log]
        frees += [(max(f.joins, self.drops_at(self._stamp(f.counts))), f.amount) for f in flights]
        when = now
        for free_at, freed in sorted(frees):
            when, need = free_at, need - freed
            if need <= 0:
                break
        return max(start, when)

    def learn(self, word: Correction, now: int, reserved: int, since: int) -> None:
        """Take a provider's word; see ``Correction``. What remains was counted at ``since`` or later: if something left
        the log after that, the word may be older than that, and the next one will tell."""
        reset_in = None if word.reset_in is None else milliseconds_up(word.reset_in)
        if word.limit is not None:
            self.learned_limit = word.limit
        if self.window.style == "fixed" and not self.resets and reset_in:
            self.anchor = now + reset_in
        limit, remaining = self.limit, None if self.dropped > since else word.remaining
        if word.refused and word.kind == "requests":
            remaining = 0
        if remaining is not None and limit is not None:
            foreign = limit - remaining - reserved - self.taken
            by_then = (
                now if reset_in is None or self.window.style != "sliding" else now + reset_in - self.window.period_ms
            )
            self.charge(foreign, min(now, by_then))
            self.advance(now)
        if word.refused:
            self.blocked = max(self.blocked, now + (self._natural_reset(now) if reset_in is None else reset_in))
        elif reset_in == 0 and word.limit is None and word.remaining is None:
            self.blocked = 0

    def state(self, pool: str, now: int, reserved: int, pool_blocked: int) -> WindowState:
        learned = self.learned_limit is not None and self.limit == self.learned_limit
        window = self.window
        return WindowState(
            pool=pool,
            window=window.key,
            kind=window.kind,
            period=window.period,
            limit=self.limit,
            used=self.taken,
            reserved=reserved,
            reset_in=(self._new_at(now) - now) / 1000,
            blocked_in=max(0, self.blocked - now, pool_blocked - now) / 1000,
            provenance="learned" if learned else window.provenance,
        )

    def drops_at(self, stamp: int) -> int:
        return drops_at(self.window, stamp, self.resets, self.anchor)

    def _stamp(self, at: int) -> int:
        return round_up(at, self.window.width_ms)

    def _refill(self, now: int) -> None:
        if now > self.debt_at:
            self.debt = max(0, self.debt - (now - self.debt_at) * (self.limit or 0))
            self.debt_at = now

    def _refilled_at(self, over: int, limit: int, now: int, flights: Collection[Flight]) -> int:
        """When the debt is low enough; what is in flight doesn't refill until it joins the debt."""
        debt, time, period = self.debt, now, self.window.period_ms
        need = debt + over * period
        for flight in sorted(flights):
            if need <= min(debt, (flight.joins - time) * limit):
                break
            refilled = min(debt, (flight.joins - time) * limit)
            debt += flight.amount * period - refilled
            need -= refilled
            time = flight.joins
        return time + max(0, -(-need // limit))

    def _natural_reset(self, now: int) -> int:
        if self.window.style == "fixed":
            return self.drops_at(now) - now
        return min(self.window.period_ms, DEFAULT_BLOCK_MS)

    def _new_at(self, now: int) -> int:
        if self.window.style == "fixed":
            return self.drops_at(now)
        if self.window.style == "sliding":
            return self.drops_at(self.log[-1][0]) if self.log else now
        return now - (-self.debt // self.limit) if self.limit else now
