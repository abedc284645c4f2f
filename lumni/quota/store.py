"""The one interface of quota state. ``MemoryStore`` is for one process, ``RedisStore`` for any number."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from lumni.quota.model import Amounts, Correction, Draw, Granted, Pool, Refused, Reservation, WindowState

Wake = Callable[[frozenset[str] | None], None]


class Store(Protocol):
    """Each method is one atomic step for all pools that it names.

    ``now`` is Unix time in seconds. A store shared by machines may go by its own clock instead; all other times are
    therefore durations.
    """

    async def reserve(self, draws: Sequence[Draw], now: float, *, lease: float) -> Granted | Refused:
        """Take what the first draw that fits needs, from all windows of all its pools, or say why none fits.

        The reservation holds for ``lease`` seconds; then it counts as used at the moment it was made, because a process
        that died has most likely sent its call. ``lease=0`` spends at once: nothing is left to settle.
        """
        ...

    async def settle(
        self,
        reservation: Reservation,
        now: float,
        *,
        used: Amounts | None = None,
        counted_ago: float = 0.0,
        corrections: Sequence[Correction] = (),
    ) -> bool:
        """Replace the estimate by what was ``used`` (``None``: the estimate stands), and learn ``corrections``.

        ``counted_ago`` is how many seconds ago the provider had surely counted the request (when its answer began);
        tokens count from now. False if the reservation was no longer held: its estimate is already counted.
        ``corrections`` are taken in first, because the provider had counted this call when it said what remains.
        Corrections for windows go to each pool of the draw that has such a window, or to its first pool if none has.
        """
        ...

    async def release(self, reservation: Reservation, now: float) -> bool:
        """Give back a reservation whose call was never sent. False if it was no longer held."""
        ...

    async def expire(self, pools: Sequence[Pool], now: float) -> int:
        """Turn reservations past their lease into use; how many (one a pool each).

        Nobody has to: every other method does so itself for the pools that it looks at.
        """
        ...

    async def learn(self, pool: Pool, corrections: Sequence[Correction], now: float) -> None:
        """Take a provider's word about ``pool``; see ``Correction``."""
        ...

    async def snapshot(self, pools: Sequence[Pool], now: float) -> tuple[WindowState, ...]:
        """The state of every window of ``pools``, those that were only learned included."""
        ...

    def subscribe(self, wake: Wake) -> Callable[[], None]:
        """Call ``wake`` with the ids of pools that may have gained capacity (``None``: any); returns how to stop."""
        ...


class Shared(ABC):
    """What a ``Store`` of several processes can say besides. Here, so that asking it doesn't take Redis's client."""

    @property
    @abstractmethod
    def state(self) -> dict[str, Any]:
        """For health and metrics: ``mode`` (``shared`` or ``degraded``), ``since`` (Unix time), the ``share`` of each
        limit that this process keeps to (1 in shared mode), how many ``processes`` share, and ``reason``."""

    @property
    @abstractmethod
    def stranded(self) -> bool:
        """Whether nothing may be drawn on: the other processes were never met, or have given us up."""

    @abstractmethod
    async def shared_within(self, seconds: float) -> bool:
        """Wait for the common state; whether it can be drawn on."""


def route(corrections: Sequence[Correction], pools: Sequence[Pool]) -> list[tuple[Pool, list[Correction]]]:
    """Which pool of a draw each correction is about.

    A word about the whole pool, or about a window that no pool has, goes to the first: list the narrowest pool first.
    """
    routed: dict[str, list[Correction]] = {pool.id: [] for pool in pools}
    for correction in corrections:
        owners = [p for p in pools if any(w.key == correction.key for w in p.windows)] if correction.key else []
        for owner in owners or pools[:1]:
            routed[owner.id].append(correction)
    return [(pool, routed[pool.id]) for pool in pools if routed[pool.id]]
