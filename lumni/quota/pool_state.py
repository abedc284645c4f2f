"""One pool in the memory of one process: its windows, and what is in flight."""

from dataclasses import dataclass, field

from lumni.quota.meter import Flight, Held, Meter
from lumni.quota.model import NOTHING, TRANSIT_MS, Amounts, Window, WindowState, transit_ms

NEVER = 1 << 62


@dataclass(slots=True)
class PoolState:
    """Meters in the order of the pool's windows, then the learned ones by name. Times are milliseconds.

    Of what is ``held``, the requests of the ``airborne`` may still be on their way; the others have ``landed``: they
    are in the meters already. ``soonest`` and ``landing`` are the next end of a lease and the next landing.
    """

    blocked: int = 0
    meters: dict[str, Meter] = field(default_factory=dict)
    held: dict[str, Held] = field(default_factory=dict)
    in_flight: Amounts = NOTHING
    soonest: int = NEVER
    windows: tuple[Window, ...] | None = None
    transit: int = TRANSIT_MS
    airborne: dict[str, Held] = field(default_factory=dict)
    landed: int = 0
    landing: int = NEVER

    def configure(self, windows: tuple[Window, ...]) -> None:
        known = self.meters
        extra = sorted(known.keys() - {window.key for window in windows})
        self.meters = {w.key: known.get(w.key) or Meter(w) for w in windows} | {key: known[key] for key in extra}
        for window in windows:
            self.meters[window.key].window = window
        self.windows = windows
        self.transit = transit_ms(meter.window for meter in self.meters.values())

    def hold(self, name: str, at: int, expires: int, need: Amounts) -> None:
        self.keep(name, Held(expires, at, min(at + self.transit, expires), need), landed=False)

    def keep(self, name: str, held: Held, *, landed: bool) -> None:
        self.held[name] = held
        self.in_flight = self.in_flight.plus(held.need)
        self.soonest = min(self.soonest, held.expires_ms)
        if landed:
            self.landed += held.need.requests
        else:
            self.airborne[name] = held
            self.landing = min(self.landing, held.lands_ms)

    def finish(self, name: str, used: Amounts, now: int, ago: int) -> bool:
        """Count what was used in place of what was held, as ``spend`` does. False if it was no longer held.

        What has landed stays where it is; only the difference is counted, or taken back.
        """
        held = self.held.pop(name, None)
        if held is None:
            return False
        self.in_flight = self.in_flight.minus(held.need)
        ago = max(0, min(ago, now - held.at_ms))
        if self.airborne.pop(name, None):
            self.spend(used, now, ago)
            return True
        self.landed -= held.need.requests
        more = used.requests - held.need.requests
        for meter in self.meters.values():
            if not meter.window.lands:
                meter.charge(used.of(meter.window.kind), now - ago if meter.window.kind == "requests" else now)
            elif more > 0:
                meter.charge(more, now - ago)
            else:
                meter.uncharge(-more, held.at_ms + self.transit)
        return True

    def reserved(self, window: Window) -> int:
        """What is held of a window's limit."""
        return self.in_flight.of(window.kind) - (self.landed if window.lands else 0)

    def flights(self, window: Window) -> list[Flight]:
        """The same, call by call."""
        if window.lands:
            return [Flight(held.lands_ms, held.lands_ms, held.need.requests) for held in self.airborne.values()]
        return [Flight(held.expires_ms, held.at_ms, held.need.of(window.kind)) for held in self.held.values()]

    def advance(self, now: int) -> int:
        """Land and expire holds, and forget what no longer counts; how many expired."""
        if self.landing <= now:
            self._land(now)
        expired = self._expire(now) if self.soonest <= now else 0
        for meter in self.meters.values():
            meter.advance(now)
        return expired

    def spend(self, need: Amounts, now: int, ago: int) -> None:
        """Count ``need``: its requests as of ``ago`` milliseconds before ``now``, its tokens now."""
        for meter in self.meters.values():
            meter.charge(need.of(meter.window.kind), now - ago if meter.window.kind == "requests" else now)

    def rows(self, pool: str, now: int) -> list[WindowState]:
        return [meter.state(pool, now, self.reserved(meter.window), self.blocked) for meter in self.meters.values()]

    def idle(self) -> bool:
        learned = len(self.meters) > len(self.windows or ())
        return not (self.held or self.blocked or learned) and all(
            meter.learned_limit is None and meter.anchor is None and not (meter.log or meter.debt or meter.blocked)
            for meter in self.meters.values()
        )

    def _land(self, now: int) -> None:
        over = sorted((held.lands_ms, name) for name, held in self.airborne.items() if held.lands_ms <= now)
        for lands, name in over:
            requests = self.airborne.pop(name).need.requests
            self.landed += requests
            for meter in self.meters.values():
                if meter.window.lands:
                    meter.charge(requests, lands)
        self.landing = min((held.lands_ms for held in self.airborne.values()), default=NEVER)

    def _expire(self, now: int) -> int:
        overdue = sorted((hold, name) for name, hold in self.held.items() if hold.expires_ms <= now)
        for hold, name in overdue:
            del self.held[name]
            self.in_flight = self.in_flight.minus(hold.need)
            self.landed -= hold.need.requests
            for meter in self.meters.values():
                refilling = meter.window.style == "refilling"
                if not meter.window.lands:
                    meter.charge(hold.need.of(meter.window.kind), hold.expires_ms if refilling else hold.at_ms)
        self.soonest = min((hold.expires_ms for hold in self.held.values()), default=NEVER)
        return len(overdue)
