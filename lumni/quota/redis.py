"""Quota state shared through Redis or Valkey: every step is one call of one Lua script."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha1
from importlib.resources import files
from secrets import token_hex
from typing import Any

import orjson
from redis.asyncio import Redis
from redis.exceptions import ConnectionError, NoScriptError, RedisError, ResponseError  # noqa: A004

from lumni.quota.clockwork import calendar_resets, milliseconds, milliseconds_up
from lumni.quota.model import (
    NOTHING,
    Amounts,
    Correction,
    Draw,
    Granted,
    Pool,
    Reason,
    Refusal,
    Refused,
    Reservation,
    Window,
    WindowState,
)
from lumni.quota.store import Wake, route
from lumni.quota.trips import RoundTrips

_STYLES = {"sliding": 0, "fixed": 1, "refilling": 2}
_REASONS: dict[str, Reason] = {"full": "full", "blocked": "blocked", "too_large": "too_large"}
FAULTS = (RedisError, OSError, TimeoutError)  # Redis is gone, hangs, or can't serve
_REMEMBERED = 10_000  # pools whose windows are kept in the script's form


@cache
def _script() -> str:
    return "".join((files("lumni.quota") / name).read_text(encoding="utf-8") for name in ("store.lua", "members.lua"))


class RedisStore:
    """``Store`` of any number of processes and machines.

    All keys begin with ``{prefix}``, a hash tag, so that a cluster keeps them on one node. With ``server_time`` (the
    default) Redis's clock rules and ``now`` only chooses calendar days; tests switch it off to move time themselves.
    Methods raise ``redis.exceptions.RedisError`` when Redis can't be reached.
    """

    def __init__(self, client: Redis, *, prefix: str = "lumni", server_time: bool = True) -> None:
        self._client = client
        self._trips: RoundTrips | None = None
        self._command: Callable[..., Awaitable[Any]] = client.execute_command
        if isinstance(client, Redis):  # without its retries and statistics, which take a third of the time
            self._trips = RoundTrips(client.connection_pool, ResponseError)
            self._command = self._trips.send
        self._prefix = f"{{{prefix}}}:quota:"
        self._channel = f"{{{prefix}}}:wake"
        self._server_time = server_time
        self._sha = sha1(_script().encode(), usedforsecurity=False).hexdigest()
        self._specs: dict[str, tuple[Pool, int, bytes]] = {}
        self._wakes: list[Wake] = []
        self._channels: list[str] = []
        self._listener: asyncio.Task[None] | None = None
        self._undoing: set[asyncio.Task[None]] = set()

    async def reserve(self, draws: Sequence[Draw], now: float, *, lease: float) -> Granted | Refused:
        pools = list({pool.id: pool for draw in draws for pool in draw.pools}.values())
        places = {pool.id: place for place, pool in enumerate(pools, 1)}
        name, lease_ms = token_hex(8), milliseconds(lease)
        wanted = [{"pools": [places[pool.id] for pool in draw.pools], "need": tuple(draw.need)} for draw in draws]
        asking = asyncio.ensure_future(self._run("reserve", pools, now, draws=wanted, id=name, lease=lease_ms))
        try:
            reply = await asyncio.shield(asking)
        except asyncio.CancelledError:
            self._undo(asking, name, draws, lease_ms, now)
            raise
        if reply[0]:
            return _granted(reply, name, draws, lease_ms, pools)
        return Refused(tuple(_refusal(draw, row, pools) for draw, row in zip(draws, reply[1], strict=True)))

    async def settle(
        self,
        reservation: Reservation,
        now: float,
        *,
        used: Amounts | None = None,
        counted_ago: float = 0.0,
        corrections: Sequence[Correction] = (),
    ) -> bool:
        pools, need = reservation.draw.pools, reservation.draw.need
        actual = need if used is None else used
        places = {pool.id: place for place, pool in enumerate(pools, 1)}
        words = [_word(places[pool.id], word) for pool, own in route(corrections, pools) for word in own]
        gains = bool(words or counted_ago or not actual.covers(need))
        return await self._settle(
            reservation, now, used=tuple(actual), ago=milliseconds(counted_ago), words=words, tell=gains
        )

    async def release(self, reservation: Reservation, now: float) -> bool:
        return await self._settle(reservation, now, used=tuple(NOTHING), ago=0, tell=True)

    async def expire(self, pools: Sequence[Pool], now: float) -> int:
        return int(await self._run("expire", pools, now))

    async def learn(self, pool: Pool, corrections: Sequence[Correction], now: float) -> None:
        await self._run("learn", [pool], now, words=[_word(1, word) for word in corrections])

    async def snapshot(self, pools: Sequence[Pool], now: float) -> tuple[WindowState, ...]:
        rows = await self._run("snapshot", pools, now)
        return tuple(_state(row, pools[row[0] - 1]) for row in rows)

    def subscribe(self, wake: Wake) -> Callable[[], None]:
        """As ``Store.subscribe``; needs a running event loop, which then also hears of other processes."""
        self._wakes.append(wake)
        self._tune(self._channel)
        return lambda: self._wakes.remove(wake)

    async def close(self) -> None:
        """Stop listening and finish what is being given back; the client stays open, it belongs to the caller."""
        await asyncio.gather(*self._undoing)
        if self._trips is not None:
            await self._trips.close()
        if self._listener is not None:
            await end(self._listener)
            self._listener = None
            self._channels.clear()

    def _tune(self, channel: str) -> None:
        """Hear what other processes say on one more channel."""
        if channel not in self._channels:
            self._channels.append(channel)
            task = asyncio.get_running_loop().create_task(self._listen(self._listener, tuple(self._channels)))
            self._listener = task

    def _undo(self, asking: "asyncio.Future[Any]", name: str, draws: Sequence[Draw], lease_ms: int, now: float) -> None:
        """Whoever asked has left: give back what the answer will bring."""

        async def give_back() -> None:
            with suppress(Exception):
                reply = await asking
                if reply[0]:
                    await self.release(_granted(reply, name, draws, lease_ms, ()).reservation, now)

        task = asyncio.get_running_loop().create_task(give_back())
        self._undoing.add(task)
        task.add_done_callback(self._undoing.discard)

    async def _settle(self, reservation: Reservation, now: float, **request: Any) -> bool:
        need, pools = reservation.draw.need, reservation.draw.pools
        held = {"id": reservation.id, "at": reservation.at_ms, "need": tuple(need)}
        return bool(await self._run("settle", pools, now, **held, **request))

    async def _run(self, operation: str, pools: Sequence[Pool], now: float, **request: Any) -> Any:
        now_ms = milliseconds(now)
        if not self._server_time:
            request["now"] = now_ms
        request["channel"] = self._channel
        keys = [self._prefix + pool.id for pool in pools]
        self._address(keys, request)
        windows = [self._windows(pool, now_ms) for pool in pools]
        arguments = (len(keys), *keys, operation, orjson.dumps(request), *windows)
        try:
            return await self._evaluate(arguments)
        except ConnectionError:  # a pooled connection outlived its server; were this done twice, a lease would expire
            return await self._evaluate(arguments)

    async def _evaluate(self, arguments: Sequence[Any]) -> Any:
        try:
            return await self._command("EVALSHA", self._sha, *arguments)
        except NoScriptError:  # Redis was restarted or flushed
            return await self._command("EVAL", _script(), *arguments)

    def _address(self, keys: list[str], request: dict[str, Any]) -> None:
        """For stores that have more to say with each call."""

    def _windows(self, pool: Pool, now_ms: int) -> bytes:
        """The pool's windows as the script reads them, made once until a calendar turns a page."""
        known = self._specs.get(pool.id)
        if known and known[0] is pool and now_ms < known[1]:
            return known[2]
        resets = [calendar_resets(window, now_ms) for window in pool.windows]
        rows = [_spec(window, found) for window, found in zip(pool.windows, resets, strict=True)]
        until = min((found[2] for found in resets if found), default=1 << 62)
        if len(self._specs) >= _REMEMBERED:
            self._specs.clear()
        text = orjson.dumps(rows)
        self._specs[pool.id] = (pool, until, text)
        return text

    async def _listen(self, before: asyncio.Task[None] | None, names: Sequence[str]) -> None:
        """Pass on what others say, in place of a listener to fewer channels; Redis away, anything may have changed."""
        if before is not None:
            await end(before)
        while True:
            with suppress(RedisError, OSError):
                async with self._client.pubsub() as channel:
                    await channel.subscribe(*names)
                    async for message in channel.listen():
                        if message["type"] == "message":
                            self._heard(text(message["channel"]), message["data"])
            self._wake(None)
            await asyncio.sleep(0.5)

    def _heard(self, channel: str, data: bytes | str) -> None:  # noqa: ARG002  (there is only one here)
        self._wake(data)

    def _wake(self, data: bytes | str | None) -> None:
        names = None
        if data is not None:
            text = data.decode() if isinstance(data, bytes) else data
            names = frozenset(key.removeprefix(self._prefix) for key in text.split("\n"))
        for wake in self._wakes:
            wake(names)


def _spec(window: Window, resets: Sequence[int]) -> list[Any]:
    limit = -1 if window.limit is None else window.limit
    capped = int(window.provenance == "configured")
    shape = (window.width_ms, window.guard_ms, milliseconds(window.anchor), resets, capped)
    return [window.key, window.period_ms, limit, _STYLES[window.style], *shape]


def _word(place: int, word: Correction) -> list[Any]:
    """A correction as the script reads it; -1 stands for what wasn't said."""
    reset_ms = -1 if word.reset_in is None else milliseconds_up(word.reset_in)
    limit = -1 if word.limit is None else word.limit
    remaining = -1 if word.remaining is None else word.remaining
    return [place, word.key, limit, remaining, reset_ms, int(word.refused)]


def _granted(reply: Sequence[Any], name: str, draws: Sequence[Draw], lease_ms: int, pools: Sequence[Pool]) -> Granted:
    index, at = reply[0] - 1, int(reply[1])
    states = tuple(_state(row, pools[row[0] - 1]) for row in reply[2]) if pools else ()
    return Granted(index, Reservation(name, draws[index], at, at + lease_ms), states)


def _refusal(draw: Draw, row: Sequence[Any], pools: Sequence[Pool]) -> Refusal:
    place, window, why, wait, earliest = row
    pool, reason = pools[place - 1].id, _REASONS[text(why)]
    return Refusal(draw.deployment, pool, text(window) or None, reason, _seconds(wait), _seconds(earliest))


def _state(row: Sequence[Any], pool: Pool) -> WindowState:
    _, name, limit, used, reserved, reset, blocked, learned = row
    key = text(name)
    window = next((w for w in pool.windows if w.key == key), None) or Window.learned(key)
    return WindowState(
        pool=pool.id,
        window=key,
        kind=window.kind,
        period=window.period,
        limit=None if limit < 0 else limit,
        used=used,
        reserved=reserved,
        reset_in=reset / 1000,
        blocked_in=blocked / 1000,
        provenance="learned" if learned else window.provenance,
    )


def connect(url: str) -> Redis:
    """A client for ``ResilientStore``, which bounds each call as a whole.

    The client's own bounds, of every read and write, would cost an eighth more.
    """
    return Redis.from_url(url, socket_timeout=None, socket_connect_timeout=1.0, health_check_interval=30)


async def end(task: asyncio.Task[None]) -> None:
    """Cancel until it has ended: redis-py may swallow a cancellation that comes while it connects."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)


def text(value: bytes | str) -> str:
    """What Redis sent, as a string."""
    return value.decode() if isinstance(value, bytes) else value


def _seconds(milliseconds_: int) -> float | None:
    return None if milliseconds_ < 0 else milliseconds_ / 1000
