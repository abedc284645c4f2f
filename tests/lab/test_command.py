"""``lumni lab`` on the command line."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import orjson
import pytest
from typer.testing import CliRunner

from lumni.cli.lab import app


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """What a real ``lumni lab serve`` prints until it is ready."""
    limits: Path = tmp_path_factory.mktemp("lab") / "limits.json"
    limits.write_bytes(orjson.dumps({"groq": {"*": {"rpd": 1}}}))
    options = ["--port", "0", "--profile", "groq", "--limits", str(limits), "--fault", "status:status=502"]
    command = [sys.executable, "-m", "lumni.cli.lab", "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if line.startswith("Lab ready"):
                break
        yield lines
        process.send_signal(signal.SIGTERM)
        process.wait(120)


def test_serve_prints_base_urls_that_answer(served: list[str]) -> None:
    """003-42: what is printed works, with the limits and faults that were asked for."""
    base = next(line.split()[1] for line in served if line.startswith("groq"))
    assert not any(line.startswith("openai") for line in served)
    body = {"model": "echo", "messages": [{"role": "user", "content": "hi"}]}
    with httpx.Client(headers={"authorization": "Bearer k"}) as http:
        statuses = [http.post(f"{base}/chat/completions", json=body).status_code for _ in range(3)]
    assert statuses == [502, 200, 429]


def test_faults_and_state_reach_a_running_lab(served: list[str]) -> None:
    """003-42: the commands talk to the server that runs."""
    server = next(line.split()[1] for line in served if line.startswith("admin")).removesuffix("/_lab/state")
    added = CliRunner().invoke(app, ["faults", "cut:after=5,times=forever", "--server", server, "--clear"])
    assert added.exit_code == 0, added.output
    listed = orjson.loads(added.output)["faults"]
    assert [(fault["kind"], fault["after"], fault["times"]) for fault in listed] == [("cut", 5, None)]
    shown = CliRunner().invoke(app, ["state", "--server", server])
    assert "totals" in orjson.loads(shown.output)


@pytest.mark.parametrize(
    "options",
    [["serve", "--fault", "explode"], ["serve", "--limits", "nowhere.json"], ["serve", "--profile", "nobody"],
     ["faults", "explode"], ["state", "--server", "ftp://x"]],
)  # fmt: skip
def test_wrong_options_are_explained(options: list[str]) -> None:
    """003-42: no traceback, and the lab doesn't start."""
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 2
    assert "Error" in result.output


def test_no_lab_is_said_in_a_sentence() -> None:
    """003-42: ``lumni lab state`` without a lab says how to start one."""
    result = CliRunner().invoke(app, ["state", "--server", "http://127.0.0.1:9"])
    assert result.exit_code == 1
    assert "lumni lab serve" in result.output
