"""``lumni serve --workers N``: one address, several processes, and what becomes of them."""

import os
import re
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from lumni.__main__ import app
from tests.faults.lab import LabServer
from tests.services.gateway import Gateway
from tests.services.valkey import Valkey

MODELS = """
model_list:
  - model_name: slow
    litellm_params: {{model: openai/gpt-4o-mini, api_base: "{base}/openai/v1", api_key: k, rpd: 1000}}
"""
PATIENCE = 120.0  # seconds; a start takes half a minute on a busy machine


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    with LabServer(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture(scope="module")
def gateway(lab: LabServer, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """Two processes before the lab, for the whole file: the last test ends them."""
    environ = {"REDIS_URL": valkey.url(7), "WORKERS": "2", "MAX_REQUESTS_PER_MINUTE": "0", "MAX_REQUESTS_PER_HOUR": "0"}
    with Gateway(tmp_path_factory.mktemp("workers"), MODELS.format(base=lab.url), **environ) as gateway:
        until(lambda: started(gateway) == 2)
        yield gateway


def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def workers(gateway: Gateway) -> set[int]:
    """The workers' process ids."""
    return {pid for pid in children(gateway.process.pid) if b"spawn_main" in command(pid)}


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def started(gateway: Gateway) -> int:
    """How many workers have taken up serving so far."""
    return gateway.log().count("Started server process")


def ask(gateway: Gateway, number: int = 0) -> httpx.Response:
    body = {"model": "slow", "messages": [{"role": "user", "content": f"What is {number}?"}], "max_tokens": 10}
    headers = {"authorization": f"Bearer {gateway.key}"}
    return httpx.post(f"{gateway.base_url}/chat/completions", json=body, headers=headers, timeout=PATIENCE)


def rows(gateway: Gateway) -> int:
    connection = sqlite3.connect(gateway.database)
    try:
        (number,) = connection.execute("SELECT COUNT(*) FROM requests").fetchone()
        return int(number)
    finally:
        connection.close()


def gone(pids: set[int]) -> bool:
    return all(b"spawn_main" not in command(pid) for pid in pids)


def test_they_share_one_address_and_every_limit(gateway: Gateway) -> None:
    """000-13: each of the processes answers, and they count as one."""
    with ThreadPoolExecutor(20) as students:
        answers = list(students.map(lambda number: ask(gateway, number), range(60)))
    assert {answer.status_code for answer in answers} == {200}
    assert set(re.findall(r'"event":"request_received".*"worker":(\d)', gateway.log())) == {"1", "2"}
    headers = {"authorization": f"Bearer {gateway.key}"}
    quota = httpx.get(f"{gateway.base_url}/quota", headers=headers).json()
    assert quota["store"]["processes"] == 2
    attempts = sum(int(answer.headers["x-lumni-attempts"]) for answer in answers)
    assert [row["used"] + row["reserved"] for row in quota["data"] if row["window"] == "1,000 requests a day"] == [
        attempts
    ]


def test_one_that_dies_is_replaced(gateway: Gateway) -> None:
    """002-40: and the others serve meanwhile."""
    until(lambda: rows(gateway) == 60)
    before = workers(gateway)
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in workers(gateway))
    assert ask(gateway).status_code == 200
    until(lambda: started(gateway) == 3)
    assert len(workers(gateway)) == 2
    assert len(workers(gateway) & before) == 1
    assert re.search(r"worker \d was ended by SIGKILL; another one starts in \d s", gateway.log())
    assert ask(gateway).status_code == 200


def test_what_runs_is_finished_before_they_end(gateway: Gateway, lab: LabServer) -> None:
    """002-45: nothing is lost, and none overwrites what another one keeps."""
    pids, met = workers(gateway), lab.faults_met()
    lab.add_fault("slow_first_token", seconds=2, times=1)
    with ThreadPoolExecutor(1) as client:
        asked = client.submit(ask, gateway)
        until(lambda: lab.faults_met() > met)
        assert gateway.stop(seconds=PATIENCE) == 0
        answer = asked.result()
    assert answer.status_code == 200
    assert gone(pids)
    assert rows(gateway) == 60 + 2 + 1
    assert {path.name for path in (gateway.directory / ".lumni").glob("quota*")} == {"quota.1.json", "quota.2.json"}
    assert gateway.log().count("Lumni is listening") == 1
    assert "Traceback" not in gateway.log()


def test_they_end_when_the_first_process_is_killed(valkey: Valkey, tmp_path: Path) -> None:
    with Gateway(tmp_path, REDIS_URL=valkey.url(8), WORKERS="2") as gateway:
        pids = workers(gateway)
        assert pids
        gateway.process.kill()
        gateway.process.wait()
        until(lambda: gone(pids))


def test_a_reload_takes_up_new_settings_and_refuses_nobody(valkey: Valkey, lab: LabServer, tmp_path: Path) -> None:
    """002-45: after SIGHUP one worker after the other is replaced, while the others answer."""
    models = MODELS.format(base=lab.url)
    environ = {"REDIS_URL": valkey.url(9), "WORKERS": "2", "MAX_REQUESTS_PER_MINUTE": "0", "MAX_REQUESTS_PER_HOUR": "0"}
    with Gateway(tmp_path, models, **environ) as gateway, ThreadPoolExecutor(1) as client:
        until(lambda: started(gateway) == 2)
        old, renewed = workers(gateway), "all workers have been renewed"
        (tmp_path / "litellm_config.yaml").write_text(models + models.split("model_list:")[1].replace("slow", "new"))
        gateway.process.send_signal(signal.SIGHUP)

        def ask_until_renewed() -> list[int]:
            found = []
            while renewed not in gateway.log():
                found.append(ask(gateway).status_code)
            return found

        assert set(client.submit(ask_until_renewed).result(PATIENCE)) == {200}
        assert len(workers(gateway)) == 2
        assert workers(gateway).isdisjoint(old)
        headers = {"authorization": f"Bearer {gateway.key}"}
        listed = httpx.get(f"{gateway.base_url}/models", headers=headers, timeout=PATIENCE).json()
        assert {"new", "slow"} <= {model["id"] for model in listed["data"]}


def test_without_redis_there_is_one_process_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """000-13: refused, and said why."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REDIS_URL", raising=False)
    done = CliRunner().invoke(app, ["serve", "--workers", "2"])
    assert done.exit_code == 1
    assert "workers (command line): several processes share limits through Redis" in done.stderr
    assert not (tmp_path / ".lumni").exists()


def test_a_taken_port_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(app, ["serve", "--workers", "2", "--host", "127.0.0.1", "--port", port])
    assert done.exit_code == 1
    assert f"Cannot listen on 127.0.0.1, port {port}" in done.stderr


def test_what_keeps_the_first_from_starting_ends_all(tmp_path: Path) -> None:
    """Said once, and no other process is tried."""
    gateway = Gateway(tmp_path, "model_list: 3\n", REDIS_URL="redis://127.0.0.1:1", WORKERS="2")
    with pytest.raises(AssertionError, match="did not start"):
        gateway.__enter__()
    assert gateway.process.returncode == 1
    assert gateway.log().count("model_list") == 1, gateway.log()
    assert "Traceback" not in gateway.log()
