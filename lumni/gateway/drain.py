"""The end of the time that running requests have after SIGTERM."""

import asyncio


class Drain:
    """Shared by everything that serves requests: once it is over, what still runs is cut with a clear error."""

    def __init__(self) -> None:
        self._ended: asyncio.Future[None] | None = None
        self.over = False

    def end(self) -> None:
        self.over = True
        if self._ended and not self._ended.done():
            self._ended.set_result(None)

    def ended(self) -> asyncio.Future[None]:
        """Done once running requests must end. It is everybody's: don't cancel it."""
        if self._ended is None:
            self._ended = asyncio.get_running_loop().create_future()
            if self.over:
                self._ended.set_result(None)
        return self._ended
