"""`lumni db copy` of a million records, SQLite to a real PostgreSQL: ``uv run python -m bench.copying``.

The command itself is run, with its progress bar. The server is the tests' own, on this machine, without ``fsync``.
Records are those of ``bench.sinks`` over and over, each with an id and a moment of its own, spread over five months.
"""

import argparse
import asyncio
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import text

from bench.sinks import RECORDS, records
from lumni.settings import Settings
from lumni.storage.database import Database
from lumni.storage.tables import requests
from tests.services.postgres import Postgres

MINUTES = 5 * 30 * 24 * 60
AGAIN = {
    "request_id": "'req_' || lower(hex(randomblob(16)))",
    "created_at": f"strftime('%Y-%m-%d %H:%M:%f000', created_at, '+' || (abs(random()) % {MINUTES}) || ' minutes')",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000, metavar="N")
    number = parser.parse_args().records
    with tempfile.TemporaryDirectory() as folder, Postgres() as server:
        asyncio.run(fill(Path(folder), number))
        size = (Path(folder) / "lumni.db").stat().st_size
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "lumni", "db", "copy"],
            env={**os.environ, "DATA_DIR": folder, "DATABASE_URL": server.url()},
            check=True,
        )
        seconds, used = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu, memory = (used.ru_utime + used.ru_stime) / number * 1e6, used.ru_maxrss / 1024
    print(f"{number:,} records, {size / 2**30:.1f} GiB: {seconds:.0f} s, {number / seconds:,.0f} records a second")
    print(f"{cpu:.0f} µs of CPU a record, {memory:.0f} MiB of memory at most")


async def fill(folder: Path, number: int) -> None:
    """An SQLite database of so many records, made of a few by SQL."""
    database = await Database.open(Settings(data_dir=folder))
    await database.records.add(list(records()))
    names = ", ".join(column.name for column in requests.columns)
    values = ", ".join(AGAIN.get(column.name, column.name) for column in requests.columns)
    once = f"INSERT INTO requests ({names}) SELECT {values} FROM requests LIMIT :more"
    details = {
        "task_classifications": "request_id, task_type, round(confidence, 2), factors, created_at",
        "model_selections": "request_id, task_type, provider, model, reason, benchmark_score, created_at",
    }
    there = RECORDS
    async with database.engine.begin() as connection:
        while there < number:
            more = min(there, number - there)
            await connection.execute(text(once.replace(":%", r"\:%")), {"more": more})
            there += more
        for table, found in details.items():
            await connection.execute(text(f"INSERT OR IGNORE INTO {table} SELECT {found} FROM requests"))
    await database.close()


if __name__ == "__main__":
    main()
