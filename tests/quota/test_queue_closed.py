"""Who waits for a deployment that its breaker closes keeps her place, and gets it when it is open again."""

import asyncio

import pytest

from lumni.quota.memory import MemoryStore
from lumni.quota.model import Draw, Pool, Window
from lumni.quota.queue import AllClosed, FairQueue
from lumni.quota.ticket import NoCapacity, Ticket
from tests.quota.virtual import run, settle_down, wall_clock

FULL, FREE = Pool("full", (Window("requests", 60, 1),)), Pool("free", (Window("requests", 60, 5),))
BOTH = [Draw("full", (FULL,)), Draw("free", (FREE,))]


def ticket(student: str, patience: float = 1000) -> Ticket:
    return Ticket(student, asyncio.get_running_loop().time() + patience)


def test_nothing_is_reserved_of_what_is_closed_until_it_opens_again() -> None:
    """000-53: those in line before it closed are served by it afterwards, in their order, without asking anew."""

    async def main() -> None:
        closed = {"free": 500.0}
        queue, loop = (
            FairQueue(MemoryStore(), wall_clock, closed=lambda name: closed.get(name, 0.0)),
            asyncio.get_running_loop(),
        )
        first = await queue.lease(ticket("ada"), BOTH)
        assert first.deployment == "full"
        waiting = [asyncio.ensure_future(queue.lease(ticket(student), BOTH)) for student in ("ben", "eve")]
        await asyncio.sleep(30)
        assert [one.done() for one in waiting] == [False, False]
        closed.clear()
        opened = loop.time()
        leases = [await one for one in waiting]
        assert {lease.deployment for lease in leases} == {"free"}
        assert [lease.index for lease in leases] == [1, 1]
        assert loop.time() - opened <= 1
        assert all(30 <= lease.waited <= 31 for lease in leases)
        await queue.close()

    run(main())


def test_what_is_closed_beyond_the_deadline_is_no_reason_to_wait() -> None:
    """000-21: nobody is made to wait in vain."""

    async def main() -> None:
        queue, loop = (
            FairQueue(MemoryStore(), wall_clock, closed=lambda name: 500.0 * (name == "free")),
            asyncio.get_running_loop(),
        )
        lease = await queue.lease(ticket("ada"), BOTH)
        await lease.settle()
        before = loop.time()
        with pytest.raises(NoCapacity):
            await queue.lease(ticket("ben", patience=40), BOTH)
        assert loop.time() == before
        await queue.close()

    run(main())


def test_when_all_is_closed_the_line_is_left() -> None:
    """000-53: why it is closed, and for how long, is for others to say."""

    async def main() -> None:
        closed: dict[str, float] = {}
        queue = FairQueue(MemoryStore(), wall_clock, closed=lambda name: closed.get(name, 0.0))
        await queue.lease(ticket("ada"), BOTH[:1])
        waiting = asyncio.ensure_future(queue.lease(ticket("ben"), BOTH[:1]))
        await settle_down()
        closed["full"] = 600.0
        with pytest.raises(AllClosed):
            await waiting
        assert queue.waiting == 0
        await queue.close()

    run(main())
