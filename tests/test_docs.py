"""The documents keep their promises."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from lumni import errors
from lumni.__main__ import app

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def subclasses(kind: type[errors.LumniError]) -> list[type[errors.LumniError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in subclasses(child))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    """003-37: relative links in the documents point to files that exist."""
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text(encoding="utf-8"))
    missing = [link for link in links if not (document.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("kind", subclasses(errors.LumniError), ids=lambda kind: kind.__name__)
def test_every_error_is_documented(kind: type[errors.LumniError]) -> None:
    """003-09: each code stands in docs/errors.md beside its status."""
    document = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert re.search(rf"^\| {kind.status} \|[^|]*`{kind.code}`", document, re.MULTILINE)


def test_every_command_is_in_the_readme() -> None:
    """000-64: the README's table of commands is complete."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = get_command(app).commands  # type: ignore[attr-defined]  # a click group
    assert {name for name in commands if f"`lumni {name}" not in readme} == set()


def test_the_readme_starts_with_two_commands() -> None:
    """000-65: what a new user must type is the first code block, and nothing more."""
    first = (ROOT / "README.md").read_text(encoding="utf-8").split("```sh\n", 1)[1].split("```", 1)[0]
    assert first.splitlines() == ["pip install uv", "uv run lumni serve"]


def test_help_imports_nothing_heavy() -> None:
    """000-64: `lumni --help` stays fast, because it loads neither LiteLLM nor the server nor the database."""
    program = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from lumni.__main__ import app\n"
        "result = CliRunner().invoke(app, ['--help'])\n"
        "heavy = {'litellm', 'fastapi', 'sqlalchemy', 'pydantic', 'uvicorn', 'rich.console'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy or result.exit_code else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
