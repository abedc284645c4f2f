"""The gateways that hold the class, each configured as its documentation advises for exactly these accounts."""

import contextlib
import sys
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml

from bench.classroom.accounts import GROUP, Account
from bench.classroom.lab import Lab
from bench.gateways import Lumni
from bench.processes import Process
from bench.rivals import LiteLLMProxy
from bench.targets import CHAT_PATH, free_port, wait_until


@dataclass(frozen=True)
class Running:
    """A gateway that is ready. Whoever started it stops ``process``."""

    url: str
    key: str
    process: Process


class Entrant(ABC):
    """A gateway before the class's accounts. ``known``: the limits are in its configuration."""

    name: ClassVar[str]
    key: ClassVar[str]
    environ: ClassVar[Mapping[str, str]] = {}
    health: ClassVar[str]

    def __init__(self, *, known: bool = True) -> None:
        self.known = known

    def prepare(self) -> None:  # noqa: B027  (most need nothing)
        """Install what it needs, before anything is timed."""

    @abstractmethod
    def configuration(self, accounts: Sequence[Account], lab: Lab) -> dict[str, Any]:
        """The YAML that it is given."""

    @abstractmethod
    def command(self, configuration: Path, port: int) -> list[str]:
        """What starts it."""

    @abstractmethod
    def version(self) -> str:
        """What was measured."""

    def start(self, accounts: Sequence[Account], lab: Lab, directory: Path, environ: Mapping[str, str]) -> Running:
        """Start it; no provider is called for that. ``environ`` adds to its own. Raises ``NotStarted``."""
        directory.mkdir()
        path, port = directory / "litellm_config.yaml", free_port()
        path.write_text(yaml.safe_dump(self.configuration(accounts, lab), sort_keys=False))
        process = Process(self.command(path, port), directory, {**self.environ, **environ})
        base = f"http://127.0.0.1:{port}"
        wait_until(process, lambda: _answers(base + self.health))
        return Running(base + CHAT_PATH, self.key, process)


class LumniEntrant(Entrant):
    """This checkout: the model list as LiteLLM users write it. Students' own limits are out of the way."""

    name = "lumni"
    key = Lumni.key
    health = "/health"
    environ: ClassVar = {
        "UNIFIED_API_KEY": Lumni.key,
        "MAX_REQUESTS_PER_MINUTE": "0",
        "MAX_REQUESTS_PER_HOUR": "0",
        "DEFAULT_RATE_LIMIT_CAPACITY": "0",
        "LOG_LEVEL": "WARNING",
    }

    def configuration(self, accounts: Sequence[Account], lab: Lab) -> dict[str, Any]:
        return {"model_list": [entry for account in accounts for entry in self._entries(account, lab)]}

    def command(self, configuration: Path, port: int) -> list[str]:
        listen = ["--host", "127.0.0.1", "--port", str(port)]
        return [sys.executable, "-m", "lumni", "serve", "--config", str(configuration), *listen]

    def version(self) -> str:
        return Lumni().version()

    def _entries(self, account: Account, lab: Lab) -> list[dict[str, Any]]:
        entries = [_entry(account, model, lab, account.amounts() if self.known else {}) for model in account.models]
        if self.known and account.limits.get("kind") == "sliding":  # against what is known of some providers
            for entry in entries:
                entry["model_info"]["style"] = "sliding"
        if self.known and len(entries) > 1:
            for entry in entries:
                entry["model_info"]["shared"] = account.name
        return entries


class LiteLLMEntrant(Entrant):
    """LiteLLM's proxy: limits in ``litellm_params``, which weigh its choice and are enforced; retries and cooldowns.

    It has requests and tokens a minute only, and none that deployments share: such a limit is split among them. Of its
    strategies ``simple-shuffle``, which its documentation recommends, served this class best.
    """

    name = "litellm-proxy"
    key = LiteLLMProxy.key
    health = "/health/liveliness"
    environ: ClassVar = LiteLLMProxy.ENVIRON
    strategy = "simple-shuffle"

    def prepare(self) -> None:
        with contextlib.ExitStack() as stack:
            LiteLLMProxy().prepare(stack)

    def configuration(self, accounts: Sequence[Account], lab: Lab) -> dict[str, Any]:
        return {
            "model_list": [entry for account in accounts for entry in self._entries(account, lab)],
            "router_settings": {
                "routing_strategy": self.strategy,
                "enable_pre_call_checks": True,
                **({"optional_pre_call_checks": ["enforce_model_rate_limits"]} if self.known else {}),
                "num_retries": 3,
                "retry_after": 1,
                "timeout": 60,
                "allowed_fails": 3,
                "cooldown_time": 10,
            },
            # Without the last one it looks for Llama's tokenizer in the network, and nobody is served meanwhile.
            "litellm_settings": {
                "set_verbose": False,
                "drop_params": True,
                "request_timeout": 60,
                "disable_hf_tokenizer_download": True,
            },
            "general_settings": {"master_key": self.key},
        }

    def command(self, configuration: Path, port: int) -> list[str]:
        listen = ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1", "--telemetry", "False"]
        return [LiteLLMProxy().executable, "--config", str(configuration), *listen]

    def version(self) -> str:
        return LiteLLMProxy().version()

    def _entries(self, account: Account, lab: Lab) -> list[dict[str, Any]]:
        parts = {name: amount // len(account.models) for name, amount in account.amounts().items()}
        split = {name: amount for name, amount in parts.items() if self.known and name in ("rpm", "tpm")}
        return [_entry(account, model, lab, split) for model in account.models]


ENTRANTS: tuple[type[Entrant], ...] = (LumniEntrant, LiteLLMEntrant)


def _entry(account: Account, model: str, lab: Lab, limits: Mapping[str, int]) -> dict[str, Any]:
    params = {"model": f"{account.prefix}/{model}", "api_base": lab.address(account), "api_key": account.name}
    number = account.models.index(model) + 1
    id_ = account.name if len(account.models) == 1 else f"{account.name}-{number}"
    return {"model_name": GROUP, "litellm_params": {**params, **limits}, "model_info": {"id": id_}}


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
