"""What one process knows of quota survives it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from lumni.catalogue.limits import Limit
from lumni.catalogue.model import Catalogue
from lumni.gateway import quotas
from lumni.gateway.quotas import QuotaFile, make_quota
from lumni.quota.memory import MemoryStore
from lumni.quota.model import MINUTE, ONE_REQUEST, Correction, Draw
from lumni.quota.service import Quota
from lumni.settings import Settings
from lumni.types import Outcome, Usage
from tests.gateway.provider import Clock, limited
from tests.upstream.wire import deployment

CATALOGUE = Catalogue((deployment("d", "http://localhost", pools=limited("p", Limit("requests", 3600, 10))),))


def quota_at(clock: Clock) -> Quota:
    return make_quota(Settings(), CATALOGUE, MemoryStore(), clock)


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def use(quota: Quota) -> None:
    """One call of the hour's ten, a limit that was learned, an open breaker, an estimate and a latency."""
    (pool,) = quota.pools.of("d")
    await quota.store.reserve([Draw("d", (pool,), ONE_REQUEST)], quota.clock(), lease=0)
    await quota.store.learn(pool, [Correction("tokens", MINUTE, limit=500)], quota.clock())
    for _ in range(3):
        quota.breakers.record("d", Outcome.UNAVAILABLE, "503")
    quota.estimator.observe("openai/stand-in", 400, Usage(100, 20))
    quota.traffic.answered("d", 1.5)
    await quota.standings()


async def known(quota: Quota) -> Any:
    rows = await quota.rows()
    learned = [(row.window, row.limit, row.provenance) for row in rows if row.provenance == "learned"]
    used = [row.used for row in rows if row.kind == "requests" and row.period == 3600]
    standing = (await quota.standings())["d"]
    return learned, used, quota.breakers.blocked("d"), quota.traffic.latency("d"), standing.state, standing.since


async def test_usage_learned_limits_breakers_and_latencies_survive_a_restart(clock: Clock, tmp_path: Path) -> None:
    """000-38: also since when a deployment is out of order."""
    before = quota_at(clock)
    await use(before)
    QuotaFile(before, tmp_path).save()
    clock.now += 5
    after = quota_at(clock)
    QuotaFile(after, tmp_path).load()
    assert await known(after) == await known(before)
    assert (await known(after))[1:3] == ([1], ("3 failures in a row, the last one: unavailable", 595.0))
    assert after.breakers.view("d")["last_error"] == "503"


async def test_a_file_that_cannot_be_read_is_put_aside(
    clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """000-38: forgetting is better than not serving; what was there is kept for whoever wants to look."""
    path = tmp_path / "quota.json"
    for broken in (b"{", b"[]", b'{"process": {}, "store": {}}', b"\xff\xfe", b"null"):
        path.write_bytes(broken)
        quota = quota_at(clock)
        QuotaFile(quota, tmp_path).load()
        assert not path.exists()
        assert (tmp_path / "quota.bad").read_bytes() == broken
        assert "put aside" in caplog.text
        assert (await quota.standings())["d"].state == "available"


async def test_without_a_file_all_is_new(clock: Clock, tmp_path: Path) -> None:
    quota = quota_at(clock)
    QuotaFile(quota, tmp_path).load()
    assert (await quota.standings())["d"].headroom > 0


async def test_each_worker_has_a_file_and_begins_with_what_one_process_knew(clock: Clock, tmp_path: Path) -> None:
    """000-38: two don't write over one another."""
    alone = quota_at(clock)
    alone.traffic.answered("d", 1.0)
    QuotaFile(alone, tmp_path).save()
    for worker in (0, 1):
        quota = quota_at(clock)
        QuotaFile(quota, tmp_path, worker).load()
        assert quota.traffic.latency("d") == 1.0
        quota.traffic.answered("d", 6.0 + worker)
        QuotaFile(quota, tmp_path, worker).save()
    again = quota_at(clock)
    QuotaFile(again, tmp_path, 1).load()
    assert again.traffic.latency("d") == pytest.approx(2.2)


async def test_a_file_of_another_catalogue_does_no_harm(clock: Clock, tmp_path: Path) -> None:
    """000-38: deployments that are gone are forgotten."""
    before = quota_at(clock)
    await use(before)
    QuotaFile(before, tmp_path).save()
    other = make_quota(Settings(), Catalogue((deployment("e", "http://localhost"),)), MemoryStore(), clock)
    QuotaFile(other, tmp_path).load()
    assert other.breakers.dump() == {}
    assert list(await other.standings()) == ["e"]


async def test_a_crash_while_writing_leaves_the_old_file_whole(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """000-38: it is written beside, then put in its place in one step; a full disk is a warning."""
    path = tmp_path / "quota.json"
    file = QuotaFile(quota_at(clock), tmp_path)
    file.save()
    whole = path.read_bytes()

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as out:
            out.write(data[:10])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    file.save()
    assert path.read_bytes() == whole
    assert "no space left" in caplog.text
    monkeypatch.undo()
    file.save()
    assert json.loads(path.read_bytes())
    assert [left.name for left in tmp_path.iterdir()] == ["quota.json"]


async def test_it_is_written_regularly_and_at_the_end(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """000-38: what a killed process forgets is bounded."""
    monkeypatch.setattr(quotas, "SAVE_EVERY", 0.01)
    path = tmp_path / "quota.json"
    quota = quota_at(clock)
    file = QuotaFile(quota, tmp_path)
    file.start()
    async with asyncio.timeout(120):
        while not path.exists():
            await asyncio.sleep(0.005)
    monkeypatch.setattr(quotas, "SAVE_EVERY", 1000)
    await asyncio.sleep(0.05)
    quota.traffic.answered("d", 2.5)
    await file.close()
    assert json.loads(path.read_bytes())["process"]["traffic"] == {"d": 2.5}
