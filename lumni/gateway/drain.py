"""The end of the time that running requests have after SIGTERM."""

import asyncio


class Drain:
    """Shared by everything that serves requests: once it is over, what still runs is cut with a clear error."""

    def __init__(self) -> None:
        self._over = asyncio.Event()

    @property
    def over(self) -> bool:
        return self._over.is_set()

    def end(self) -> None:
        self._over.set()

    async def wait(self) -> None:
        """Until running requests must end."""
        await self._over.wait()
