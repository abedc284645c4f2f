"""The services for tests are real, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import pytest
import redis

from tests.services.postgres import Postgres, find_programs
from tests.services.valkey import Valkey

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from tests.services.{module} import {name}
server = {name}()
print(server.root, flush=True)
sys.stdin.readline()
"""


def processes_in(folder: str) -> list[str]:
    """The command lines that name a folder, as far as this system tells."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes()
        except OSError:
            continue
        if folder.encode() in command:
            found.append(command.decode())
    return found


async def test_postgres_answers(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    assert await connection.fetchval("SELECT 6 * 7") == 42
    await connection.close()


def test_valkey_answers(valkey_url: str) -> None:
    with redis.from_url(valkey_url) as client:
        assert client.eval("return 6 * 7", 0) == 42


async def test_postgres_keeps_committed_data_over_a_crash() -> None:
    with Postgres() as server:
        connection = await asyncpg.connect(server.url())
        await connection.execute("CREATE TABLE t AS SELECT 42 AS x")
        connection.terminate()
        server.kill()
        server.start()
        connection = await asyncpg.connect(server.url())
        assert await connection.fetchval("SELECT x FROM t") == 42
        await connection.close()
    assert not server.root.exists()


def test_valkey_comes_back_empty_after_a_crash() -> None:
    with Valkey() as server, redis.from_url(server.url()) as client:
        client.set("key", "value")
        server.kill()
        server.start()
        assert client.get("key") is None
    assert not server.root.exists()


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks for processes in Linux's /proc")
@pytest.mark.parametrize(("module", "name"), [("postgres", "Postgres"), ("valkey", "Valkey")])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_and_no_file_outlives_killed_tests(module: str, name: str, how: signal.Signals) -> None:
    tests = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(module=module, name=name)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert tests.stdout is not None
        root = tests.stdout.readline().strip()
        assert processes_in(root)
    finally:
        os.kill(tests.pid, how)
        tests.communicate()
    deadline = time.monotonic() + 120
    while (processes_in(root) or Path(root).exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_in(root) == []
    assert not Path(root).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_the_server_dies_even_with_its_keeper() -> None:
    """Nobody is left to remove the files then, but no process stays."""
    with Postgres() as server:
        root = str(server.root)
        keeper = server._keeper
        keeper.kill()
        keeper.wait()
        deadline = time.monotonic() + 120
        while processes_in(root) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert processes_in(root) == []
        subprocess.run(["rm", "-r", root], check=True)


def test_a_server_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.services.postgres.SETTINGS", {"no_such_setting": "1"})
    with pytest.raises(RuntimeError, match="no_such_setting"):
        Postgres()


def test_the_system_is_the_second_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the wheel, programs on PATH are taken."""
    for name in ("initdb", "postgres"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_programs() == tmp_path
