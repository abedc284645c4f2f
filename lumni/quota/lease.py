"""What the pipeline holds while it calls a provider."""

from collections.abc import Callable, Sequence

from lumni.quota.model import Amounts, Correction, Reservation
from lumni.quota.store import Store


class Lease:
    """Reserved capacity for one upstream call. End it exactly once: ``settle`` if the call was sent, else ``release``.

    Ending it twice does nothing more. ``index`` is the place of the chosen draw in what was asked, ``waited`` the
    seconds spent in the queue.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        index: int,
        reservation: Reservation,
        ended: Callable[[], None],
        waited: float = 0.0,
    ) -> None:
        self._store = store
        self._clock = clock
        self._ended: Callable[[], None] | None = ended
        self.index = index
        self.reservation = reservation
        self.waited = waited

    @property
    def deployment(self) -> str:
        return self.reservation.draw.deployment

    async def settle(
        self, used: Amounts | None = None, *, counted_ago: float = 0.0, corrections: Sequence[Correction] = ()
    ) -> None:
        """Count what was really ``used`` and learn what the provider said; see ``Store.settle``."""
        if self._end():
            settle = self._store.settle
            await settle(self.reservation, self._clock(), used=used, counted_ago=counted_ago, corrections=corrections)

    async def release(self) -> None:
        """Give everything back: the call was never sent."""
        if self._end():
            await self._store.release(self.reservation, self._clock())

    def _end(self) -> bool:
        ended, self._ended = self._ended, None
        if ended:
            ended()
        return ended is not None
