"""``lumni ask``: an answer in the terminal, from this process or from a running gateway."""

import os
import subprocess
import sys
from pathlib import Path

from tests.services.gateway import Gateway


def ask(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "lumni", "ask", *arguments],
        cwd=directory, env=environ, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_without_a_gateway_this_process_answers(tmp_path: Path) -> None:
    """001-31: and says what was chosen and why."""
    done = ask(tmp_path, "What is a list?")
    assert done.returncode == 0, done.stderr
    assert "real model was asked" in done.stdout
    assert "lab-fast" in done.stdout + done.stderr


def test_a_gateway_is_asked_by_its_address(tmp_path: Path) -> None:
    """000-01: the base URL with and without its version."""
    with Gateway(tmp_path) as gateway:
        for path in ("", "/v1/"):
            done = ask(tmp_path, "--url", gateway.url + path, "--key", gateway.key, "What is a list?")
            assert done.returncode == 0, done.stderr
            assert "real model was asked" in done.stdout


def test_where_no_gateway_is_the_error_says_so(tmp_path: Path) -> None:
    done = ask(tmp_path, "--url", "http://127.0.0.1:9", "--key", "k", "What is a list?")
    assert done.returncode == 1
    assert "Is `lumni serve` running there?" in done.stderr
