"""What a process did that Redis hasn't counted, and how it is brought there: each call once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from lumni.quota.mirror import Mirror
from lumni.quota.model import Amounts, Pool, Reservation
from lumni.quota.portion import Note
from lumni.quota.tide import Tide

_POOLS_A_BILL = 100  # so that no script runs for long


@dataclass(frozen=True, slots=True)
class Bill:
    """One push: a row a pool. It is sent until it is answered; ``number`` tells Redis whether it has it already."""

    pools: list[Pool]
    rows: list[dict[str, Any]]
    number: str = field(default_factory=lambda: token_hex(8))

    def holds(self, name: str) -> bool:
        return any(hold[0] == name for row in self.rows for hold in row["holds"])


class Arrears:
    """``mirror`` has what was done alone; ``learned`` the pools of which a provider said something meanwhile."""

    def __init__(self) -> None:
        self.mirror = Mirror()
        self.learned: dict[str, Pool] = {}
        self._ended: dict[str, list[list[Any]]] = {}
        self._pools: dict[str, Pool] = {}
        self._whole: dict[str, Pool] = {}
        self._bill: Bill | None = None

    def holds(self, reservation: Reservation) -> bool:
        """Whether Redis may not know of a reservation."""
        states = (self.mirror.state(pool.id) for pool in reservation.draw.pools)
        if any(state and reservation.id in state.held for state in states):
            return True
        return self._bill is not None and self._bill.holds(reservation.id)

    def adopt(self, reservation: Reservation) -> None:
        self.mirror.adopt(reservation)

    def finish(self, reservation: Reservation, used: Amounts, now: int, ago: int) -> None:
        """A reservation ended: here if Redis doesn't know of it, else it must be told."""
        ago = max(0, min(ago, now - reservation.at_ms))
        row = [reservation.id, reservation.at_ms, *reservation.draw.need, *used, now - ago, now]
        for pool in reservation.draw.pools:
            if not self.mirror.finish_in(pool, reservation.id, used, now, ago):
                self._pools[pool.id] = pool
                self._ended.setdefault(pool.id, []).append(row)

    def all_of(self, own: Mirror, notes: Mapping[str, Note], now: int) -> None:
        """Redis has forgotten: everything is to be brought, of pools that only others used what providers said."""
        self.mirror, self._bill = Mirror(), None
        self._ended.clear()
        self._pools.clear()
        self._whole = {name: Pool(name) for name, note in notes.items() if note.limits or note.blocks}
        self._whole |= {pool.id: pool for pool in own.known(now)}

    def bill(self, own: Mirror, notes: Mapping[str, Note], tide: Tide) -> Bill | None:
        """What to bring next; the same again until it is ``paid``. None if all is."""
        if self._bill is None:
            due = {**self._whole, **self._pools, **self.learned}
            due |= {pool.id: pool for pool in self.mirror.known(tide.earliest)}
            pools = list(due.values())[:_POOLS_A_BILL]
            if pools:
                later = tide.latest - tide.earliest
                self._bill = Bill(pools, [self._row(pool, own, notes.get(pool.id) or Note(), later) for pool in pools])
        return self._bill

    def paid(self) -> None:
        self._bill = None

    def _row(self, pool: Pool, own: Mirror, note: Note, later: int) -> dict[str, Any]:
        source = own if self._whole.pop(pool.id, None) else self.mirror
        logs, holds = source.logs(pool.id, later), source.holds(pool.id)
        self.mirror.clear(pool.id)
        self.learned.pop(pool.id, None)
        self._pools.pop(pool.id, None)
        ends = self._ended.pop(pool.id, [])
        return {"logs": logs, "holds": holds, "ends": ends, "limits": note.limits, "blocks": note.blocks}
