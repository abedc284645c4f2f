"""Records a second into a real PostgreSQL, by the way that the gateway takes: ``uv run python -m bench.records``.

The server is the tests' own, on this machine, without ``fsync``. Lines of the spool are read, made into rows and
inserted in batches, with the tables that hang on them and the sums, in one transaction a batch. Besides the rate, which
other work on the machine slows, the CPU time that each of the two processes took tells what a core could do.
"""

import asyncio
import os
import statistics
import time
from itertools import count
from pathlib import Path
from typing import NamedTuple

from bench.sinks import records
from lumni.settings import Settings
from lumni.storage.database import Database
from lumni.storage.lines import encode
from lumni.storage.writer import rows_of
from tests.services.postgres import Postgres

ROUNDS, BATCHES = 7, (500, 2000)
TICKS = os.sysconf("SC_CLK_TCK")


class Round(NamedTuple):
    """Seconds a record: by the clock, and of CPU in Lumni's and in PostgreSQL's process."""

    wall: float
    lumni: float
    postgres: float


async def main() -> None:
    numbers, some = count(), [encode(record) for record in records()]
    with Postgres() as server:
        database = await Database.open(Settings.model_validate({"database_url": server.url()}))
        for batch in BATCHES:
            lines = [
                [
                    line.replace(b"req_%032x" % number, b"req_%032x" % next(numbers))
                    for _ in range(5)
                    for number, line in enumerate(some)
                ]
                for _ in range(ROUNDS)
            ]
            rounds = [await measured(database, one, batch) for one in lines]
            wall, lumni, postgres = (statistics.median(values) for values in zip(*rounds, strict=True))
            print(
                f"batches of {batch}: {1 / wall:,.0f} records/s; CPU a record: Lumni {lumni * 1e6:.0f} µs "
                f"({1 / lumni:,.0f}/s a core), PostgreSQL {postgres * 1e6:.0f} µs ({1 / postgres:,.0f}/s a core)"
            )
        await database.close()


async def measured(database: Database, lines: list[bytes], batch: int) -> Round:
    """Store the lines in batches. One connection does it all: the pool's first."""
    async with database.engine.connect() as connection:
        backend = (await connection.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one()
    began, own, theirs = time.perf_counter(), time.process_time(), cpu_seconds(backend)
    for start in range(0, len(lines), batch):
        await database.records.add_rows(await rows_of(lines[start : start + batch]))
    spent = time.perf_counter() - began, time.process_time() - own, cpu_seconds(backend) - theirs
    return Round(*(seconds / len(lines) for seconds in spent))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    asyncio.run(main())
