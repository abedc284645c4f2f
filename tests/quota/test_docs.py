"""The manual's example runs as it is written."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_example_of_the_manual_runs() -> None:
    """001-59"""
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "quota.md").read_text(), re.DOTALL)
    done = subprocess.run([sys.executable, "-W", "error", "-c", example], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_manual_names_every_file() -> None:
    """001-59: and no file that isn't there."""
    named = set(re.findall(r"`(\w+\.(?:py|lua))`", (ROOT / "docs" / "quota.md").read_text()))
    there = {path.name for path in (ROOT / "lumni" / "quota").iterdir() if path.suffix in (".py", ".lua")}
    assert there - {"__init__.py"} == named - {"test_stores.py"}
