"""The writer holds nobody up, and loses nothing that it has room for."""

import asyncio
import logging
import sqlite3
from collections.abc import Sequence

import pytest

from lumni.settings import Settings
from lumni.storage.database import Database
from lumni.storage.errors import RecordsRefused
from lumni.storage.queue import MemoryQueue
from lumni.storage.rows import Row
from lumni.storage.writer import RecordWriter
from tests.services.postgres import Postgres
from tests.storage.samples import record
from tests.storage.test_engine import settings


class Shelf:
    """A place for records whose faults a test can choose."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.away = False
        self.refuses: set[str] = set()
        self.asked = asyncio.Event()

    async def add(self, rows: Sequence[Row]) -> int:
        self.asked.set()
        if self.away:
            raise ConnectionRefusedError
        ids = [row["request_id"] for row in rows]
        if self.refuses.intersection(ids):
            raise RecordsRefused("no")
        self.batches.append(ids)
        return len(ids)

    @property
    def ids(self) -> list[str]:
        return [request_id for batch in self.batches for request_id in batch]


def ids(*numbers: int) -> list[str]:
    return [record(number).request_id for number in numbers]


async def test_what_is_written_reaches_the_database(database: Database) -> None:
    """In batches, without being asked, and all of it by the time that ``flush`` returns."""
    writer = RecordWriter(database.records.add_rows, batch=100)
    writer.start()
    for number in range(1050):
        writer.write(record(number))
    await writer.flush()
    assert await database.records.count() == 1050
    assert writer.pending == 0
    writer.write(record(2000))
    while writer.pending:
        await asyncio.sleep(0.01)
    assert await database.records.get("req-00002000") is not None
    await writer.close()


async def test_closing_stores_what_is_left(database: Database) -> None:
    """Also what was written before the start; closing twice is harmless."""
    writer = RecordWriter(database.records.add_rows, interval=3600)
    writer.write(record(1))
    writer.start()
    writer.write(record(2))
    await writer.close()
    await writer.close()
    assert await database.records.count() == 2


async def test_two_writers_with_the_same_records_count_each_once(database: Database) -> None:
    writers = [RecordWriter(database.records.add_rows, batch=30) for _ in range(2)]
    for writer in writers:
        writer.start()
    for number in range(600):
        writers[0].write(record(number))
        writers[1].write(record(599 - number))
    await asyncio.gather(*(writer.flush() for writer in writers))
    assert await database.records.count() == 600
    await asyncio.gather(*(writer.close() for writer in writers))


async def test_a_postgresql_that_dies_while_writing_loses_nothing() -> None:
    """Killed as by a crash in the middle, written to while it is away, and back: each record is there, once."""
    with Postgres() as server:
        database = await Database.open(settings(server.url()))
        writer = RecordWriter(database.records.add_rows, batch=20)
        writer.start()
        for number in range(3000):
            writer.write(record(number))
        while writer.pending > 2900:
            await asyncio.sleep(0)
        kill = asyncio.create_task(asyncio.to_thread(server.kill))
        for number in range(3000, 3500):
            writer.write(record(number))
            await asyncio.sleep(0)
        await kill
        assert writer.pending > 0
        await asyncio.to_thread(server.start)
        await writer.flush()
        assert await database.records.count() == 3500
        assert writer.dropped == writer.refused == 0
        await writer.close()
        await database.close()


async def test_an_sqlite_file_that_another_process_holds_loses_nothing(tmp_path: object) -> None:
    database = await Database.open(Settings(data_dir=tmp_path))
    holder = sqlite3.connect(str(database.engine.url.database))
    holder.execute("BEGIN EXCLUSIVE")
    writer = RecordWriter(database.records.add_rows, attempt_timeout=0.05)
    writer.start()
    for number in range(300):
        writer.write(record(number))
    await asyncio.sleep(0.3)
    assert writer.pending == 300
    holder.rollback()
    holder.close()
    await writer.flush()
    assert await database.records.count() == 300
    await writer.close()
    await database.close()


async def test_order_is_kept_over_an_outage() -> None:
    shelf = Shelf()
    shelf.away = True
    writer = RecordWriter(shelf.add, batch=3)
    writer.start()
    for number in range(4):
        writer.write(record(number))
    await shelf.asked.wait()
    writer.write(record(4))
    shelf.away = False
    await writer.flush()
    assert shelf.ids == ids(0, 1, 2, 3, 4)
    await writer.close()


async def test_a_record_that_the_database_refuses_takes_no_other_with_it(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    shelf.refuses = set(ids(3, 7))
    writer = RecordWriter(shelf.add)
    for number in range(10):
        writer.write(record(number))
    writer.start()
    await writer.flush()
    await writer.close()
    assert shelf.ids == ids(0, 1, 2, 4, 5, 6, 8, 9)
    assert writer.refused == 2
    assert [word in caplog.text for word in ids(3, 7)] == [True, True]


async def test_a_refused_record_is_found_by_the_real_database_too(database: Database) -> None:
    """PostgreSQL's index holds no key of this size; SQLite takes it. Either way its neighbours are stored."""
    writer = RecordWriter(database.records.add_rows)
    monster = "".join(chr(0x4E00 + number * 7919 % 20000) for number in range(20000))
    writer.write(record(1))
    writer.write(record(2, request_id=monster))
    writer.write(record(3))
    writer.start()
    await writer.flush()
    await writer.close()
    assert await database.records.count() + writer.refused == 3
    assert [await database.records.get(name) is not None for name in ids(1, 3)] == [True, True]


async def test_a_full_queue_drops_the_oldest_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    writer = RecordWriter(shelf.add, queue=MemoryQueue(5))
    for number in range(8):
        writer.write(record(number))
    assert (writer.dropped, writer.pending) == (3, 5)
    writer.start()
    await writer.flush()
    await writer.close()
    assert shelf.ids == ids(3, 4, 5, 6, 7)
    assert "3 request records were dropped" in caplog.text


async def test_closing_while_the_database_is_away_ends_and_counts_the_loss(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    shelf.away = True
    writer = RecordWriter(shelf.add, close_timeout=0.05)
    writer.start()
    writer.write(record(1))
    writer.write(record(2))
    await writer.close()
    assert "2 request records could not be stored" in caplog.text


async def test_an_outage_is_logged_once_and_without_the_records(caplog: pytest.LogCaptureFixture) -> None:
    """One line when it begins and one when it ends; what people wrote or were is in neither."""
    caplog.set_level(logging.INFO)
    shelf = Shelf()
    shelf.away = True
    writer = RecordWriter(shelf.add, interval=0.0)
    writer.start()
    writer.write(record(1, student="secret-student", label="secret-label"))
    for _ in range(2):
        shelf.asked.clear()
        await shelf.asked.wait()
    shelf.away = False
    await writer.flush()
    await writer.close()
    assert [line.levelname for line in caplog.records] == ["WARNING", "INFO"]
    assert "ConnectionRefusedError" in caplog.text
    assert "secret" not in caplog.text


async def test_flush_without_a_start_is_a_mistake_that_is_said() -> None:
    with pytest.raises(RuntimeError, match="not started"):
        await RecordWriter(Shelf().add).flush()
