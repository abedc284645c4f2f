"""A key's cap of concurrent calls, in the queue."""

import asyncio
from dataclasses import replace

from lumni.quota.queue import FairQueue
from lumni.quota.ticket import Ticket
from tests.quota.test_queue import Class, ask, pool, ticket
from tests.quota.virtual import run


class Crowd(Class):
    """Counts how many run at once, by the label before the slash."""

    def __init__(self) -> None:
        super().__init__(per_student=8)
        self.most: dict[str, int] = {}
        self.now: dict[str, int] = {}

    async def join(self, asked: Ticket) -> None:
        lease = await self.queue.lease(asked, ask(pool("p", 1000)))
        name = asked.student.partition("/")[0]
        self.now[name] = self.now.get(name, 0) + 1
        self.most[name] = max(self.most.get(name, 0), self.now[name])
        await asyncio.sleep(1)
        self.now[name] -= 1
        await lease.settle(lease.reservation.draw.need)


def test_a_keys_cap_holds_and_all_are_served() -> None:
    """000-60: of a student's key, of a key that many share together, and without one the usual bound."""

    async def main() -> None:
        crowd = Crowd()
        async with asyncio.TaskGroup() as group:
            for number in range(20):
                group.create_task(crowd.join(replace(ticket("few"), cap=2)))
                group.create_task(crowd.join(replace(ticket("many"), cap=15)))
                group.create_task(crowd.join(replace(ticket(f"shared/{number}"), cap=3, holder="key")))
                group.create_task(crowd.join(ticket("usual")))
        assert crowd.most == {"few": 2, "many": 15, "shared": 3, "usual": 8}
        assert not crowd.queue.waiting

    run(main())


def test_two_keys_of_a_student_count_together() -> None:
    """000-60: who may run more with another key is served as soon as that one's cap allows it."""

    async def main() -> None:
        crowd = Crowd()
        assert isinstance(crowd.queue, FairQueue)
        started = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(crowd.join(replace(ticket("ada"), cap=2 if number % 2 else 4)))
        assert crowd.most == {"ada": 4}
        assert asyncio.get_running_loop().time() - started < 8

    run(main())
