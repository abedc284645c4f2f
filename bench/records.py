"""Records a second into a real PostgreSQL, by the way that the gateway takes: ``uv run python -m bench.records``.

The server is the tests' own, on this machine, without ``fsync``. Lines of the spool are read, made into rows and
inserted in batches, with the tables that hang on them and the sums, in one transaction a batch.
"""

import asyncio
import resource
import statistics
import time
from itertools import count

from bench.sinks import records
from lumni.settings import Settings
from lumni.storage.database import Database
from lumni.storage.lines import encode
from lumni.storage.writer import rows_of
from tests.services.postgres import Postgres

ROUNDS, BATCHES = 5, (500, 2000)


async def main() -> None:
    with Postgres() as server:
        database = await Database.open(Settings.model_validate({"database_url": server.url()}))
        numbers = count()
        some = list(records())
        for batch in BATCHES:
            rates, own = [], []
            for _ in range(ROUNDS):
                lines = [
                    encode(record).replace(b"req_%032x" % number, b"req_%032x" % next(numbers))
                    for _ in range(5)
                    for number, record in enumerate(some)
                ]
                began, cpu = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
                for start in range(0, len(lines), batch):
                    await database.records.add_rows(await rows_of(lines[start : start + batch]))
                seconds = time.perf_counter() - began
                rates.append(len(lines) / seconds)
                own.append((resource.getrusage(resource.RUSAGE_SELF).ru_utime - cpu) / len(lines) * 1e6)
            print(
                f"batches of {batch}: {statistics.median(rates):,.0f} records/s, the worst {min(rates):,.0f}; "
                f"{statistics.median(own):.0f} µs of Lumni's CPU a record"
            )
        await database.close()


if __name__ == "__main__":
    asyncio.run(main())
