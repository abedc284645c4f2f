"""What a process opens it closes again, also when it can't start."""

import asyncio
from pathlib import Path

import pytest

from lumni import parts, services
from lumni.services import Services
from lumni.settings import Settings
from lumni.storage.database import Database
from lumni.storage.writer import RecordWriter
from lumni.upstream.client import Upstream


def settings(folder: Path) -> Settings:
    models = folder / "models.yaml"
    models.write_text("model_list: []\n", encoding="utf-8")
    return Settings(data_dir=folder, litellm_config=models)


class Closings:
    """Notes what is closed, in order, and really closes it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        for kind in (Upstream, Database, RecordWriter):
            monkeypatch.setattr(kind, "close", self._noted(kind))

    def _noted(self, kind: type) -> object:
        really = kind.close  # type: ignore[attr-defined]

        async def close(it: object) -> None:
            self.seen.append(kind.__name__)
            await really(it)

        return close


def broken(*_: object) -> None:
    raise RuntimeError("broken")


async def test_what_was_opened_is_closed_when_the_start_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closings = Closings(monkeypatch)
    monkeypatch.setattr(services, "Pipeline", broken)
    with pytest.raises(RuntimeError, match="broken"):
        await Services.start(settings(tmp_path))
    assert closings.seen == ["RecordWriter", "Database", "Upstream"]


async def test_a_start_without_a_router_ends_in_its_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closings = Closings(monkeypatch)
    monkeypatch.setattr("lumni.upstream.client.build_router", broken)
    with pytest.raises(RuntimeError, match="broken"):
        await Services.start(settings(tmp_path))
    assert closings.seen == ["Upstream"]


async def test_one_that_fails_to_close_keeps_no_other_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closings = Closings(monkeypatch)
    really = RecordWriter.close

    async def fail(writer: RecordWriter) -> None:
        await really(writer)
        broken()

    monkeypatch.setattr(RecordWriter, "close", fail)
    running = await Services.start(settings(tmp_path))
    with pytest.raises(RuntimeError, match="broken"):
        await running.stop()
    assert closings.seen == ["RecordWriter", "Database", "Upstream"]


async def test_one_that_never_closes_keeps_no_other_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    closings = Closings(monkeypatch)
    really = RecordWriter.close

    async def hang(writer: RecordWriter) -> None:
        await really(writer)
        await asyncio.Event().wait()

    monkeypatch.setattr(RecordWriter, "close", hang)
    monkeypatch.setattr(parts.in_time, "__defaults__", (1.0,))
    running = await Services.start(settings(tmp_path))
    await running.stop()
    assert closings.seen == ["RecordWriter", "Database", "Upstream"]
    assert "hang did not close within 1 s" in caplog.text
