"""What a gateway loads before it serves: nothing that its settings don't ask for."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import asyncio, os, sys
from lumni.app import create_app
from lumni.services import Services
from lumni.settings import Settings

async def start():
    services = await Services.start(Settings.load(None, os.environ))
    create_app(services)
    loaded = [name for name in ("alembic", "asyncpg", "openai.resources", "redis") if name in sys.modules]
    await services.stop()
    print(*loaded)

asyncio.run(start())
"""
MODEL_LIST = "model_list: [{model_name: m, litellm_params: {model: openai/m, api_key: k}}]"


def test_a_gateway_loads_no_driver_that_it_is_not_told_to_use(tmp_path: Path) -> None:
    """With SQLite and memory: neither PostgreSQL's driver (4 MiB) nor Redis's (6); and Alembic (7) only to migrate."""
    (tmp_path / "litellm_config.yaml").write_text(MODEL_LIST)
    assert [_loaded(tmp_path) for _ in range(2)] == [["alembic"], []]


def _loaded(directory: Path) -> list[str]:
    environ = {name: os.environ[name] for name in ("HOME", "PATH", "PYTHONPATH") if name in os.environ}
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[-2].split()
