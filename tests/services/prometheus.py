"""A real Prometheus: the system's, or Debian's package unpacked into ``.tools`` (``.ci/run`` does that)."""

import socket
from pathlib import Path
from typing import Any

import httpx
import orjson

from tests.services.server import Server, Unavailable, make_root, on_path

TOOLS = Path(__file__).parents[2] / ".tools" / "usr" / "bin"


class Prometheus(Server):
    """Scrapes ``target`` (host and port) every two seconds with the bearer ``key`` and evaluates ``rules`` as often."""

    def __init__(self, target: str, key: str, rules: Path) -> None:
        program = find_program("prometheus")
        root = make_root("prometheus")
        config = {
            "global": {"scrape_interval": "2s", "evaluation_interval": "2s"},
            "rule_files": [str(rules)],
            "scrape_configs": [
                {
                    "job_name": "lumni",
                    "authorization": {"credentials": key},
                    "static_configs": [{"targets": [target]}],
                }
            ],
        }
        (root / "prometheus.yml").write_bytes(orjson.dumps(config))
        address = f"127.0.0.1:{_free_port()}"
        self.url = f"http://{address}"
        options = [f"--config.file={root}/prometheus.yml", f"--storage.tsdb.path={root}/data"]
        command = [str(program), *options, f"--web.listen-address={address}", "--log.level=warn"]
        super().__init__(root, command, lambda: _is_ready(f"{self.url}/-/ready"))

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The instant vector of an expression, now. Raises ``AssertionError`` with Prometheus' words."""
        async with httpx.AsyncClient(timeout=120) as client:
            answer = await client.get(f"{self.url}/api/v1/query", params={"query": expression})
        body = answer.json()
        assert body["status"] == "success", (expression, body.get("error"))
        found: list[dict[str, Any]] = body["data"]["result"]
        return found


def find_program(name: str) -> Path:
    """``prometheus`` or ``promtool``. Raises ``Unavailable``."""
    if (TOOLS / name).exists():
        return TOOLS / name
    if found := on_path(name):
        return found
    raise Unavailable(f"{name} is not here: install Debian's package prometheus, or unpack it into .tools")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.HTTPError:
        return False
