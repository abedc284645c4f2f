"""The end of the time that running requests have after SIGTERM."""

from collections.abc import Callable


class Drain:
    """Shared by everything that serves requests: once it is over, what still runs is cut with a clear error."""

    def __init__(self) -> None:
        self._cuts: set[Callable[[], None]] = set()
        self.over = False

    def end(self) -> None:
        self.over = True
        for cut in tuple(self._cuts):
            cut()

    def watch(self, cut: Callable[[], None]) -> None:
        """Have ``cut`` called once running requests must end, until it is forgotten."""
        self._cuts.add(cut)

    def forget(self, cut: Callable[[], None]) -> None:
        self._cuts.discard(cut)
