"""Whether a client is still there, and hanging up when it isn't."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect

from lumni.errors import ShuttingDown
from lumni.gateway.drain import Drain

T = TypeVar("T")


class Presence:
    """The client of one connection, on which one request at a time is served.

    The server tells at once when it leaves: no task has to wait for that. A server that can't gives none, and its
    requests are served to their end.
    """

    EXTENSION = "lumni.presence"
    """Its name among the ``extensions`` of an ASGI scope."""

    def __init__(self) -> None:
        self.left = False
        self._cut: Callable[[], None] | None = None

    def leave(self) -> None:
        self.left = True
        if self._cut:
            self._cut()

    def watch(self, cut: Callable[[], None] | None) -> None:
        """Have ``cut`` called when the client leaves; ``None``: nothing any more."""
        self._cut = cut


async def while_wanted(presence: Presence, drain: Drain, work: Coroutine[Any, Any, T]) -> T:
    """``work``'s result. If it must end earlier, it is cancelled and may clean up before this raises.

    Raises :class:`ClientDisconnect` when the client hung up, :class:`ShuttingDown` when the time to drain is over.
    """
    task, is_cut = asyncio.current_task(), False
    assert task is not None  # noqa: S101  (a coroutine of asyncio runs in a task)

    def cut() -> None:
        nonlocal is_cut
        if not is_cut:  # a second time would break off the cleaning up
            is_cut = True
            task.cancel()

    presence.watch(cut)
    drain.watch(cut)
    # Too late already: the work begins none the less, so that it can tell of its end.
    late = asyncio.get_running_loop().call_soon(cut) if presence.left or drain.over else None
    try:
        return await work
    except asyncio.CancelledError:
        if not is_cut:
            raise
        if drain.over:
            raise ShuttingDown("The gateway is being stopped. Ask again in a moment.") from None
        raise ClientDisconnect from None
    finally:
        presence.watch(None)
        drain.forget(cut)
        if late:
            late.cancel()
        if is_cut:
            task.uncancel()
