"""How requests end early: the client leaves, or the gateway is told to stop. A slow lab over HTTP is the provider."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.conftest import QUESTION, read_records
from tests.services.gateway import Gateway

CHAT = "/v1/chat/completions"
BODY = {"model": "slow", "messages": QUESTION}
MODEL_LIST = """
model_list:
  - model_name: slow
    litellm_params: {{model: openai/gpt-4o-mini, api_base: "{base}/openai/v1", api_key: test-key}}
"""


@pytest.fixture(scope="module")
def slow_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A lab that takes a moment to begin and speaks slowly."""
    log = tmp_path_factory.mktemp("lab") / "lab.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-u", "-m", "lumni", "lab", "serve", "--port", "0", "--latency", "0.5", "--pace", "0.2"],
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + 120
        while not (found := re.search(r"Lab ready on (http://\S+?)\.\s", log.read_text())):
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield found[1]
    finally:
        process.terminate()
        process.wait(120)


def start(slow_lab: str, directory: Path, **environ: str) -> Gateway:
    return Gateway(directory, MODEL_LIST.format(base=slow_lab), **environ)


@pytest.fixture(scope="module")
def slow_gateway(slow_lab: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with start(slow_lab, tmp_path_factory.mktemp("slow")) as gateway:
        yield gateway


def headers(gateway: Gateway, mine: str) -> dict[str, str]:
    return {"authorization": f"Bearer {gateway.key}", "x-request-id": mine}


@pytest.mark.parametrize("path", [CHAT, "/completion"])
def test_a_client_that_leaves_a_stream_leaves_one_record(slow_gateway: Gateway, path: str) -> None:
    """003-34: outcome disconnected, with what was chosen."""
    mine = f"leaves-{path.count('/')}"
    body = {**BODY, "stream": True}
    with httpx.stream(
        "POST", slow_gateway.url + path, json=body, headers=headers(slow_gateway, mine), timeout=120
    ) as s:
        next(s.iter_lines())
    [record] = read_records(slow_gateway, mine)
    assert (record["outcome"], record["status"]) == ("disconnected", 499)
    assert record["deployment"]


def test_a_client_that_leaves_before_the_answer_leaves_one_record(slow_gateway: Gateway) -> None:
    """003-34: outcome disconnected."""
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(slow_gateway.url + CHAT, json=BODY, headers=headers(slow_gateway, "impatient"), timeout=0.7)
    [record] = read_records(slow_gateway, "impatient")
    assert (record["outcome"], record["status"]) == ("disconnected", 499)


def test_a_stream_finishes_after_sigterm(slow_lab: str, tmp_path: Path) -> None:
    """002-45: whole, with its record; the exit code is 0."""
    with start(slow_lab, tmp_path) as gateway:
        body = {**BODY, "stream": True}
        url = gateway.url + CHAT
        with httpx.stream("POST", url, json=body, headers=headers(gateway, "drained"), timeout=120) as stream:
            lines = stream.iter_lines()
            next(lines)
            gateway.process.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert gateway.process.wait(120) == 0
        [record] = read_records(gateway, "drained")
        assert (record["outcome"], record["status"]) == ("ok", 200)


def test_a_stream_longer_than_the_limit_is_cut(slow_lab: str, tmp_path: Path) -> None:
    """002-45: with an event that says so, and its record."""
    with start(slow_lab, tmp_path, DRAIN_TIMEOUT="0.5") as gateway:
        body = {**BODY, "stream": True}
        url = gateway.url + CHAT
        with httpx.stream("POST", url, json=body, headers=headers(gateway, "cut"), timeout=120) as answer:
            lines = answer.iter_lines()
            next(lines)
            gateway.process.send_signal(signal.SIGTERM)
            rest = [line for line in lines if line]
        assert json.loads(rest[-1].removeprefix("data: "))["error"]["code"] == "shutting_down"
        assert gateway.process.wait(120) == 0
        [record] = read_records(gateway, "cut")
        assert (record["outcome"], record["error_code"]) == ("cut", "stream_cut")
