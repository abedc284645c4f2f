"""Other gateways. Each is installed into a directory of its own under ``bench`` when it is first asked for."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

import orjson

from bench.gateways import MODEL_LIST, REPOSITORY, Gateway, NotHere
from bench.targets import MODEL


class FromPyPI(Gateway):
    """A gateway with an environment of its own."""

    requirement: ClassVar[str]
    program: ClassVar[str]

    @property
    def environment(self) -> Path:
        return REPOSITORY / "bench" / f".env-{self.program}"

    @property
    def executable(self) -> str:
        return str(self.environment / "bin" / self.program)

    def prepare(self, stack: contextlib.ExitStack) -> None:  # noqa: ARG002
        if Path(self.executable).exists():
            return
        install = ["uv", "pip", "install", "--quiet", "--python", str(self.environment / "bin" / "python")]
        try:
            subprocess.run(["uv", "venv", "--quiet", "--clear", str(self.environment)], check=True)
            subprocess.run([*install, self.requirement], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise NotHere(f"{self.requirement} can't be installed: {error}") from None

    def version(self) -> str:
        distribution = self.requirement.partition("[")[0].partition("=")[0]
        ask = f"from importlib.metadata import version; print(version({distribution!r}))"
        python = str(self.environment / "bin" / "python")
        return subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()


class LiteLLMProxy(FromPyPI):
    """LiteLLM's proxy without a database, quiet, as its page on production advises."""

    name = "litellm-proxy"
    key = "sk-bench"
    requirement = "litellm[proxy]>=1.106,<1.110"
    program = "litellm"
    ENVIRON: ClassVar = {
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        # The price map that came with it, instead of one from the network.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }

    def command(self, port: int, provider: str, directory: Path) -> list[str]:
        configuration = directory / "config.yaml"
        configuration.write_text(
            MODEL_LIST.format(model=MODEL, provider=provider, more="")
            + f"general_settings: {{master_key: {self.key}}}\nlitellm_settings: {{set_verbose: false}}\n"
        )
        listen = ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1", "--telemetry", "False"]
        return [self.executable, "--config", str(configuration), *listen]

    def environ(self, port: int, provider: str) -> dict[str, str]:  # noqa: ARG002
        return dict(self.ENVIRON)


class Rolter(FromPyPI):
    """A gateway in Rust: key and route in its file, no database. It uses all cores."""

    name = "rolter"
    key = "sk-bench"
    requirement = "rolter==0.1.0"
    program = "rolter"
    CONFIGURATION = """\
[server]
host = "127.0.0.1"
port = {port}
[[providers]]
name = "bench"
kind = "openai_compatible"
api_base = "{provider}"
[[routes]]
model = "{model}"
targets = [{{ provider = "bench", model = "{model}" }}]
[[virtual_keys]]
key = "{key}"
name = "bench"
models = []
"""

    def command(self, port: int, provider: str, directory: Path) -> list[str]:
        path = directory / "rolter.toml"
        path.write_text(self.CONFIGURATION.format(port=port, provider=provider, model=MODEL, key=self.key))
        return [self.executable, "gateway", "--config", str(path)]


class Ferrogw(FromPyPI):
    """A gateway in Go: a master key, no limit on requests, no request log. It uses all cores.

    It serves only models that it knows by name.
    """

    name = "ferrogw"
    key = "fgw_bench"
    model = "gpt-4o-mini"
    requirement = "ferrogw==1.5.10"
    program = "ferrogw"

    def command(self, port: int, provider: str, directory: Path) -> list[str]:  # noqa: ARG002
        (directory / "config.yaml").write_text("strategy: {mode: fallback}\ntargets: [{virtual_key: openai}]\n")
        return [self.executable, "serve"]

    def environ(self, port: int, provider: str) -> dict[str, str]:
        return {
            "GATEWAY_CONFIG": "config.yaml", "PORT": str(port), "MASTER_KEY": self.key, "OPENAI_API_KEY": "unused",
            "OPENAI_BASE_URL": provider, "RATE_LIMIT_RPS": "1000000", "RATE_LIMIT_BURST": "1000000",
            "LOG_LEVEL": "error",
        }  # fmt: skip


class Portkey(Gateway):
    """Portkey's open gateway on Node, one process, headless. It knows no keys of its own and passes the provider's."""

    name = "portkey"
    key = "sk-bench"
    environment = REPOSITORY / "bench" / ".env-portkey"
    PACKAGE: ClassVar = {
        # Later versions of these two, which its own range allows, fail at every answer.
        "dependencies": {"@portkey-ai/gateway": "1.15.2", "@hono/node-server": "1.13.8", "hono": "4.9.7"},
        "overrides": {"@hono/node-server": "$@hono/node-server", "hono": "$hono"},
    }

    def prepare(self, stack: contextlib.ExitStack) -> None:  # noqa: ARG002
        if not (shutil.which("node") and shutil.which("npm")):
            raise NotHere("it needs Node.js, and there is no node or npm on PATH")
        if self._program.exists():
            return
        self.environment.mkdir(exist_ok=True)
        (self.environment / "package.json").write_bytes(orjson.dumps(self.PACKAGE))
        install = ["npm", "install", "--silent", "--no-audit", "--no-fund"]
        try:
            subprocess.run(install, cwd=self.environment, check=True, env=dict(os.environ))
        except (OSError, subprocess.CalledProcessError) as error:
            raise NotHere(f"npm can't install it: {error}") from None

    @property
    def _program(self) -> Path:
        return self.environment / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"

    def command(self, port: int, provider: str, directory: Path) -> list[str]:  # noqa: ARG002
        return ["node", str(self._program), "--headless", f"--port={port}"]

    def environ(self, port: int, provider: str) -> dict[str, str]:  # noqa: ARG002
        return {"NODE_ENV": "production"}

    def headers(self, provider: str) -> dict[str, str]:
        return {"x-portkey-provider": "openai", "x-portkey-custom-host": f"{provider}/v1"}

    def version(self) -> str:
        return str(self.PACKAGE["dependencies"]["@portkey-ai/gateway"])
