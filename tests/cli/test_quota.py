"""``lumni quota``: the table, the words in it, and what is said when there is none."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner

from lumni.__main__ import app
from lumni.cli.quota import render, span
from tests.services.gateway import Gateway

# Nothing listens at the provider's address: the call fails, and counts all the same.
MODELS = """
model_list:
  - model_name: alone
    litellm_params: {model: openai/gpt-4o-mini, api_base: "http://127.0.0.1:1/v1", api_key: k, rpd: 1, tpm: 5000}
    model_info: {id: alone}
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("quota"), MODELS, NUM_RETRIES="0") as gateway:
        body = {"model": "alone", "messages": [{"role": "user", "content": "What is a list?"}]}
        headers = {"authorization": f"Bearer {gateway.key}"}
        httpx.post(f"{gateway.base_url}/chat/completions", json=body, headers=headers, timeout=120)
        yield gateway


def run(*arguments: str, **environ: str) -> tuple[int, str, str]:
    result = CliRunner(env={"COLUMNS": "160", **environ}).invoke(app, ["quota", *arguments])
    return result.exit_code, result.stdout, result.stderr


def row(**different: Any) -> dict[str, Any]:
    usual = {
        "pool": "groq/llama",
        "window": "30 requests a minute",
        "limit": 30,
        "used": 3,
        "reserved": 1,
        "left": 26,
        "reset_in": 58.2,
        "blocked_in": 0.0,
        "provenance": "catalogue",
        "source": "catalogue: https://example.org (2026-07-01)",
    }
    return {**usual, **different}


def shown(*rows: dict[str, Any], **different: Any) -> dict[str, Any]:
    return {"data": list(rows), "store": {"mode": "one process"}, "waiting": 0, "queue": [], **different}


def printed(told: dict[str, Any], *, colours: bool = False) -> str:
    console = Console(width=160, highlight=False, force_terminal=colours, color_system="standard" if colours else None)
    with console.capture() as capture:
        console.print(render(told))
    return capture.get()


def test_the_table_of_a_running_gateway(gateway: Gateway) -> None:
    """004-35: pool, window in words, used, reserved, left, reset and where the number comes from."""
    code, out, _ = run("--url", gateway.base_url, LUMNI_API_KEY=gateway.key)
    assert code == 0
    [line] = [line for line in out.splitlines() if "1 request a day" in line]
    pool, _, used, reserved, left, reset, origin = (cell.strip() for cell in line.strip("│").split("│"))
    assert pool == "openai@127.0.0.1:1/gpt-4o-mini"
    assert (used, reserved, left) == ("1", "0", "0")
    assert reset in ("1 d", "23 h 59 min")
    assert origin == "configured: model_list[0] (alone)"
    assert "5,000 tokens a minute" in out
    assert "Nobody waits." in out


def test_the_same_as_json(gateway: Gateway) -> None:
    code, out, _ = run("--url", gateway.url, "--key", gateway.key, "--json")
    told = json.loads(out)
    assert code == 0
    assert {window["window"]: window["left"] for window in told["data"]}["1 request a day"] == 0
    assert told["store"]["mode"] == "one process"
    assert told["queue"] == []


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Processes started meanwhile heed Ctrl-C, also where it is ignored, as in what a shell runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_watching_looks_again_until_it_is_interrupted(gateway: Gateway) -> None:
    command = [sys.executable, "-m", "lumni", "quota", "--watch", "--json", "--url", gateway.url, "--key", gateway.key]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path.cwd(), env=dict(os.environ)) as watch:
        assert watch.stdout is not None
        looks = [json.loads(watch.stdout.readline()) for _ in range(2)]
        watch.send_signal(signal.SIGINT)
        watch.stdout.read()
        assert watch.wait(120) == 0
    assert all(look["data"] and look["waiting"] == 0 for look in looks)


def test_no_gateway_is_said_in_a_line() -> None:
    code, out, err = run("--url", "http://127.0.0.1:1")
    assert (code, out) == (1, "")
    assert err.startswith("No gateway answers at http://127.0.0.1:1/v1: ")
    assert "lumni serve" in err


@pytest.mark.parametrize(("key", "words"), [("", "No key was sent"), ("wrong", "key")])
def test_a_wrong_key_is_said_in_a_line(gateway: Gateway, key: str, words: str) -> None:
    code, _, err = run("--url", gateway.url, LUMNI_API_KEY=key)
    assert code == 1
    assert words in err
    assert "--key" in err


@pytest.mark.parametrize("url", ["ftp://gateway.example", "gateway.example:8000"])
def test_what_is_no_address_is_said_in_a_line(url: str) -> None:
    code, _, err = run("--url", url)
    assert code == 1
    assert "is no address of a gateway" in err


def test_something_else_that_answers_is_no_gateway(gateway: Gateway) -> None:
    code, _, err = run("--url", f"{gateway.url}/elsewhere", "--key", gateway.key)
    assert code == 1
    assert "/elsewhere/v1/quota" in err


def test_exhausted_and_closed_rows_stand_out() -> None:
    """004-35: red when nothing is left, yellow when little is."""
    out = printed(
        shown(
            row(pool="full", left=0, used=30, reserved=0),
            row(pool="closed", left=0, blocked_in=200.0),
            row(pool="scarce", left=5, used=25),
            row(pool="fine"),
        ),
        colours=True,
    ).splitlines()
    colours = {name: next(line for line in out if name in line) for name in ("full", "closed", "scarce", "fine")}
    assert "\x1b[31mfull" in colours["full"]
    assert "\x1b[31mclosed" in colours["closed"]
    assert "closed for 3 min 20 s" in colours["closed"]
    assert "\x1b[33mscarce" in colours["scarce"]
    assert "\x1b[3" not in colours["fine"]


def test_a_limit_that_nobody_knows_is_unknown() -> None:
    out = printed(shown(row(window="tokens a day", limit=None, left=None, used=12, provenance="learned", source="x")))
    assert "tokens a day" in out
    assert "unknown" in out
    assert "learned: x" in out


def test_who_waits_is_named() -> None:
    """004-35"""
    queue = [
        {"position": 1, "student": "ada", "waited_s": 13.8},
        {"position": 2, "student": "ben", "waited_s": 3.0},
        {"position": 3, "student": "ada", "waited_s": 2.0},
    ]
    assert "3 waiting: ada (2 requests, 14 s), ben (3 s)" in printed(shown(row(), waiting=3, queue=queue))
    assert "3 waiting\n" in printed(shown(row(), waiting=3, queue=[])).replace(" \n", "\n")


def test_degraded_is_said() -> None:
    store = {"mode": "degraded", "since": time.time() - 200, "share": 0.25, "reason": "unreachable", "processes": 4}
    out = printed(shown(row(), store=store))
    assert "Redis can't be used for 3 min 20 s (unreachable): this process keeps to 25% of each limit" in out
    shared = {"mode": "shared", "since": 0.0, "share": 1.0, "reason": "", "processes": 4}
    assert "shared by 4 processes" in printed(shown(row(), store=shared))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 s"),
        (0.4, "< 1 s"),
        (45.2, "45 s"),
        (59.7, "1 min"),
        (200.0, "3 min 20 s"),
        (7 * 3600.0, "7 h"),
        (7 * 3600.0 + 61, "7 h 1 min"),
        (86400.0 * 12 + 3600 * 4 + 59, "12 d 4 h"),
        (86400.0 + 59, "1 d"),
    ],
)
def test_lengths_of_time_in_words(seconds: float, words: str) -> None:
    assert span(seconds) == words
