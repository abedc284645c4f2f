"""Quota by definition: every call is kept and every question answered by looking at all of them. Slow and plain."""

from copy import deepcopy
from dataclasses import dataclass, field
from fractions import Fraction

from lumni.quota.model import Amounts, Correction, Draw, Pool, Window, transit_ms

FOREVER = 10**15


@dataclass
class Entry:
    stamp: int
    amount: int


@dataclass
class Meter:
    window: Window
    entries: list[Entry] = field(default_factory=list)
    bucket: Fraction = Fraction(0)  # what a refilling window lacks
    bucket_at: int = 0
    learned: int | None = None
    anchor: int | None = None
    blocked: int = 0
    dropped: int = 0

    @property
    def limit(self) -> int | None:
        own = self.window.limit
        if self.learned is None:
            return own
        if own is not None and self.window.provenance == "configured":
            return min(own, self.learned)
        return self.learned

    def counts(self, stamp: int, now: int) -> bool:
        period, guard = self.window.period_ms, self.window.guard_ms
        if self.window.style == "sliding":
            return now < stamp + period
        anchor = round(self.window.anchor * 1000) if self.anchor is None else self.anchor
        reset = anchor + (now - guard - anchor) // period * period  # the last one that is surely over
        return stamp >= reset - guard

    def drops_at(self, stamp: int) -> int:
        period, guard = self.window.period_ms, self.window.guard_ms
        if self.window.style == "sliding":
            return stamp + period
        anchor = round(self.window.anchor * 1000) if self.anchor is None else self.anchor
        return anchor + ((stamp + guard - anchor) // period + 1) * period + guard

    def pass_time(self, now: int) -> None:
        for entry in self.entries:
            if entry.amount and not self.counts(entry.stamp, now):
                self.dropped = max(self.dropped, self.drops_at(entry.stamp))
        self.entries = [entry for entry in self.entries if self.counts(entry.stamp, now)]
        if now > self.bucket_at:
            rate = Fraction(self.limit or 0, self.window.period_ms)
            self.bucket = max(Fraction(0), self.bucket - (now - self.bucket_at) * rate)
            self.bucket_at = now

    def add(self, amount: int, at: int) -> None:
        if amount > 0 and self.window.style == "refilling":
            self.bucket += amount
        elif amount > 0:
            width = self.window.width_ms
            self.entries.append(Entry((at + width - 1) // width * width, amount))

    def take_back(self, amount: int, at: int) -> None:
        if self.window.style == "refilling":
            self.bucket = max(Fraction(0), self.bucket - amount)
        width = self.window.width_ms
        for entry in self.entries:
            if entry.stamp == (at + width - 1) // width * width:
                gone = min(amount, entry.amount)
                entry.amount, amount = entry.amount - gone, amount - gone

    def used(self) -> Fraction:
        if self.window.style == "refilling":
            return self.bucket
        return Fraction(sum(entry.amount for entry in self.entries))


@dataclass
class Hold:
    id: str
    need: Amounts
    at: int
    expires: int
    lands: int
    landed: bool = False


@dataclass
class ModelPool:
    meters: dict[str, Meter]
    holds: list[Hold] = field(default_factory=list)
    blocked: int = 0

    @property
    def transit(self) -> int:
        return transit_ms(meter.window for meter in self.meters.values())

    def reserved(self, meter: Meter) -> int:
        requests = meter.window.kind == "requests"
        return sum(hold.need.of(meter.window.kind) for hold in self.holds if not (requests and hold.landed))

    def pass_time(self, now: int) -> None:
        for hold in sorted(self.holds, key=lambda h: h.lands):
            if hold.lands <= now and not hold.landed:
                hold.landed = True
                self._charge("requests", hold.need, hold.lands, hold.lands)
        for hold in sorted(self.holds, key=lambda h: h.expires):
            if hold.expires <= now:
                self.holds.remove(hold)
                self._charge("tokens", hold.need, hold.expires, hold.at)
        for meter in self.meters.values():
            meter.pass_time(now)

    def _charge(self, kind: str, need: Amounts, now: int, at: int) -> None:
        for meter in self.meters.values():
            if meter.window.kind.endswith(kind):
                if meter.window.style == "refilling":
                    meter.pass_time(now)
                meter.add(need.of(meter.window.kind), at)

    def fits(self, need: Amounts, now: int) -> bool:
        if self.blocked > now:
            return False
        return all(self._fits(meter, need.of(meter.window.kind), now) for meter in self.meters.values())

    def never(self, need: Amounts) -> bool:
        return any(m.limit is not None and need.of(m.window.kind) > m.limit for m in self.meters.values())

    def _fits(self, meter: Meter, amount: int, now: int) -> bool:
        if meter.blocked > now:
            return False
        return not amount or meter.limit is None or meter.used() + self.reserved(meter) + amount <= meter.limit


class Model:
    def __init__(self, pools: tuple[Pool, ...]) -> None:
        self.pools = {p.id: ModelPool({w.key: Meter(w) for w in p.windows}) for p in pools}

    def pass_time(self, now: int) -> None:
        for pool in self.pools.values():
            pool.pass_time(now)

    def first_fit(self, draws: list[Draw], now: int) -> int | None:
        return next((i for i, draw in enumerate(draws) if self.fits(draw, now)), None)

    def fits(self, draw: Draw, now: int) -> bool:
        return all(self.pools[pool.id].fits(draw.need, now) for pool in draw.pools)

    def hold(self, name: str, draw: Draw, now: int, lease: int) -> None:
        for pool in draw.pools:
            if lease:
                lands = now + min(lease, self.pools[pool.id].transit)
                self.pools[pool.id].holds.append(Hold(name, draw.need, now, now + lease, lands))
            else:
                self._spend(self.pools[pool.id], draw.need, now, now)

    def settle(self, name: str, draw: Draw, used: Amounts, now: int, ago: int) -> bool:
        live = False
        for pool in draw.pools:
            state = self.pools[pool.id]
            for hold in [h for h in state.holds if h.id == name]:
                state.holds.remove(hold)
                live = True
                if hold.landed:
                    more = used.requests - hold.need.requests
                    for meter in state.meters.values():
                        if meter.window.kind == "requests" and more < 0:
                            meter.take_back(-more, hold.at + state.transit)
                    self._spend(state, used._replace(requests=max(0, more)), now, max(now - ago, hold.at))
                else:
                    self._spend(state, used, now, max(now - ago, hold.at))
        return live

    def learn(self, pool: Pool, word: Correction, now: int, since: int) -> None:
        state = self.pools[pool.id]
        reset_in = None if word.reset_in is None else round(word.reset_in * 1000)
        if not word.key:
            if word.refused:
                state.blocked = max(state.blocked, now + (60_000 if reset_in is None else reset_in))
            elif reset_in == 0:
                state.blocked = 0
            return
        meter = state.meters.setdefault(word.key, Meter(Window.learned(word.key)))
        if word.limit is not None:
            meter.learned = word.limit
        if meter.window.style == "fixed" and reset_in:
            meter.anchor = now + reset_in
        remaining = word.remaining if meter.dropped <= since else None
        if word.refused and word.kind == "requests":
            remaining = 0
        if remaining is not None and meter.limit is not None:
            foreign = meter.limit - remaining - state.reserved(meter) - -(-meter.used() // 1)
            ends = now + meter.window.period_ms if reset_in is None else now + reset_in
            meter.add(int(foreign), min(now, ends - meter.window.period_ms) if meter.window.style == "sliding" else now)
            meter.pass_time(now)
        if word.refused:
            if reset_in is None:
                reset_in = min(meter.window.period_ms, 3_600_000)
                if meter.window.style == "fixed":
                    reset_in = next(t for t in range(1, FOREVER) if not meter.counts(now, now + t))
            meter.blocked = max(meter.blocked, now + reset_in)
        elif reset_in == 0 and word.limit is None and word.remaining is None:
            meter.blocked = 0

    def wait(self, draw: Draw, now: int, *, given_back: bool = False) -> int | None:
        """Milliseconds until the draw fits if nothing else happens, found by trying; None: never."""
        if any(self.pools[pool.id].never(draw.need) for pool in draw.pools):
            return None
        low, high = 0, 1
        while not self._would_fit(draw, now + high, given_back):
            low, high = high, high * 2
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self._would_fit(draw, now + middle, given_back) else (middle + 1, high)
        return low

    def _would_fit(self, draw: Draw, then: int, given_back: bool) -> bool:
        future = {pool.id: deepcopy(self.pools[pool.id]) for pool in draw.pools}
        for pool in future.values():
            if given_back:
                pool.holds.clear()
            pool.pass_time(then)
        return all(pool.fits(draw.need, then) for pool in future.values())

    def _spend(self, pool: ModelPool, used: Amounts, now: int, counted: int) -> None:
        for meter in pool.meters.values():
            meter.add(used.of(meter.window.kind), counted if meter.window.kind == "requests" else now)
            meter.pass_time(now)
