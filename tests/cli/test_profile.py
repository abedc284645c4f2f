"""``lumni serve --profile``: what took the CPU, as a picture."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lumni.__main__ import app

WORK = """
import sys, time
from pathlib import Path
from lumni.cli.profile import profiled

def busy_with_something():
    until = time.monotonic() + float(sys.argv[2])
    while time.monotonic() < until:
        sum(range(1000))

with profiled(Path(sys.argv[1])):
    busy_with_something()
"""
BESIDE = Path(sys.executable).parent / "py-spy"


@pytest.mark.skipif(not (BESIDE.exists() or shutil.which("py-spy")), reason="py-spy isn't installed")
def test_a_profile_is_a_flame_graph_of_what_ran(tmp_path: Path) -> None:
    """002-46: names of functions in an SVG file, written at the end."""
    picture = tmp_path / "flames.svg"
    done = subprocess.run([sys.executable, "-c", WORK, picture, "4"], capture_output=True, text=True, check=False)
    if "Permission" in done.stderr:
        pytest.skip("this machine lets nobody look into a process")
    assert done.returncode == 0, done.stderr
    assert "busy_with_something" in picture.read_text(encoding="utf-8")


def test_without_py_spy_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """002-46: in a line, before anything is started."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    done = CliRunner().invoke(app, ["serve", "--profile", "flames.svg"])
    assert done.exit_code == 1
    assert "pip install 'lumni[profile]'" in done.stderr
    assert not (tmp_path / ".lumni").exists()
