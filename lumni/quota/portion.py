"""What one process may take of shared pools while Redis is gone: its share of each limit, and no more than is safe.

While Redis answers, no more than a *ceiling* of each limit is used without every process hearing of it: half of it at
first, then half of what is left, and so on (``members.lua``). So the rest above the last ceiling heard of is surely
unused, and each of n processes may take 1/n of it without asking (its *stake*). It may also use again what it
itself has in the window when it comes free. Once all that was used together has left the window, that grows to 1/n
of the limit. A *ballast* in the window's log keeps the difference until then.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from lumni.quota.memory import MemoryStore
from lumni.quota.meter import Meter
from lumni.quota.mirror import Mirror
from lumni.quota.model import Correction, Draw, Pool, Refusal, Refused, Window, transit_ms
from lumni.quota.pool_state import PoolState

RETRY = 1.0  # seconds after which something that needs Redis back is worth asking for again


@dataclass(frozen=True, slots=True)
class Part:
    """Place ``rank`` of ``of`` processes; ``of`` 0 has no part in anything."""

    rank: int = 0
    of: int = 0

    def share(self, amount: int) -> int:
        """Exactly this process's: the shares of all add up to ``amount``."""
        return max(0, -(-(amount - self.rank) // self.of)) if self.of else 0


@dataclass(slots=True)
class Note:
    """What members know of a pool besides its use: ``levels`` of ceilings, learned ``limits`` and ``anchors``, and
    until when (ms) its windows, or the whole pool (``""``), are closed."""

    levels: dict[str, int] = field(default_factory=dict)
    limits: dict[str, int] = field(default_factory=dict)
    anchors: dict[str, int] = field(default_factory=dict)
    blocks: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, fields: dict[str, int]) -> "Note":
        """From the fields of the pool in Redis: a letter and the window's key."""
        kinds: dict[str, dict[str, int]] = {"h": {}, "l": {}, "a": {}, "b": {}}
        for name, value in fields.items():
            kinds[name[0]][name[1:]] = value
        return cls(kinds["h"], kinds["l"], kinds["a"], kinds["b"])

    def learn(self, words: Sequence[Correction], now: int) -> None:
        """Keep what must be told later."""
        for word in words:
            if word.limit is not None and word.key:
                self.limits[word.key] = word.limit
            if word.refused and word.reset_in is not None:
                self.blocks[word.key] = max(self.blocks.get(word.key, 0), now + round(word.reset_in * 1000))

    def limit(self, window: Window) -> int | None:
        learned = self.limits.get(window.key, -1)
        if learned < 0 or window.limit is None:
            return window.limit if learned < 0 else learned
        return min(window.limit, learned) if window.provenance == "configured" else learned


@dataclass(frozen=True, slots=True)
class Footing:
    """What a process stands on when it is on its own.

    ``own`` is what it did; ``apart`` what of that it did alone since all were last together; ``unsent`` what Redis
    hasn't counted yet. ``agreed`` are the levels that all knew when they were last together, ``notes`` all it knows
    now. Until ``until`` (ms) others may draw on the common state, and nothing that comes free is used again.
    """

    part: Part
    own: Mirror
    apart: Mirror
    unsent: Mirror
    agreed: dict[str, dict[str, int]]
    notes: dict[str, Note]
    until: int

    def stake(self, pool: str, window: Window, limit: int) -> int:
        """What is surely unused of a limit, by this process's part, less what it has taken of it already."""
        key, note = window.key, self.notes.get(pool) or Note()
        first = self.part.share(limit // 2 ** self.agreed.get(pool, {}).get(key, 1)) - _taken(self.apart, pool, window)
        latest = self.part.share(limit // 2 ** note.levels.get(key, 1)) - _taken(self.unsent, pool, window)
        return max(0, min(first, latest))


class Portion(MemoryStore):
    """The state of one process on its own. ``clock`` is the shared clock in milliseconds, rather late than early."""

    def __init__(self, footing: Footing, clock: Callable[[], int]) -> None:
        super().__init__()
        self._footing, self._clock = footing, clock
        self._part, self._notes = footing.part, footing.notes

    def scaled(self, words: Sequence[Correction]) -> list[Correction]:
        """A provider's word about the whole pool, as one about this process's part."""
        share = self._part.share
        return [
            replace(
                word,
                limit=None if word.limit is None else share(word.limit),
                remaining=None if word.remaining is None else share(word.remaining),
            )
            for word in words
        ]

    def explain(self, refused: Refused, draws: Sequence[Draw]) -> Refused:
        """What is too large for a share may fit when Redis is back, and may come free then at any time."""
        return Refused(tuple(self._explain(r, draw) for r, draw in zip(refused.refusals, draws, strict=True)))

    def _explain(self, refusal: Refusal, draw: Draw) -> Refusal:
        soon = RETRY if refusal.earliest is None else min(refusal.earliest, RETRY)
        if refusal.reason != "too_large":
            return refusal if refusal.reason == "blocked" else replace(refusal, earliest=soon)
        for pool in draw.pools:
            note = self._notes.get(pool.id) or Note()
            limits = ((window, note.limit(window)) for window in pool.windows)
            if any(limit is not None and draw.need.of(window.kind) > limit for window, limit in limits):
                return refusal
        return replace(refusal, reason="full", wait=RETRY, earliest=soon)

    def _configured(self, pool: Pool) -> PoolState:
        state = self._pools.get(pool.id)
        if state is None:
            state = self._pools[pool.id] = self._begin(pool)
        return state

    def _sweep(self, now: int) -> None:
        """A pool that seems unused has its ballast: it stays until Redis is back."""

    def _begin(self, pool: Pool) -> PoolState:
        note, own, now = self._notes.get(pool.id) or Note(), self._footing.own.state(pool.id), self._clock()
        extra = sorted(note.limits.keys() - {window.key for window in pool.windows})
        if own:
            own.advance(now)
        state = PoolState(note.blocks.get("", 0))
        for window in (*pool.windows, *(Window.learned(key) for key in extra)):
            limit = note.limit(window)
            share = None if limit is None else self._part.share(limit)
            meter = Meter(
                replace(window, limit=share), None, note.anchors.get(window.key), note.blocks.get(window.key, 0)
            )
            meter.advance(now)
            self._fill(meter, own, now)
            if limit is not None and share is not None:
                self._weigh(meter, share, self._footing.stake(pool.id, window, limit), own, now)
            state.meters[window.key] = meter
        state.windows = tuple(meter.window for meter in state.meters.values())
        state.transit = transit_ms(state.windows)
        if own:
            for name, held in own.held.items():
                state.keep(name, held, landed=name not in own.airborne)
        return state

    def _fill(self, meter: Meter, own: PoolState | None, now: int) -> None:
        """Own use, as it was; a bucket has had no time to refill since."""
        for stamp, amount in _log(own, meter.window.key):
            meter.charge(amount, now if meter.window.style == "refilling" else stamp)

    def _weigh(self, meter: Meter, share: int, stake: int, own: PoolState | None, now: int) -> None:
        """Add the ballast: all of the share but what will still be its own when others have stopped, and the stake."""
        until, log = max(now, self._footing.until), _log(own, meter.window.key)
        if meter.window.style == "refilling":
            kept = sum(amount for _, amount in log)
            meter.debt += share * (until - now)
        else:
            kept = sum(amount for stamp, amount in log if meter.drops_at(stamp) > until)
        kept += own.reserved(meter.window) if own else 0
        meter.charge(share - kept - stake, now if meter.window.style == "refilling" else until)


def _log(state: PoolState | None, key: str) -> list[tuple[int, int]]:
    return state.meters[key].log if state and key in state.meters else []


def _taken(mirror: Mirror, pool: str, window: Window) -> int:
    state = mirror.state(pool)
    flying = state.reserved(window) if state else 0
    return flying + sum(amount for _, amount in _log(state, window.key))
