"""Quota state of one process, in its memory."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from lumni.quota.clockwork import POOL_BLOCK_MS, milliseconds, milliseconds_up
from lumni.quota.meter import Held, Meter
from lumni.quota.model import (
    NOTHING,
    Amounts,
    Correction,
    Draw,
    Granted,
    Pool,
    Reason,
    Refusal,
    Refused,
    Reservation,
    Window,
    WindowState,
)
from lumni.quota.store import Wake, route

_NEVER = 1 << 62
_SWEEP_EVERY = 10_000


@dataclass(slots=True)
class PoolState:
    """Meters in the order of the pool's windows, then the learned ones by name. Times are milliseconds."""

    blocked: int = 0
    meters: dict[str, Meter] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    in_flight: Amounts = NOTHING
    soonest: int = _NEVER
    windows: tuple[Window, ...] | None = None

    def configure(self, windows: tuple[Window, ...]) -> None:
        known = self.meters
        extra = sorted(known.keys() - {window.key for window in windows})
        self.meters = {w.key: known.get(w.key) or Meter(w) for w in windows} | {key: known[key] for key in extra}
        for window in windows:
            self.meters[window.key].window = window
        self.windows = windows

    def hold(self, name: str, held: Held) -> None:
        self.held[name] = held
        self.in_flight = self.in_flight.plus(held.need)
        self.soonest = min(self.soonest, held.expires_ms)

    def drop(self, name: str) -> Held | None:
        held = self.held.pop(name, None)
        if held:
            self.in_flight = self.in_flight.minus(held.need)
        return held

    def advance(self, now: int) -> int:
        """Expire holds and forget what no longer counts; how many expired."""
        expired = self._expire(now) if self.soonest <= now else 0
        for meter in self.meters.values():
            meter.advance(now)
        return expired

    def spend(self, need: Amounts, now: int, ago: int) -> None:
        """Count ``need``: its requests as of ``ago`` milliseconds before ``now``, its tokens now."""
        for meter in self.meters.values():
            meter.charge(need.of(meter.window.kind), now - ago if meter.window.kind == "requests" else now)

    def rows(self, pool: str, now: int) -> list[WindowState]:
        flying, blocked = self.in_flight, self.blocked
        return [meter.state(pool, now, flying.of(meter.window.kind), blocked) for meter in self.meters.values()]

    def idle(self) -> bool:
        learned = len(self.meters) > len(self.windows or ())
        return not (self.held or self.blocked or learned) and all(
            meter.learned_limit is None and meter.anchor is None and not (meter.log or meter.debt or meter.blocked)
            for meter in self.meters.values()
        )

    def _expire(self, now: int) -> int:
        overdue = sorted((hold, name) for name, hold in self.held.items() if hold.expires_ms <= now)
        for hold, name in overdue:
            self.drop(name)
            for meter in self.meters.values():
                refilling = meter.window.style == "refilling"
                meter.charge(hold.need.of(meter.window.kind), hold.expires_ms if refilling else hold.at_ms)
        self.soonest = min((hold.expires_ms for hold in self.held.values()), default=_NEVER)
        return len(overdue)


class MemoryStore:
    """``Store`` of one process; a call never waits, so that each is atomic on its event loop."""

    def __init__(self) -> None:
        self._pools: dict[str, PoolState] = {}
        self._wakes: list[Wake] = []
        self._calls = 0

    async def reserve(self, draws: Sequence[Draw], now: float, *, lease: float) -> Granted | Refused:
        now_ms = milliseconds(now)
        self._sweep(now_ms)
        refusals: list[Refusal] = []
        for index, draw in enumerate(draws):
            states = [self._state(pool, now_ms) for pool in draw.pools]
            refusal = _refusal(draw, states, now_ms)
            if refusal is None:
                reservation = Reservation(token_hex(8), draw, now_ms, now_ms + milliseconds(lease))
                return self._take(index, reservation, states)
            refusals.append(refusal)
        return Refused(tuple(refusals))

    async def settle(
        self,
        reservation: Reservation,
        now: float,
        *,
        used: Amounts | None = None,
        counted_ago: float = 0.0,
        corrections: Sequence[Correction] = (),
    ) -> bool:
        now_ms, pools, need = milliseconds(now), reservation.draw.pools, reservation.draw.need
        actual = need if used is None else used
        live = False
        for pool in pools:
            state = self._state(pool, now_ms)
            if state.drop(reservation.id):
                live = True
                ago = min(milliseconds(counted_ago), now_ms - reservation.at_ms)
                state.spend(actual, now_ms, max(0, ago))
        for pool, words in route(corrections, pools):
            self._learn(self._state(pool, now_ms), words, now_ms)
        if corrections or counted_ago or not actual.covers(need):
            self._wake(pools)
        return live

    async def release(self, reservation: Reservation, now: float) -> bool:
        pools = reservation.draw.pools
        live = [self._state(pool, milliseconds(now)).drop(reservation.id) is not None for pool in pools]
        self._wake(pools)
        return any(live)

    async def expire(self, pools: Sequence[Pool], now: float) -> int:
        return sum(self._configured(pool).advance(milliseconds(now)) for pool in pools)

    async def learn(self, pool: Pool, corrections: Sequence[Correction], now: float) -> None:
        self._learn(self._state(pool, milliseconds(now)), corrections, milliseconds(now))
        self._wake([pool])

    async def snapshot(self, pools: Sequence[Pool], now: float) -> tuple[WindowState, ...]:
        now_ms = milliseconds(now)
        rows: list[WindowState] = []
        for pool in pools:
            rows += self._state(pool, now_ms).rows(pool.id, now_ms)
        return tuple(rows)

    def subscribe(self, wake: Wake) -> Callable[[], None]:
        self._wakes.append(wake)
        return lambda: self._wakes.remove(wake)

    def dump(self, now: float) -> dict[str, Any]:
        """All that must survive a restart, as JSON; what is in flight counts as used."""
        dumped = {}
        for name, state in self._pools.items():
            if state.idle():
                continue
            meters = {}
            for key, meter in state.meters.items():
                copy = Meter(
                    meter.window, meter.learned_limit, meter.anchor, meter.blocked, meter.used, list(meter.log)
                )
                copy.debt, copy.debt_at, copy.resets = meter.debt, meter.debt_at, meter.resets
                for hold in state.held.values():
                    copy.charge(hold.need.of(meter.window.kind), milliseconds(now))
                meters[key] = [copy.learned_limit, copy.anchor, copy.blocked, copy.log, copy.debt, copy.debt_at]
            dumped[name] = {"blocked": state.blocked, "meters": meters}
        return dumped

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Take up what ``dump`` wrote; windows get their configuration back when their pool is next named."""
        for name, saved in dumped.items():
            state = self._pools[name] = PoolState(saved["blocked"])
            for key, (limit, anchor, blocked, log, debt, debt_at) in saved["meters"].items():
                entries = [(stamp, amount) for stamp, amount in log]
                used = sum(amount for _, amount in entries)
                state.meters[key] = Meter(Window.learned(key), limit, anchor, blocked, used, entries, debt, debt_at)

    def _take(self, index: int, reservation: Reservation, states: Sequence[PoolState]) -> Granted:
        draw, now, expires = reservation.draw, reservation.at_ms, reservation.expires_ms
        if expires > now:
            for state in states:
                state.hold(reservation.id, Held(expires, now, draw.need))
            return Granted(index, reservation)
        rows: list[WindowState] = []
        for pool, state in zip(draw.pools, states, strict=True):
            state.spend(draw.need, now, 0)
            rows += state.rows(pool.id, now)
        return Granted(index, reservation, tuple(rows))

    def _configured(self, pool: Pool) -> PoolState:
        state = self._pools.get(pool.id)
        if state is None:
            state = self._pools[pool.id] = PoolState()
        if state.windows is not pool.windows:
            state.configure(pool.windows)
        return state

    def _state(self, pool: Pool, now: int) -> PoolState:
        state = self._configured(pool)
        state.advance(now)
        return state

    def _learn(self, state: PoolState, corrections: Iterable[Correction], now: int) -> None:
        for word in corrections:
            if word.key:
                if word.key not in state.meters:
                    state.meters[word.key] = Meter(Window.learned(word.key))
                    state.configure(state.windows or ())
                meter = state.meters[word.key]
                meter.learn(word, now, state.in_flight.of(meter.window.kind))
            elif word.refused:
                block = POOL_BLOCK_MS if word.reset_in is None else milliseconds_up(word.reset_in)
                state.blocked = max(state.blocked, now + block)
            elif word.reset_in == 0:
                state.blocked = 0

    def _wake(self, pools: Iterable[Pool]) -> None:
        names = frozenset(pool.id for pool in pools)
        for wake in self._wakes:
            wake(names)

    def _sweep(self, now: int) -> None:
        """Drop pools that hold nothing, now and then: a pool a student would add up."""
        self._calls += 1
        if self._calls % _SWEEP_EVERY:
            return
        for state in self._pools.values():
            state.advance(now)
            state.blocked = state.blocked if state.blocked > now else 0
            for meter in state.meters.values():
                meter.blocked = meter.blocked if meter.blocked > now else 0
        self._pools = {name: state for name, state in self._pools.items() if not state.idle()}


def _refusal(draw: Draw, states: Sequence[PoolState], now: int) -> Refusal | None:
    """What holds ``draw`` up longest; None if it fits."""
    fits = earliest = now
    where: tuple[str, str | None] = ("", None)
    reason: Reason = "full"
    for pool, state in zip(draw.pools, states, strict=True):
        earliest = max(earliest, state.blocked)
        if state.blocked > fits:
            fits, where, reason = state.blocked, (pool.id, None), "blocked"
        for key, meter in state.meters.items():
            kind = meter.window.kind
            amount = draw.need.of(kind)
            when = meter.fits_at(amount, now, state.in_flight.of(kind), state.held.values())
            if when == now:
                continue
            sooner = meter.fits_at(amount, now, 0, ())
            earliest = max(earliest, _NEVER if sooner is None else sooner)
            if when is None and fits < _NEVER:
                fits, where, reason = _NEVER, (pool.id, key), "too_large"
            elif when is not None and when > fits:
                fits, where, reason = when, (pool.id, key), "blocked" if when == meter.blocked else "full"
    if fits <= now:
        return None
    return Refusal(draw.deployment, *where, reason, _seconds(fits, now), _seconds(earliest, now))


def _seconds(when: int, now: int) -> float | None:
    return None if when >= _NEVER else (when - now) / 1000
