"""Not one record lost, and none counted twice: processes killed, the database away, the spool's disk full.

How many workers are killed is ``LUMNI_KILLS``: three for everyday, ten to show it.
"""

import json
import os
import random
import resource
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.cli.test_workers import PATIENCE, until, workers
from tests.faults.lab import LabServer
from tests.services.databases import PostgresDatabases, in_thread
from tests.services.gateway import Gateway
from tests.services.postgres import Postgres
from tests.services.valkey import Valkey

KILLS = int(os.environ.get("LUMNI_KILLS", "3"))
OUTAGE = float(os.environ.get("LUMNI_OUTAGE", "3"))  # seconds
CLIENTS = 6
MODELS = """
model_list:
  - model_name: lab
    litellm_params: {{model: openai/gpt-4o-mini, api_base: "{base}/openai/v1", api_key: k}}
"""
Row = dict[str, Any]


@dataclass
class Seen:
    """What clients saw: tokens of each answer by the id that they gave the request, and the requests that broke off."""

    answered: dict[str, tuple[int, int]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)


@contextmanager
def load(gateway: Gateway) -> Iterator[Seen]:
    """Clients that ask on and on, streams and whole answers in turn, until the block ends."""
    seen, over = Seen(), threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(_client, gateway, f"c{number}", seen, over) for number in range(CLIENTS)]
        try:
            yield seen
        finally:
            over.set()
        for client in clients:
            client.result()


def _client(gateway: Gateway, name: str, seen: Seen, over: threading.Event) -> None:
    with httpx.Client(headers={"authorization": f"Bearer {gateway.key}"}, timeout=PATIENCE) as http:
        number = 0
        while not over.is_set():
            number += 1
            id_ = f"{name}-{number}"
            try:
                seen.answered[id_] = _ask(http, gateway, id_, stream=number % 2 == 0)
            except (httpx.TransportError, EOFError):
                seen.broken.add(id_)
                time.sleep(0.05)


def _ask(http: httpx.Client, gateway: Gateway, id_: str, *, stream: bool) -> tuple[int, int]:
    """Tokens of the prompt and the answer. Raises ``EOFError`` for a stream without its end."""
    body = {"model": "lab", "messages": [{"role": "user", "content": f"Count to {id_}"}], "max_tokens": 12}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    response = http.post(f"{gateway.base_url}/chat/completions", json=body, headers={"x-request-id": id_})
    assert response.status_code == 200, response.text
    if not stream:
        usage = response.json()["usage"]
    else:
        lines = [line for line in response.text.splitlines() if line]
        if lines[-1] != "data: [DONE]":
            raise EOFError
        usage = json.loads(lines[-2].removeprefix("data: "))["usage"]
    return usage["prompt_tokens"], usage["completion_tokens"]


def rows(url: str) -> list[Row]:
    found: list[Row] = []

    async def read() -> None:
        connection = await asyncpg.connect(url)
        try:
            found.extend(dict(row) for row in await connection.fetch("SELECT * FROM requests"))
        finally:
            await connection.close()

    in_thread(read())
    return found


def check(found: list[Row], seen: Seen) -> None:
    """Each answer is on record once, with its tokens; every other record is of a request that broke off."""
    times = Counter(row["client_request_id"] for row in found)
    assert set(times.values()) == {1}
    recorded = {row["client_request_id"]: (row["prompt_tokens"], row["completion_tokens"]) for row in found}
    assert {id_: recorded.get(id_) for id_ in seen.answered} == seen.answered
    assert set(recorded) - set(seen.answered) <= seen.broken
    died = {row["client_request_id"] for row in found if row["error_code"] == "process_died"}
    assert died <= seen.broken


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    with LabServer(tmp_path_factory.mktemp("lab")) as lab:
        httpx.post(f"{lab.url}/_lab/config", json={"latency": 0.05, "pace": 0.02}).raise_for_status()
        yield lab


def environ(url: str, **more: str) -> dict[str, str]:
    return {"DATABASE_URL": url, "MAX_REQUESTS_PER_MINUTE": "0", "MAX_REQUESTS_PER_HOUR": "0", **more}


def busy(gateway: Gateway, directory: Path) -> list[int]:
    """The workers that have just noted the begin of a request, and the end of none since."""
    found = set()
    for path in (directory / ".lumni" / "spool").glob("*-*/*.jsonl"):
        with suppress(FileNotFoundError):  # all of it is in the database by now
            if path.read_bytes().rstrip(b"\n").rpartition(b"\n")[2].startswith(b'{"begun":'):
                found.add(int(path.parent.name.partition("-")[0]))
    return sorted(found & workers(gateway))


def test_workers_killed_under_load_lose_no_record(
    lab: LabServer, valkey: Valkey, postgres_databases: PostgresDatabases, tmp_path: Path
) -> None:
    """000-29: ``kill -9`` of a worker at random, again and again: what clients saw is on record, each request once."""
    url, chance = postgres_databases.create(), random.Random(1)
    given = environ(url, REDIS_URL=valkey.url(9), WORKERS="2", LOG_LEVEL="WARNING", STUDENT_CONCURRENCY="100")
    with Gateway(tmp_path, MODELS.format(base=lab.url), **given) as gateway:
        until(lambda: len(workers(gateway)) == 2)
        with load(gateway) as seen:
            for _ in range(KILLS):
                before = len(seen.answered)
                until(lambda: len(seen.answered) > before + 20 and bool(busy(gateway, tmp_path)))  # noqa: B023
                os.kill(chance.choice(busy(gateway, tmp_path) or sorted(workers(gateway))), signal.SIGKILL)
                until(lambda: bool(workers(gateway)))
            before = len(seen.answered)
            until(lambda: len(seen.answered) > before + 20)
        until(lambda: len(workers(gateway)) == 2)
        assert gateway.stop(seconds=PATIENCE) == 0
    found = rows(url)
    check(found, seen)
    assert seen.broken
    assert any(row["error_code"] == "process_died" for row in found)
    assert [path for path in (tmp_path / ".lumni" / "spool").rglob("*") if path.is_file()] == []
    postgres_databases.drop(url)


def health(gateway: Gateway) -> Row:
    answer = httpx.get(f"{gateway.base_url}/health", headers={"authorization": f"Bearer {gateway.key}"}, timeout=120)
    report: Row = answer.json()
    return report


def test_an_outage_of_the_database_and_a_full_disk_lose_no_record(lab: LabServer, tmp_path: Path) -> None:
    """000-29, 003-10: PostgreSQL killed under load, then the spool's files refused: afterwards all is on record, and
    the tokens are what the provider counted."""
    httpx.post(f"{lab.url}/_lab/reset").raise_for_status()
    with (
        Postgres() as server,
        Gateway(tmp_path, MODELS.format(base=lab.url), **environ(server.url(), LOG_LEVEL="ERROR")) as gateway,
    ):
        with load(gateway) as seen:
            until(lambda: len(seen.answered) > 20)
            server.kill()
            began, before = time.monotonic(), len(seen.answered)
            until(lambda: len(seen.answered) > before + 20)
            state = health(gateway)
            assert (state["status"], state["database"]["state"]) == ("degraded", "down")
            assert state["spool"] == {"state": "up", "records_in_memory": 0}
            written = sum(path.stat().st_size for path in (tmp_path / ".lumni" / "spool").rglob("*.jsonl"))
            limit = resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (written + 20_000, limit[1]))
            until(lambda: health(gateway)["spool"]["records_in_memory"] > 5)
            assert health(gateway)["spool"]["state"] == "failing"
            until(lambda: time.monotonic() > began + OUTAGE)
            server.start()
            until(lambda: health(gateway)["database"]["unwritten_records"] < 20)
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, limit)
        assert gateway.stop(seconds=PATIENCE) == 0
        assert gateway.log().count("can't be written (File too large)") == 1
        found = rows(server.url())
    check(found, seen)
    assert not seen.broken
    counted = lab.totals()
    assert counted["calls"] == len(found)
    assert counted["prompt_tokens"] == sum(row["prompt_tokens"] for row in found)
    assert counted["completion_tokens"] == sum(row["completion_tokens"] for row in found)
