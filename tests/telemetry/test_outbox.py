"""Entries arrive, whatever happens to the service, and nobody waits for it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import orjson
import pytest

from lumni.telemetry.outbox import Outbox, Pace
from tests.telemetry.portkey_double import KEY, Portkey, portkey

QUICK = Pace(interval=0.01, first_pause=0.02, longest_pause=0.05, timeout=5.0, closing=2.0)


@pytest.fixture
async def service() -> AsyncIterator[Portkey]:
    async with portkey() as double:
        yield double


def outbox(service: Portkey, folder: Path, pace: Pace = QUICK) -> Outbox:
    return Outbox("Portkey", f"{service.base}/logs", {"x-portkey-api-key": KEY}, folder / "spill", pace)


def entry(trace: str) -> bytes:
    return orjson.dumps(
        {"request": {"url": "u", "body": {}}, "response": {"body": {}}, "metadata": {"trace_id": trace}}
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.01)


async def test_entries_travel_in_batches(service: Portkey, tmp_path: Path) -> None:
    box = outbox(service, tmp_path)
    for number in range(250):
        box.put(entry(str(number)))
    box.start()
    await box.close()
    assert service.traces() == [str(number) for number in range(250)]
    assert service.batches == [100, 100, 50]
    assert (box.sent.delivered, box.pending) == (250, 0)


async def test_an_outage_loses_and_doubles_nothing(service: Portkey, tmp_path: Path) -> None:
    """001-03: 2,000 requests while Portkey is away all arrive afterwards, once."""
    service.status = 503
    box = outbox(service, tmp_path)
    box.start()
    for number in range(2000):
        box.put(entry(str(number)))
    await until(lambda: box.sent.failures >= 3)
    service.status = 200
    await until(lambda: box.pending == 0)
    await box.close()
    assert service.traces() == [str(number) for number in range(2000)]
    assert box.sent.dropped == 0


async def test_a_hang_holds_nobody_up(service: Portkey, tmp_path: Path) -> None:
    """001-03: handing over is no more than an entry in a queue, and the end has its time."""
    service.hold.clear()
    box = outbox(service, tmp_path, Pace(interval=0.0, closing=0.05))
    box.start()
    box.put(entry("first"))
    await until(lambda: service.calls == 1)
    box.put(entry("second"))
    assert box.pending == 2
    await box.close()
    assert (tmp_path / "spill").read_bytes().splitlines() == [entry("first"), entry("second")]


async def test_what_an_end_leaves_is_sent_by_the_next_start(service: Portkey, tmp_path: Path) -> None:
    """001-03: shutdown loses none."""
    service.status = 500
    box = outbox(service, tmp_path)
    box.start()
    box.put(entry("kept"))
    await box.close()
    assert service.logs == []
    service.status = 200
    box = outbox(service, tmp_path)
    box.start()
    box.put(entry("new"))
    await box.close()
    assert service.traces() == ["kept", "new"]
    assert not (tmp_path / "spill").exists()


@pytest.mark.parametrize("place", [0, 37, 99])
async def test_a_poison_entry_is_isolated(service: Portkey, tmp_path: Path, place: int) -> None:
    """001-03: one that is refused takes none of its batch with it."""
    service.poison = {str(place)}
    box = outbox(service, tmp_path)
    for number in range(100):
        box.put(entry(str(number)))
    box.start()
    await box.close()
    assert service.traces() == [str(number) for number in range(100) if number != place]
    assert (box.sent.refused, box.sent.delivered) == (1, 99)


async def test_a_full_queue_drops_the_oldest(service: Portkey, tmp_path: Path) -> None:
    """001-03: memory is bounded, also while a batch is under way."""
    service.hold.clear()
    box = outbox(service, tmp_path, Pace(capacity=10, batch=4, interval=0.0, closing=0.05))
    box.start()
    for number in range(4):
        box.put(entry(str(number)))
    await until(lambda: service.calls == 1)
    for number in range(4, 20):
        box.put(entry(str(number)))
    await box.close()
    assert (tmp_path / "spill").read_bytes().splitlines() == [entry(str(number)) for number in range(10, 20)]
    assert box.sent.dropped == 10


async def test_a_retry_after_is_obeyed(service: Portkey, tmp_path: Path) -> None:
    service.status, service.headers = 429, {"retry-after": "300"}
    box = outbox(service, tmp_path)
    box.start()
    box.put(entry("1"))
    await until(lambda: box.sent.failures == 1)
    service.status = 200
    await asyncio.sleep(0.2)  # four times the longest pause of its own
    assert (service.calls, box.pending) == (1, 1)
    await box.close()  # the end doesn't wait for it, but tries once
    assert service.traces() == ["1"]


async def test_a_wrong_key_is_told_once_and_keeps_what_there_is(
    service: Portkey, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    box = Outbox("Portkey", f"{service.base}/logs", {"x-portkey-api-key": "wrong"}, tmp_path / "spill", QUICK)
    box.start()
    box.put(entry("1"))
    await until(lambda: box.sent.failures >= 3)
    await box.close()
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "Portkey takes no entries (status 401); 1 wait"
    ]
    assert (tmp_path / "spill").exists()
