"""Quota state of one process, in its memory."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from secrets import token_hex
from typing import Any

from lumni.quota.clockwork import POOL_BLOCK_MS, milliseconds, milliseconds_up
from lumni.quota.meter import Meter
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
from lumni.quota.pool_state import NEVER, PoolState
from lumni.quota.store import Wake, route

_SWEEP_EVERY = 10_000


class MemoryStore:
    """``Store`` of one process; a call never waits, so that each is atomic on its event loop."""

    def __init__(self) -> None:
        self._pools: dict[str, PoolState] = {}
        self._wakes: list[Wake] = []
        self._calls = 0
        self._names = map(f"{token_hex(4)}-{{}}".format, count())  # no other store's, before a restart or after

    async def reserve(self, draws: Sequence[Draw], now: float, *, lease: float) -> Granted | Refused:
        now_ms = milliseconds(now)
        self._sweep(now_ms)
        refusals: list[Refusal] = []
        for index, draw in enumerate(draws):
            states = [self._state(pool, now_ms) for pool in draw.pools]
            refusal = _refusal(draw, states, now_ms)
            if refusal is None:
                reservation = Reservation(next(self._names), draw, now_ms, now_ms + milliseconds(lease))
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
        for pool, words in route(corrections, pools) if corrections else ():
            self._learn(self._state(pool, now_ms), words, now_ms, reservation.at_ms)
        live = False
        for pool in pools:
            state = self._state(pool, now_ms)
            live = state.finish(reservation.id, actual, now_ms, milliseconds(counted_ago)) or live
        if corrections or counted_ago or not actual.covers(need):
            self._wake(pools)
        return live

    async def release(self, reservation: Reservation, now: float) -> bool:
        pools = reservation.draw.pools
        now_ms = milliseconds(now)
        live = [self._state(pool, now_ms).finish(reservation.id, NOTHING, now_ms, 0) for pool in pools]
        self._wake(pools)
        return any(live)

    async def expire(self, pools: Sequence[Pool], now: float) -> int:
        return sum(self._configured(pool).advance(milliseconds(now)) for pool in pools)

    async def learn(self, pool: Pool, corrections: Sequence[Correction], now: float) -> None:
        now_ms = milliseconds(now)
        self._learn(self._state(pool, now_ms), corrections, now_ms, now_ms)
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
                for flight in state.flights(meter.window):
                    copy.charge(flight.amount, max(flight.counts, milliseconds(now)))
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
                state.hold(reservation.id, now, expires, draw.need)
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

    def _learn(self, state: PoolState, corrections: Iterable[Correction], now: int, since: int) -> None:
        for word in corrections:
            if word.key:
                if word.key not in state.meters:
                    state.meters[word.key] = Meter(Window.learned(word.key))
                    state.configure(state.windows or ())
                meter = state.meters[word.key]
                meter.learn(word, now, state.reserved(meter.window), since)
            elif word.refused:
                block = POOL_BLOCK_MS if word.reset_in is None else milliseconds_up(word.reset_in)
                state.blocked = max(state.blocked, now + block)
            elif word.reset_in == 0:
                state.blocked = 0

    def _wake(self, pools: Iterable[Pool]) -> None:
        if self._wakes:
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
            amount = draw.need.of(meter.window.kind)
            reserved = state.reserved(meter.window)
            if meter.fits(amount, now, reserved):
                continue
            when = meter.fits_at(amount, now, reserved, state.flights(meter.window))
            sooner = meter.fits_at(amount, now, 0, ())
            earliest = max(earliest, NEVER if sooner is None else sooner)
            if when is None and fits < NEVER:
                fits, where, reason = NEVER, (pool.id, key), "too_large"
            elif when is not None and when > fits:
                fits, where, reason = when, (pool.id, key), "blocked" if when == meter.blocked else "full"
    if fits <= now:
        return None
    return Refusal(draw.deployment, *where, reason, _seconds(fits, now), _seconds(earliest, now))


def _seconds(when: int, now: int) -> float | None:
    return None if when >= NEVER else (when - now) / 1000
