"""What one process did itself, kept next to the state that it shares: never refused, only counted."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from lumni.quota.memory import MemoryStore
from lumni.quota.meter import Meter
from lumni.quota.model import Amounts, Pool, Reservation, Window
from lumni.quota.pool_state import PoolState

_REMEMBERED = 20_000


class Mirror(MemoryStore):
    """Own use, logged. A refilling window is logged as a sliding one: its debt is never more than what was used in its
    last period. All times are milliseconds of the shared clock."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: dict[str, tuple[Pool, Pool]] = {}

    def adopt(self, reservation: Reservation) -> None:
        """Count a reservation that was granted; one without a lease is spent."""
        at, expires, need = reservation.at_ms, reservation.expires_ms, reservation.draw.need
        self._sweep(at)
        for pool in reservation.draw.pools:
            if expires > at:
                self._configured(pool).hold(reservation.id, at, expires, need)
            else:
                self._state(pool, at).spend(need, at, 0)

    def finish(self, reservation: Reservation, used: Amounts, now: int, ago: int) -> bool:
        """Count what was used in place of what was reserved. False if it was no longer held."""
        ago = max(0, min(ago, now - reservation.at_ms))
        held = [self.finish_in(pool, reservation.id, used, now, ago) for pool in reservation.draw.pools]
        return any(held)

    def finish_in(self, pool: Pool, name: str, used: Amounts, now: int, ago: int) -> bool:
        """The same for one pool of a reservation."""
        if pool.id not in self._pools:
            return False
        return self._state(pool, now).finish(name, used, now, ago)

    def state(self, pool: str) -> PoolState | None:
        return self._pools.get(pool)

    def clear(self, pool: str) -> None:
        """Forget a pool."""
        self._pools.pop(pool, None)

    def known(self, now: int) -> list[Pool]:
        """The pools of which there is anything to say."""
        found = []
        for name, state in self._pools.items():
            state.advance(now)
            if not state.idle():
                found.append(self._logged[name][0])
        return found

    def logs(self, pool: str, later: int) -> dict[str, list[tuple[int, int]]]:
        """What was used of each window, as (when, how much); ``later`` milliseconds are added, as our clock may err."""
        state = self._pools.get(pool)
        meters: Iterable[Meter] = state.meters.values() if state else ()
        return {m.window.key: [(at + later, amount) for at, amount in m.log] for m in meters if m.log}

    def holds(self, pool: str) -> list[list[Any]]:
        """What is in flight: name, when it was reserved, when its lease ends, its amounts, whether it has landed."""
        state = self._pools.get(pool)
        if state is None:
            return []
        return [[n, h.at_ms, h.expires_ms, *h.need, int(n not in state.airborne)] for n, h in state.held.items()]

    def _configured(self, pool: Pool) -> PoolState:
        known = self._logged.get(pool.id)
        if known is None or known[0] is not pool:
            if len(self._logged) >= _REMEMBERED:
                self._logged = {name: pair for name, pair in self._logged.items() if name in self._pools}
            known = self._logged[pool.id] = pool, _logged(pool)
        return super()._configured(known[1])


def _logged(pool: Pool) -> Pool:
    return Pool(pool.id, tuple(_log(window) for window in pool.windows))


def _log(window: Window) -> Window:
    return replace(window, style="sliding") if window.style == "refilling" else window
