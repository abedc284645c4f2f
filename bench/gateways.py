"""The gateways that are compared. A new one is a class here and a place in ``GATEWAYS``."""

import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from bench.loads import MODEL, PACED_MODEL
from bench.processes import Process
from bench.targets import CHAT_PATH, Target, free_port, wait_until

REPOSITORY = Path(__file__).parent.parent
MODEL_LIST = """\
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/{model}, api_base: "{provider}/v1", api_key: unused}}{more}
  - model_name: {paced}
    litellm_params: {{model: openai/{paced}, api_base: "{provider}/paced/v1", api_key: unused}}{more}
"""


class Gateway(ABC):
    """A gateway with one worker that serves ``MODEL`` and ``PACED_MODEL`` from the provider, behind one key."""

    name: ClassVar[str]
    key: ClassVar[str]
    environ: ClassVar[dict[str, str]] = {}
    chat_path: ClassVar[str] = CHAT_PATH

    def prepare(self) -> None:  # noqa: B027  (most gateways need nothing)
        """Install what it needs, before anything is measured."""

    @abstractmethod
    def command(self, port: int, provider: str, directory: Path) -> list[str]:
        """What starts it on a port of the loopback, in ``directory``, after its configuration was written there.

        ``provider`` is the provider's address without a path.
        """

    @abstractmethod
    def version(self) -> str:
        """What was measured."""

    def start(self, provider: Target, directory: Path) -> Target:
        """The running gateway, once it has given its first answer. Raises :class:`bench.targets.NotStarted`."""
        directory.mkdir()
        port, version = free_port(), self.version()
        process = Process(self.command(port, f"http://127.0.0.1:{provider.port}", directory), directory, self.environ)
        target = Target(self.name, version, port, self.key, self.chat_path, process)
        wait_until(process, lambda: target.answers(MODEL))
        return target


class Lumni(Gateway):
    """This checkout with its default settings: records in SQLite, one unified key."""

    name = "lumni"
    key = "bench-key"
    environ: ClassVar = {"UNIFIED_API_KEY": key}
    more: ClassVar = ""

    def command(self, port: int, provider: str, directory: Path) -> list[str]:
        model_list = MODEL_LIST.format(model=MODEL, paced=PACED_MODEL, provider=provider, more=self.more)
        (directory / "litellm_config.yaml").write_text(model_list)
        return [sys.executable, "-m", "lumni", "serve", "--host", "127.0.0.1", "--port", str(port)]

    def version(self) -> str:
        import lumni

        git = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
        described = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
        return f"{lumni.__version__} ({described or 'no git'})"


class LumniTranslated(Lumni):
    """The same, with every request translated by LiteLLM, as for providers that don't speak OpenAI's format."""

    name = "lumni-translated"
    more: ClassVar = "\n    model_info: {lane: translated}"


class LiteLLMProxy(Gateway):
    """LiteLLM's proxy in an environment of its own, without a database, quiet, as its page on production advises."""

    name = "litellm-proxy"
    key = "sk-bench"
    requirement = "litellm[proxy]>=1.106,<1.110"
    environment = REPOSITORY / "bench" / ".env-litellm"
    environ: ClassVar = {
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOG": "ERROR",
        # The price map that came with it, instead of one from the network.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }

    def prepare(self) -> None:
        if (self.environment / "bin" / "litellm").exists():
            return
        subprocess.run(["uv", "venv", "--quiet", "--clear", str(self.environment)], check=True)
        install = ["uv", "pip", "install", "--quiet", "--python", str(self.environment / "bin" / "python")]
        subprocess.run([*install, self.requirement], check=True)

    def command(self, port: int, provider: str, directory: Path) -> list[str]:
        configuration = directory / "config.yaml"
        configuration.write_text(
            MODEL_LIST.format(model=MODEL, paced=PACED_MODEL, provider=provider, more="")
            + f"general_settings: {{master_key: {self.key}}}\nlitellm_settings: {{set_verbose: false}}\n"
        )
        litellm = str(self.environment / "bin" / "litellm")
        listen = ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1", "--telemetry", "False"]
        return [litellm, "--config", str(configuration), *listen]

    def version(self) -> str:
        ask = "from importlib.metadata import version; print(version('litellm'))"
        python = str(self.environment / "bin" / "python")
        return subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()


GATEWAYS: tuple[type[Gateway], ...] = (Lumni, LumniTranslated, LiteLLMProxy)
