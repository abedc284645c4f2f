"""What runs while a process serves, and is closed at its end, each part within its time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Protocol, TypeVar

logger = logging.getLogger(__name__)
T = TypeVar("T")
AnyPart = TypeVar("AnyPart", bound="Part")
AnyStarting = TypeVar("AnyStarting", bound="Starting")

CLOSING_SECONDS = 30.0  # for one part to close: the longest that any takes on purpose is ten


class Part(Protocol):
    """Something that runs until it is closed."""

    async def close(self) -> None: ...


class Starting(Part, Protocol):
    """… and that must be told to begin."""

    def start(self) -> Awaitable[None] | None: ...


class Parts(AsyncExitStack):
    """What was opened; it is closed the other way round, each part within its time."""

    def keep(self, part: AnyPart) -> AnyPart:
        """Close this at the end."""
        self.push_async_callback(in_time, part.close)
        return part

    async def start(self, part: AnyStarting) -> AnyStarting:
        """Let this begin, and close it at the end."""
        self.keep(part)
        if (begun := part.start()) is not None:
            await begun
        return part

    async def enter(self, context: AbstractAsyncContextManager[T]) -> T:
        """Open this, and leave it at the end."""
        return await self.enter_async_context(context)


async def in_time(close: Callable[[], Awaitable[None]], seconds: float = CLOSING_SECONDS) -> None:
    """Close one part, but don't let it keep the process from ending: a driver may wait for a connection for ever."""
    try:
        async with asyncio.timeout(seconds):
            await close()
    except TimeoutError:
        logger.error("%s did not close within %.0f s", getattr(close, "__qualname__", close), seconds)
