"""Commands that are given in one tick of the event loop travel to Redis together: one write, one wait."""

import asyncio
from collections.abc import Sequence
from typing import Any

Command = tuple[Any, ...]
Load = list[tuple[Command, "asyncio.Future[Any]"]]


class RoundTrips:
    """``pool`` are redis-py's connections, ``refused`` what it raises for a command that Redis answers with an error.

    Whoever stops waiting doesn't keep the others from their answers; if all of a trip have, it is given up, and its
    connection with it, on which their answers might still come.
    """

    def __init__(self, pool: Any, refused: type[Exception]) -> None:
        self._pool = pool
        self._refused = refused
        self._load: Load = []
        self._under_way: set[asyncio.Task[None]] = set()

    async def send(self, *command: Any) -> Any:
        """The command's answer. Raises what redis-py does, for a broken connection to all who travelled with it."""
        loop = asyncio.get_running_loop()
        if not self._load:
            loop.call_soon(self._leave)
        answer: asyncio.Future[Any] = loop.create_future()
        self._load.append((command, answer))
        return await answer

    async def close(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def _leave(self) -> None:
        load, self._load = self._load, []
        trip = asyncio.get_running_loop().create_task(self._carry(load))
        self._under_way.add(trip)
        trip.add_done_callback(self._under_way.discard)

        def given_up(answer: "asyncio.Future[Any]") -> None:
            if answer.cancelled() and all(other.done() for _, other in load):
                trip.cancel()

        for _, answer in load:
            answer.add_done_callback(given_up)

    async def _carry(self, load: Load) -> None:
        try:
            connection = await self._pool.get_connection()
            try:
                await self._exchange(connection, load)
            except BaseException:
                await connection.disconnect(nowait=True)
                raise
            finally:
                await self._pool.release(connection)
        except Exception as error:  # noqa: BLE001  (it belongs to those who wait)
            for _, answer in load:
                if not answer.done():
                    answer.set_exception(error)
        finally:
            for _, answer in load:
                answer.cancel()

    async def _exchange(self, connection: Any, load: Load) -> None:
        await connection.send_packed_command(connection.pack_commands(_commands(load)))
        for _, answer in load:
            try:
                reply = await connection.read_response()
            except self._refused as refusal:
                if not answer.done():
                    answer.set_exception(refusal)
            else:
                if not answer.done():
                    answer.set_result(reply)


def _commands(load: Load) -> Sequence[Command]:
    return [command for command, _ in load]
