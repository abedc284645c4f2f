"""The spool keeps what a killed process, a full disk and an absent database would lose."""

import asyncio
import errno
import fcntl
import logging
import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lumni.storage.database import Database
from lumni.storage.heir import Heir
from lumni.storage.lines import encode, encode_begun, row_of
from lumni.storage.rows import Row, record_of, request_row
from lumni.storage.segment import Segment
from lumni.storage.spool import Spool, orphans
from lumni.storage.writer import RecordWriter
from lumni.types import Attempt, ChatRequest, Outcome
from tests.storage.samples import record
from tests.storage.test_records import RECORDS

DYING = """
import os, signal, sys
from pathlib import Path
from lumni.storage.spool import Spool
from lumni.storage.lines import encode, encode_begun
from tests.storage.samples import record

spool = Spool(Path(sys.argv[1]), segment_bytes=5000)
for number in range(60):
    spool.begin({record(number).request_id: encode_begun(record(number, status=500))})
    if number % 3:
        spool.put(record(number).request_id, encode(record(number)))
os.kill(os.getpid(), signal.SIGKILL)
"""


class Shelf:
    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.away = False

    async def add(self, rows: Sequence[Row]) -> int:
        if self.away:
            raise ConnectionRefusedError
        self.rows += rows
        return len(rows)


def put(spool: Spool, *numbers: int) -> None:
    for number in numbers:
        spool.put(record(number).request_id, encode(record(number)))


def begin(spool: Spool, *numbers: int) -> None:
    spool.begin({record(number).request_id: encode_begun(record(number, status=500)) for number in numbers})


def begun(writer: RecordWriter, number: int) -> None:
    """Tell the writer of a request that begins."""
    one = record(number)
    request = ChatRequest(one.request_id, {}, "auto", one.created_at, 0.0, 60.0)
    writer.begin(request, lambda: record(number, status=500))


def numbers(lines: Sequence[bytes]) -> list[int]:
    return [int(row_of(line)["request_id"].removeprefix("req-")) for line in lines]


def files(parent: Path) -> list[Path]:
    return [path for path in parent.rglob("*") if path.is_file()]


def die(parent: Path) -> None:
    """A process that is killed with 20 of its 60 requests unended."""
    killed = subprocess.run([sys.executable, "-c", DYING, str(parent)], cwd=Path(__file__).parents[2], check=False)
    assert killed.returncode == -signal.SIGKILL


def test_what_is_put_comes_out_in_order_and_is_then_gone(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    put(spool, *range(10))
    assert numbers(spool.take(4)) == numbers(spool.take(4)) == [0, 1, 2, 3]
    assert len(spool) == 10
    spool.done()
    put(spool, 10)
    assert numbers(spool.take(100)) == [4, 5, 6, 7, 8, 9, 10]
    spool.done()
    assert (len(spool), spool.take(1), spool.size) == (0, [], 0)
    assert spool.close() == 0
    assert files(tmp_path) == []


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(["begin", "put", "take", "done"]), max_size=80), st.integers(200, 8000))
def test_any_order_of_events_keeps_every_record(
    tmp_path_factory: pytest.TempPathFactory, events: list[str], segment_bytes: int
) -> None:
    """Whatever is put is taken once, in its order; and what has begun without an end is always found on the disk."""
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder, segment_bytes=segment_bytes)
    begun: list[int] = []
    expected: list[int] = []
    settled: list[int] = []
    for number, event in enumerate(events):
        if event == "begin":
            begin(spool, number)
            begun.append(number)
        elif event == "put":
            ended = begun.pop(0) if begun else number
            put(spool, ended)
            expected.append(ended)
        elif event == "take":
            spool.take(3)
        else:
            settled += numbers(spool.take(3))
            spool.done()
    assert len(spool) == len(expected) - len(settled)
    on_disk = {line for path in sorted(folder.glob("*/*.jsonl")) for line in Segment(path).read(1000)}
    for number in begun:
        assert encode_begun(record(number, status=500)) in on_disk
    while taken := spool.take(3):
        settled += numbers(taken)
        spool.done()
    assert settled == expected
    spool.close()


async def test_a_killed_process_leaves_nothing_unrecorded(database: Database, tmp_path: Path) -> None:
    """000-29: its records are taken over, with those of requests that it never saw end; twice changes nothing."""
    die(tmp_path)
    heir = Heir(tmp_path, database.records.add_rows)
    assert await heir.look() == 60
    assert files(tmp_path) == []
    assert await heir.look() == 0
    assert await database.records.count() == 60
    found = [await database.records.get(record(number).request_id) for number in range(60)]
    assert [one.status for one in found if one] == [500, 200, 200] * 20


async def test_what_can_not_be_stored_waits_for_the_next_look(tmp_path: Path) -> None:
    die(tmp_path)
    shelf = Shelf()
    shelf.away = True
    heir = Heir(tmp_path, shelf.add)
    with pytest.raises(ConnectionRefusedError):
        await heir.look()
    shelf.away = False
    assert await heir.look() == len(shelf.rows) == 60


async def test_the_living_are_left_alone(tmp_path: Path) -> None:
    """A process's own spool, and that of another one that runs, is nobody's inheritance."""
    spool = Spool(tmp_path)
    put(spool, 1)
    assert list(orphans(tmp_path)) == []
    assert spool.close() == 0
    shelf = Shelf()
    assert await Heir(tmp_path, shelf.add).look() == 1
    assert files(tmp_path) == []


async def test_who_ends_takes_over_too(tmp_path: Path) -> None:
    """What was left between two looks is stored by the one that ends, if it can be."""
    shelf = Shelf()
    heir = Heir(tmp_path, shelf.add, every=3600)
    heir.start()
    await asyncio.sleep(0.05)
    die(tmp_path)
    await heir.close()
    assert len(shelf.rows) == 60
    shelf.away = True
    heir.start()
    die(tmp_path)
    await heir.close()
    assert len(list(orphans(tmp_path))) == 1


async def test_an_orphan_is_for_one_taker_only(tmp_path: Path) -> None:
    die(tmp_path)
    (mine,) = orphans(tmp_path)
    assert list(orphans(tmp_path)) == []
    mine.release()
    assert len(list(orphans(tmp_path))) == 1


def test_a_lock_that_was_deleted_meanwhile_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may take it for one of the dead before it is locked: what it guards would stay unfound."""
    really = fcntl.flock

    def late(file: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", really)
        (other,) = orphans(tmp_path)
        other.remove()
        really(file, how)

    spool = Spool(tmp_path, calm=0)
    monkeypatch.setattr(fcntl, "flock", late)
    put(spool, 1)
    assert spool.in_memory == 1
    put(spool, 2)
    assert (spool.in_memory, spool.fault) == (1, "")
    assert len(list(tmp_path.glob("*.lock"))) == 1
    assert sorted(numbers(spool.take(10))) == [1, 2]
    spool.done()
    spool.close()


def test_half_a_line_is_no_record(tmp_path: Path) -> None:
    """What a power cut left at the end of a file is skipped, and what stands before it is read."""
    spool = Spool(tmp_path)
    put(spool, 1, 2)
    spool.close()
    (path,) = tmp_path.glob("*/*.jsonl")
    with path.open("ab") as file:
        file.write(encode(record(3))[:50])
    (orphan,) = orphans(tmp_path)
    assert [numbers(batch) for batch in orphan.batches(100)] == [[1, 2]]
    orphan.release()


class FullDisk:
    """``os.write`` on a disk that has room for so many bytes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = math.inf
        really = os.write
        monkeypatch.setattr("lumni.storage.segment.os.write", lambda file, data: really(file, self._fits(data)))

    def _fits(self, data: bytes) -> bytes:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = data[: int(min(self.room, len(data)))]
        self.room -= len(part)
        return part


class Told(Spool):
    """Remembers whose begin it was told of."""

    def __init__(self, parent: Path) -> None:
        super().__init__(parent)
        self.begins: list[str] = []

    def begin(self, lines: Mapping[str, bytes]) -> None:
        self.begins += lines
        super().begin(lines)


async def test_only_what_runs_for_a_while_is_noted_before_its_end(tmp_path: Path) -> None:
    """Who ends at once leaves one line, whoever else runs; who doesn't is noted, also when others ended first."""
    spool = Told(tmp_path)
    writer = RecordWriter(Shelf().add, queue=spool)
    for long, short in ((1, 2), (4, 3)):
        for number in sorted((long, short)):
            begun(writer, number)
        writer.write(record(short))
        async with asyncio.timeout(60):
            while record(long).request_id not in spool.begins:
                await asyncio.sleep(0.01)
    assert spool.begins == [record(1).request_id, record(4).request_id]


async def test_a_full_disk_is_said_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the disk refuses, also in mid-line, is kept in memory and stored; said once, and once when it is over."""
    caplog.set_level(logging.INFO)
    disk = FullDisk(monkeypatch)
    shelf = Shelf()
    writer = RecordWriter(shelf.add, queue=Spool(tmp_path, calm=0), batch=3)
    writer.write(record(0))
    disk.room = 50
    for number in range(1, 6):
        begun(writer, number)
        writer.note_begun()
        writer.write(record(number))
    assert (writer.in_memory, writer.pending, writer.fault) == (5, 6, "No space left on device")
    disk.room = math.inf
    writer.write(record(6))
    assert (writer.in_memory, writer.fault) == (5, "")
    writer.start()
    await writer.flush()
    await writer.close()
    assert sorted(row["request_id"] for row in shelf.rows) == [record(number).request_id for number in range(7)]
    assert (writer.in_memory, writer.dropped) == (0, 0)
    assert caplog.text.count("can't be written (No space left on device)") == 1
    assert caplog.text.count("can be written again") == 1
    assert files(tmp_path) == []


async def test_memory_is_written_at_the_end_if_the_disk_has_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database away, the disk full: what is in memory reaches the disk before the process ends."""
    disk = FullDisk(monkeypatch)
    shelf = Shelf()
    shelf.away = True
    writer = RecordWriter(shelf.add, queue=Spool(tmp_path), batch=2, close_timeout=0.05)
    disk.room = 0
    for number in range(5):
        writer.write(record(number))
    writer.start()
    disk.room = math.inf
    await writer.close()
    shelf.away = False
    assert await Heir(tmp_path, shelf.add).look() == 5


def test_a_full_memory_drops_the_oldest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only then is something lost, and it is counted."""
    disk = FullDisk(monkeypatch)
    disk.room = 0
    spool = Spool(tmp_path, capacity=3)
    put(spool, *range(5))
    assert (spool.dropped, len(spool)) == (2, 3)
    assert numbers(spool.take(10)) == [2, 3, 4]
    assert spool.close() == 3


def test_a_folder_that_can_not_be_made_is_a_fault_and_no_end(tmp_path: Path) -> None:
    """The gateway serves on; what is written waits in memory."""
    (tmp_path / "spool").write_text("in the way")
    spool = Spool(tmp_path / "spool")
    put(spool, 1)
    assert (spool.in_memory, spool.fault) == (1, "File exists")


@settings(suppress_health_check=list(HealthCheck))
@given(RECORDS)
@example(record(attempts=(Attempt("d", "p", "m", Outcome.OK, 0.0, 1.0, 2**63),)))
def test_a_line_is_the_record(stored: "object") -> None:
    """The spool changes nothing of a record but what the database could not hold either, and NaN."""
    line = encode(stored)  # type: ignore[arg-type]
    assert b"\n" not in line
    row = row_of(line)
    row["decision"] = row["decision"] and orjson.loads(row["decision"])
    mended, read = record_of(request_row(stored)), record_of(row)  # type: ignore[arg-type]
    assert _finite(mended) == _finite(read)


def _finite(found: object) -> list[object]:
    """Fields without those where the two ways may differ: infinity is the largest number in one, nothing in JSON."""
    values = []
    for field in fields(found):  # type: ignore[arg-type]
        value = getattr(found, field.name)
        if isinstance(value, tuple):
            value = tuple(_finite(attempt) if isinstance(attempt, Attempt) else attempt for attempt in value)
        if isinstance(value, dict):
            value = {key: _number(item) for key, item in value.items()}
        values.append(_number(value))
    return values


def _number(value: object) -> object:
    return None if isinstance(value, float) and (value in (0.0, sys.float_info.max, -sys.float_info.max)) else value


def test_a_line_of_an_earlier_version_is_read_too() -> None:
    """000-29: an upgrade finds what its predecessor left."""
    line = orjson.dumps({**orjson.loads(encode(record(1))), "decision": None})
    old = line.replace(b',"trace":null,"steps":[],"decision":null}', b',"lumni.decision":{"options":[]}}')
    assert old.endswith(b"}}")
    assert row_of(old) == row_of(encode(record(1))) | {"decision": b'{"options":[]}'}


async def test_only_requests_that_take_their_time_are_noted_when_they_begin(tmp_path: Path) -> None:
    """000-29: those that end at once leave one line, all others are in the file within a moment of their begin."""
    spool = Spool(tmp_path)
    writer = RecordWriter(Shelf().add, queue=spool)
    for number in range(5):
        begun(writer, number)
    writer.write(record(1))
    (path,) = tmp_path.glob("*/*.jsonl")
    async with asyncio.timeout(30):
        while path.read_bytes().count(b"\n") < 5:
            await asyncio.sleep(0.01)
    lines = path.read_bytes().splitlines()
    assert lines == [encode(record(1)), *(encode_begun(record(number, status=500)) for number in (0, 2, 3, 4))]
    await writer.close()


def test_a_time_without_a_zone_is_refused_and_the_rest_goes_on(tmp_path: Path) -> None:
    writer = RecordWriter(Shelf().add, queue=Spool(tmp_path))
    writer.write(record(1, created_at=datetime(2026, 3, 1)))  # noqa: DTZ001
    writer.write(record(2, created_at=datetime(2026, 3, 1, tzinfo=UTC), outcome=Outcome.CUT))
    assert (writer.refused, writer.pending) == (1, 1)


def test_a_usual_record_is_written_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what no JSON can hold takes the long way: it costs more than all else that is kept of a request."""
    monkeypatch.setattr("lumni.storage.lines.request_row", None)
    assert row_of(encode(record(1)))["request_id"] == record(1).request_id
