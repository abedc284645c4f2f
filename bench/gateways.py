"""The gateways that are compared. A new one is a class here or in ``rivals`` and a place in ``GATEWAYS``."""

import contextlib
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from bench.processes import Process
from bench.targets import MODEL, Target, free_port, wait_until

REPOSITORY = Path(__file__).parent.parent
MODEL_LIST = """\
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/{model}, api_base: "{provider}/v1", api_key: unused}}{more}
"""


class NotHere(Exception):
    """What a gateway needs can't be had on this machine; says what."""


class Gateway(ABC):
    """A gateway with one worker that serves ``model`` from the provider, behind one key."""

    name: ClassVar[str]
    key: ClassVar[str]
    model: ClassVar[str] = MODEL

    def prepare(self, stack: contextlib.ExitStack) -> None:  # noqa: B027  (most gateways need nothing)
        """Install and start what it needs, before anything is measured. Raises :class:`NotHere`."""

    @abstractmethod
    def command(self, port: int, provider: str, directory: Path) -> list[str]:
        """What starts it on a port of the loopback, in ``directory``, after its configuration was written there.

        ``provider`` is the provider's address without a path.
        """

    @abstractmethod
    def version(self) -> str:
        """What was measured."""

    def environ(self, port: int, provider: str) -> dict[str, str]:  # noqa: ARG002  (some need them)
        """Its environment, besides PATH and HOME."""
        return {}

    def headers(self, provider: str) -> dict[str, str]:  # noqa: ARG002
        """What each request tells it besides its key."""
        return {}

    def start(self, provider: Target, directory: Path) -> Target:
        """The running gateway, once it has given its first answer. Raises :class:`bench.targets.NotStarted`."""
        directory.mkdir()
        port, version, address = free_port(), self.version(), f"http://127.0.0.1:{provider.port}"
        process = Process(self.command(port, address, directory), directory, self.environ(port, address))
        target = Target(self.name, version, port, self.key, process, self.model, self.headers(address))
        wait_until(process, target.answers)
        return target


class Lumni(Gateway):
    """This checkout with its default settings: records in SQLite, one unified key."""

    name = "lumni"
    key = "bench-key"
    more: ClassVar = ""
    workers: ClassVar = 1

    def command(self, port: int, provider: str, directory: Path) -> list[str]:
        model_list = MODEL_LIST.format(model=MODEL, provider=provider, more=self.more)
        (directory / "litellm_config.yaml").write_text(model_list)
        serve = [sys.executable, "-m", "lumni", "serve", "--host", "127.0.0.1", "--port", str(port)]
        return [*serve, "--workers", str(self.workers)]

    def environ(self, port: int, provider: str) -> dict[str, str]:  # noqa: ARG002
        return {"UNIFIED_API_KEY": self.key}

    def version(self) -> str:
        import lumni

        git = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
        described = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
        return f"{lumni.__version__} ({described or 'no git'})"


class LumniTranslated(Lumni):
    """The same, with every request translated by LiteLLM, as for providers that don't speak OpenAI's format."""

    name = "lumni-translated"
    more: ClassVar = "\n    model_info: {lane: translated}"


class LumniCached(Lumni):
    """With the response cache in memory: all answers but the first of each kind are hits."""

    name = "lumni-cached"

    def environ(self, port: int, provider: str) -> dict[str, str]:
        return {**super().environ(port, provider), "CACHE_ENABLED": "true"}


class LumniShared(Lumni):
    """With its limits in Redis (a Valkey) and its records in PostgreSQL, whose own CPU is not counted."""

    name = "lumni-shared"

    def prepare(self, stack: contextlib.ExitStack) -> None:
        from tests.services.postgres import Postgres
        from tests.services.server import Unavailable
        from tests.services.valkey import Valkey

        try:
            postgres, valkey = stack.enter_context(Postgres()), stack.enter_context(Valkey())
        except Unavailable as error:
            raise NotHere(str(error)) from None
        self._shared = {"DATABASE_URL": postgres.url(), "REDIS_URL": valkey.url()}

    def environ(self, port: int, provider: str) -> dict[str, str]:
        return {**super().environ(port, provider), **self._shared}


class LumniTwice(LumniShared):
    """The same with two workers."""

    name = "lumni-two-workers"
    workers: ClassVar = 2
