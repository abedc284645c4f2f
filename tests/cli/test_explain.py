"""``lumni explain``: tables and JSON, from the configuration and from a running gateway."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.services.gateway import Gateway

QUESTION = "prove that √2 is irrational"


def explain(directory: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "lumni", "explain", *arguments],
        cwd=directory, env={"PYTHONUTF8": "1", "COLUMNS": "120", **inherited, **environ},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def test_it_draws_the_choice_and_what_would_be_if(tmp_path: Path) -> None:
    """000-32: who, why, why not the others, and who instead."""
    done = explain(tmp_path, QUESTION, "--without", "groq", GROQ_API_KEY="k", GEMINI_API_KEY="k")
    assert done.returncode == 0, done.stderr
    assert "powerful (" in done.stdout
    assert "gpt-oss-120b@groq" in done.stdout
    assert "CEREBRAS_API_KEY is not set" in done.stdout
    assert "What if: still gemini-3.5-flash@gemini" in done.stdout


def test_a_model_without_figures_is_said_to_be_unknown(tmp_path: Path) -> None:
    """001-09: nobody published anything of the lab's models; they are ranked, and the table says on what."""
    assert "(unknown)" in explain(tmp_path, QUESTION).stdout
    assert "(unknown)" not in explain(tmp_path, QUESTION, "--model", "gpt-oss-120b", GROQ_API_KEY="k").stdout


def test_json_without_a_gateway_and_with_one_are_alike(tmp_path: Path) -> None:
    """000-32: and the gateway's own state counts there."""
    alone = json.loads(explain(tmp_path, QUESTION, "--json", "--quota", "lab-powerful=empty").stdout)
    with Gateway(tmp_path) as gateway:
        options = ("--json", "--quota", "lab-powerful=empty", "--url", gateway.url, "--key", gateway.key)
        asked = json.loads(explain(tmp_path, QUESTION, *options).stdout)
    assert alone["winner"] == asked["winner"]
    assert alone["what_if"]["winner"]["deployment"] == asked["what_if"]["winner"]["deployment"] == "lab-fast"
    assert alone["classification"] == asked["classification"]


def test_what_is_wrong_is_said_in_a_line(tmp_path: Path) -> None:
    """000-32: no traceback, exit code 1."""
    for wrong in (("--weight", "beauty=1"), ("--quota", "half"), ("--if-task-type", "odd"), ("--model", "gpt-0")):
        done = explain(tmp_path, QUESTION, *wrong)
        assert (done.returncode, "Traceback" in done.stderr, bool(done.stderr.strip())) == (1, False, True), wrong


def test_it_does_not_wait_for_litellm(tmp_path: Path) -> None:
    """000-64: the configuration is enough to explain."""
    program = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from lumni.__main__ import app\n"
        "done = CliRunner().invoke(app, ['explain', 'Hi!', '--json'])\n"
        "sys.exit(done.exit_code or ('litellm' in sys.modules) * 3)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
