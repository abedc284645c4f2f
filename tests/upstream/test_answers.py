"""Where answers are kept: over LiteLLM's memory, a real Valkey and a disk alike, and what if they are gone."""

import asyncio
import gc
import os
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from lumni.catalogue.caching import read_caching
from lumni.settings import Settings
from lumni.upstream.answers import FAILURES, AnswerStore
from lumni.upstream.clearings import Clearings

KEY, OTHER = bytes(32), bytes([1] * 32)
ANSWER = "What was said: ä\ud83d".encode("utf-8", "surrogatepass")


@pytest.fixture(autouse=True)
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine is no store that hangs."""
    monkeypatch.setattr("lumni.upstream.answers.PATIENCE", 60.0)
    monkeypatch.setattr("lumni.upstream.answers.REST", 3600.0)


@asynccontextmanager
async def opened(directory: Path, kind: str, url: str = "", **more: Any) -> AsyncIterator[AnswerStore]:
    given: dict[str, Any] = {"data_dir": directory, "cache_type": kind, **({"redis_url": url} if url else {}), **more}
    store = AnswerStore(Settings(**given), {})
    await store.start()
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture(params=["memory", "redis", "disk"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AnswerStore]:
    url = ""
    if request.param == "redis":
        url = request.getfixturevalue("valkey").url(9)
        with redis.Redis.from_url(url) as client:
            client.flushdb()
    async with opened(tmp_path, request.param, url) as made:
        yield made


async def test_what_is_kept_is_found_until_it_is_cleared(store: AnswerStore) -> None:
    """003-05, 003-24, 001-52: by name and key; a prefix clears what begins so, and nothing else."""
    assert await store.get("a:1", KEY) is None
    for name in ("a:1", "a:2", "b:1"):
        await store.put(name, KEY, ANSWER + name.encode())
    assert await store.get("a:1", KEY) == ANSWER + b"a:1"
    await store.put("a:1", KEY, b"new")
    assert await store.get("a:1", KEY) == b"new"
    assert (await store.size("a:"), await store.size("")) == (2, 3)
    assert await store.clear("a:") == 2
    assert [await store.get(name, KEY) for name in ("a:1", "a:2", "b:1")] == [None, None, ANSWER + b"b:1"]
    assert await store.clear("") == 1
    assert store.faults == 0


@pytest.mark.parametrize("kind", ["redis", "disk"])
async def test_what_leaves_the_process_is_sealed(kind: str, valkey_url: str, valkey: Any, tmp_path: Path) -> None:
    """003-40: whoever reads the store reads nothing, and whoever writes to it puts words into nobody's mouth."""
    url = valkey.url(10) if kind == "redis" else ""
    async with opened(tmp_path, kind, url) as store:
        await store.put("a:1", KEY, b"the secret answer")
        if kind == "redis":
            with redis.Redis.from_url(url) as client:
                written = client.get("a:1")
                assert 0 < client.ttl("a:1") <= 3600
        else:
            written = b"".join(path.read_bytes() for path in (tmp_path / "cache").iterdir())
        assert written
        assert b"secret answer" not in written
        assert KEY.hex().encode() not in written
        assert await store.get("a:1", OTHER) is None  # another question
        if kind == "redis":
            with redis.Redis.from_url(url) as client:
                client.rename("a:1", "a:2")  # moved to where another answer is looked for
                client.set("a:3", '{"answer": "bm9uc2Vuc2U="}')
            assert await store.get("a:2", KEY) is None
            assert await store.get("a:3", KEY) is None
        assert store.faults == 0


async def test_answers_outlive_a_restart_on_disk_and_in_redis(tmp_path: Path, valkey: Any) -> None:
    """003-39: the same secret reads them, in another process too."""
    for kind, url in (("disk", ""), ("redis", valkey.url(11))):
        async with opened(tmp_path, kind, url) as store:
            await store.put("a:1", KEY, b"kept")
        async with opened(tmp_path, kind, url) as store:
            assert await store.get("a:1", KEY) == b"kept"


@pytest.mark.parametrize("state", ["refuses", "hangs"])
async def test_a_store_that_is_gone_costs_little_and_is_counted(
    tmp_path: Path, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """003-05: nothing is raised; after some failures in a row it isn't even asked."""
    monkeypatch.setattr("lumni.upstream.answers.PATIENCE", 0.1)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(writer)
        await reader.read()
        writer.close()

    asked: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if state == "refuses":
        server.close()
        await server.wait_closed()
    store = AnswerStore(Settings(data_dir=tmp_path, cache_type="redis", redis_url=f"redis://127.0.0.1:{port}"), {})
    await store.start()
    async with asyncio.timeout(120):
        while not store.ready:
            await asyncio.sleep(0.05)
    for _ in range(FAILURES + 2):
        assert await store.get("a:1", KEY) is None
        await asyncio.sleep(0)  # LiteLLM tells of failures in a task of its own
    await store.put("a:1", KEY, b"x")
    before = store.faults
    assert before >= FAILURES
    assert await store.get("a:1", KEY) is None
    assert store.faults == before  # it rests
    with pytest.raises(OSError, match="redis does not answer"):
        await store.clear("a:")
    assert await store.size("") is None
    await store.close()
    server.close()


async def test_without_redis_url_it_is_memory(tmp_path: Path) -> None:
    """001-52: as the doctor says."""
    async with opened(tmp_path, "redis") as store:
        assert store.kind == "memory"


async def test_memory_is_bounded(tmp_path: Path) -> None:
    """003-36: by ``cache_max_entries``; LiteLLM's own bound is 200."""
    async with opened(tmp_path, "memory", cache_max_entries=300) as store:
        for number in range(400):
            await store.put(f"a:{number}", KEY, b"x")
        assert store.in_memory == await store.size("") == 300
        assert await store.get("a:399", KEY) == b"x"


async def test_processes_forget_together(tmp_path: Path) -> None:
    """003-24: what one process clears, no other has in its memory any more."""
    url = "redis://127.0.0.1:1"  # several workers need one for their limits; nobody asks it here
    async with (
        opened(tmp_path, "memory", url, workers=2) as one,
        opened(tmp_path, "memory", url, workers=2) as two,
    ):
        for store in (one, two):
            await store.put("a:1", KEY, b"x")
            await store.put("b:1", KEY, b"x")
        assert await one.clear("a:") == 1
        assert [await two.get(name, KEY) for name in ("a:1", "b:1")] == [None, b"x"]
        await two.put("a:1", KEY, b"new")
        assert await two.get("a:1", KEY) == b"new"


def test_clearings_are_heard_once_and_whole(tmp_path: Path) -> None:
    """003-24: also those of a file that was begun anew, and none that is half written."""
    mine, other = Clearings(tmp_path / "cleared"), Clearings(tmp_path / "cleared")
    assert mine.heard() == []
    other.tell("a:")
    other.tell("b:")
    assert mine.heard() == ["a:", "b:"]
    assert mine.heard() == []
    with (tmp_path / "cleared").open("ab") as file:
        file.write(b"c")
    assert mine.heard() == []
    with (tmp_path / "cleared").open("ab") as file:
        file.write(b":\n")
    assert mine.heard() == ["c:"]
    (tmp_path / "cleared").write_text("d:\n")
    assert mine.heard() == ["d:"]


async def test_litellms_callbacks_stay_off(tmp_path: Path, litellm: Any) -> None:
    """001-25: ``Cache`` adds one to each of LiteLLM's calls; when this fails, ``_forget_callbacks`` may go."""
    from litellm.caching.caching import Cache

    Cache(type="local")
    assert "cache" in litellm.success_callback
    async with opened(tmp_path, "memory"):
        lists = (litellm.input_callback, litellm.success_callback, litellm._async_success_callback)
        assert not any("cache" in callbacks for callbacks in lists)
        assert litellm.cache is None


def test_a_disk_without_its_package_says_what_to_install(tmp_path: Path) -> None:
    """001-43: instead of a traceback."""
    program = """
import asyncio, sys
sys.modules["diskcache"] = None
from lumni.files import ConfigurationError
from lumni.settings import Settings
from lumni.upstream.answers import AnswerStore
try:
    asyncio.run(AnswerStore(Settings(cache_type="disk"), {}).start())
except ConfigurationError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False,
                         env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"})  # fmt: skip
    assert "lumni[disk]" in ran.stdout, ran.stderr


def test_cache_params_are_litellms(tmp_path: Path) -> None:
    """001-43: what says where the store is goes to LiteLLM, for the rest there is a word."""
    params, warnings = read_caching(
        {"cache_params": {"type": "redis", "ttl": 60, "host": "h", "port": 1, "mode": "default_off", "hots": "x"}}
    )
    assert params == {"host": "h", "port": 1}
    assert len(warnings) == 2
    assert "cache-control" in warnings[0]
    assert "`host`" in warnings[1]
    assert read_caching({"cache_params": 5})[1]


async def test_nothing_stays_open(valkey: Any, tmp_path: Path) -> None:
    """003-05: neither LiteLLM's connections nor the disk's."""
    for kind, url in (("disk", ""), ("redis", valkey.url(12))):
        async with opened(tmp_path, kind, url) as store:
            await store.put("a:1", KEY, b"kept")
            await store.get("a:1", KEY)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
    assert [str(warning.message) for warning in caught if warning.category is ResourceWarning] == []
