"""One of the processes that share pools through Redis: the shared store's calls, each checked by the members' rules."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from secrets import randbits, token_hex
from typing import Any, NamedTuple

from lumni.quota.model import Pool
from lumni.quota.redis import FAULTS, RedisStore, text

Order = tuple[tuple[str, int], ...]


class Away(Exception):
    """The common state can't be drawn on now.

    ``reason`` is ``unreachable``, ``lost`` (restarted or flushed), ``left`` (we were given up), ``missing`` (another
    process is out of touch), ``gathering`` (not all have brought what they know) or ``unheard`` (not all have yet
    heard how much is used). ``detail`` is the class of the fault, if there was one.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: between beats; until a silent member is missing; until it is given up; for which a new epoch waits for
    everybody; until an unanswered call is given up."""

    beat: float = 1.0
    patience: float = 3.0
    burial: float = 10.0
    settling: float = 2.0
    timeout: float = 1.0


class Word(NamedTuple):
    """Redis's answer to a sign of life. ``clock`` is its time in milliseconds; ``rows`` are (pool, fields)."""

    clock: int
    epoch: str
    status: str
    head: int
    entitled: bool
    absent: int
    order: Order
    rows: tuple[tuple[str, dict[str, int]], ...]


class MemberStore(RedisStore):
    """``RedisStore`` of one member; its methods raise ``Away`` instead of ``RedisError``.

    ``noticed`` is called when other members must be heard.
    """

    def __init__(self, client: Any, *, prefix: str, server_time: bool, pace: Pace, noticed: Callable[[], None]) -> None:
        super().__init__(client, prefix=prefix, server_time=server_time)
        self.member = token_hex(8)
        self.epoch = ""
        self._control = f"{{{prefix}}}:members"
        self._pace = pace
        self._patience = round(pace.patience * 1000)
        self._on_notice = noticed

    async def sync(self, view: Order, applied: int, now: float, *, beat: bool) -> Word:
        """Give a sign of life; ``beat`` vouches that Redis knows all we did, and we all notices up to ``applied``."""
        order = dict(view).get(self.member, 0)
        timing = {"settling": round(self._pace.settling * 1000), "burial": round(self._pace.burial * 1000)}
        about = {"view": view, "order": order, "applied": applied, "beat": int(beat), "token": str(randbits(48))}
        reply = await self._run("sync", (), now, **timing, **about)
        clock, epoch, status, head, entitled, absent, order_, rows = reply
        members = tuple((text(order_[i]), int(order_[i + 1])) for i in range(0, len(order_), 2))
        notes = tuple((text(key).removeprefix(self._prefix), _fields(flat)) for key, flat in rows)
        return Word(int(clock), text(epoch), text(status), int(head), bool(entitled), int(absent), members, notes)

    async def push(self, pools: Sequence[Pool], rows: Sequence[dict[str, Any]], number: str, now: float) -> None:
        """Bring what was done without Redis; the same ``number`` again does nothing."""
        await self._run("push", pools, now, rows=rows, number=number)

    async def leave(self, now: float) -> None:
        await self._run("leave", (), now)

    async def _run(self, operation: str, pools: Sequence[Pool], now: float, **request: Any) -> Any:
        try:
            async with asyncio.timeout(self._pace.timeout):
                reply = await super()._run(operation, pools, now, **request)
        except FAULTS as fault:
            raise Away("unreachable", type(fault).__name__) from fault
        if reply == -1:
            raise Away("lost")
        if type(reply) is list and reply and reply[0] == -1:
            raise Away(text(reply[1]))
        return reply

    def _address(self, keys: list[str], request: dict[str, Any]) -> None:
        keys.append(self._control)
        request.update(member=self.member, epoch=self.epoch, patience=self._patience)

    def attend(self) -> None:
        """Hear of notices; needs a running event loop."""
        self._tune(self._control)

    def _heard(self, channel: str, data: bytes | str) -> None:
        if channel == self._control:
            self._on_notice()
        else:
            super()._heard(channel, data)


def _fields(flat: Sequence[bytes | str]) -> dict[str, int]:
    """A pool's fields that members keep in mind: limits, blocks, anchors and levels."""
    pairs = ((text(flat[i]), flat[i + 1]) for i in range(0, len(flat), 2))
    return {name: int(float(value)) for name, value in pairs if name[0] in "lbah"}
