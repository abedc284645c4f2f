"""What becomes of a whole answer that is still awaited when the time to drain is over."""

import json
import signal
import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.faults.lab import LabServer
from tests.services.gateway import Gateway

CONFIG = """
model_list:
  - model_name: slow
    litellm_params: {{model: openai/gpt-4o-mini, api_base: "{base}/openai/v1", api_key: test-key}}
"""


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/completion"])
def test_a_whole_answer_longer_than_the_limit_is_cut(tmp_path: Path, path: str) -> None:
    """002-45: the client is told that the gateway stops, the provider is hung up on, and there is a record."""
    with LabServer(tmp_path) as lab, Gateway(tmp_path, CONFIG.format(base=lab.url), DRAIN_TIMEOUT="0.3") as gateway:
        lab.add_fault("slow_first_token", seconds=60)
        headers = {"authorization": f"Bearer {gateway.key}", "x-request-id": "cut-whole"}
        body = {"model": "slow", "messages": [{"role": "user", "content": "What is a list?"}]}
        with ThreadPoolExecutor(1) as client:
            asked = client.submit(httpx.post, gateway.url + path, json=body, headers=headers, timeout=120)
            wait_for_a_call(lab)
            gateway.process.send_signal(signal.SIGTERM)
            answer = asked.result()
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "shutting_down"
        assert answer.headers["x-should-retry"] == "true"
        assert gateway.process.wait(120) == 0
        [record] = records(gateway.database)
        assert record["client_request_id"] == "cut-whole"
        assert (record["outcome"], record["status"]) == ("unavailable", 503)
        assert record["error_code"] == "shutting_down"
        assert len(json.loads(record["attempts"])) == 1
        assert lab.totals()["disconnected"] == 1
        assert "Traceback" not in gateway.log()


def test_a_request_that_has_not_come_whole_is_cut(tmp_path: Path) -> None:
    """002-45: who is still sending it is told, too, and there is a record."""
    with Gateway(tmp_path, CONFIG.format(base="http://127.0.0.1:1"), DRAIN_TIMEOUT="0.3") as gateway:
        port = httpx.URL(gateway.url).port
        with socket.create_connection(("127.0.0.1", port), timeout=120) as client:
            head = (
                "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nexpect: 100-continue\r\n"
            )
            client.sendall(f"{head.format(gateway.key)}content-length: 100\r\n\r\n".encode())
            assert client.recv(1000).startswith(b"HTTP/1.1 100 ")  # so it is being read
            client.sendall(b'{"model": ')
            gateway.process.send_signal(signal.SIGTERM)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"shutting_down" in answer
        assert gateway.process.wait(120) == 0
        [record] = records(gateway.database)
        assert (record["status"], record["error_code"]) == (503, "shutting_down")
        assert "Traceback" not in gateway.log()


def wait_for_a_call(lab: LabServer) -> None:
    deadline = time.monotonic() + 120
    while not lab.faults_met():
        assert time.monotonic() < deadline, "the provider was never asked"
        time.sleep(0.05)


def records(database: Path) -> list[sqlite3.Row]:
    connection = sqlite3.connect(database)
    try:
        connection.row_factory = sqlite3.Row
        return connection.execute("SELECT * FROM requests").fetchall()
    finally:
        connection.close()
