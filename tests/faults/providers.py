"""The stage of the provider tests: a gateway whose accounts are all at the lab, each provider in its own dialect."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from openai import OpenAI

from lumni.lab.state import account_of
from tests.faults.conftest import TIMES
from tests.faults.lab import LabServer
from tests.services.gateway import Gateway

WAYS = ("whole", "stream")
QUESTION: Any = [{"role": "user", "content": "Explain what a list is, in a few words."}]


class Provider(NamedTuple):
    """``minute`` and ``day`` are models with one request a minute or day, ``free`` has no limit."""

    prefix: str
    path: str
    profile: str
    key: str
    minute: str
    day: str
    free: str


_FREE_MODELS = (
    "meta-llama/llama-3.3-70b-instruct:free",
    "google/gemma-4-31b-it:free",
    "nvidia/nemotron-nano-9b-v2:free",
)
_GEMINI_MODELS = ("gemini-2.5-flash", "gemini-2.5-flash-lite", "gemma-3-27b-it")
PROVIDERS = {
    "groq": Provider(
        "groq", "/groq/openai/v1", "groq", "gsk_", "llama-3.1-8b-instant", "llama-3.3-70b-versatile", "qwen/qwen3.6-27b"
    ),
    "gemini": Provider("gemini", "/gemini/v1beta", "gemini", "AIzaSy", *_GEMINI_MODELS),
    "gemini-as-openai": Provider("openai", "/gemini/v1beta/openai", "gemini", "AIzaSy", *_GEMINI_MODELS),
    "openai": Provider("openai", "/openai/v1", "openai", "sk-proj-", "gpt-4o-mini", "gpt-4o", "gpt-4.1-mini"),
    "openrouter": Provider("openrouter", "/openrouter/api/v1", "openrouter", "sk-or-v1-", *_FREE_MODELS),
}
SECONDS = {"minute": 60, "day": 86_400}


@dataclass
class Accounts:
    """The model list as it grows, and every key in it."""

    url: str
    lane: str
    keys: dict[str, str] = field(default_factory=dict)
    entries: list[str] = field(default_factory=list)

    def add(self, group: str, provider: str, model: str, priority: int = 0, key: str = "") -> None:
        """A deployment ``<group>-<priority>`` with an account of its own; its key is made up if not given."""
        id_, shape = f"{group}-{priority}", PROVIDERS[provider]
        self.keys[id_] = key or shape.key + hashlib.sha256(id_.encode()).hexdigest()[:36]
        params = f'{{model: "{shape.prefix}/{model}", api_base: "{self.url}{shape.path}", api_key: "{self.keys[id_]}"}}'
        info = f"{{id: {id_}, priority: {priority}, lane: {self.lane}}}"
        self.entries.append(f"  - model_name: {group}\n    litellm_params: {params}\n    model_info: {info}\n")

    def add_all(self) -> None:
        """See :class:`Stage` for the groups."""
        for name, shape in PROVIDERS.items():
            for way in WAYS:
                for period, model in (("minute", shape.minute), ("day", shape.day)):
                    self.add(f"{name}-{period}-{way}", name, model)
                    self.add(f"{name}-{period}-{way}-pair", name, model)
                    self.add(f"{name}-{period}-{way}-pair", name, shape.free, 1)
            self.add(f"{name}-live", name, shape.free)
            dead = "dead" + hashlib.sha256(name.encode()).hexdigest()[:36]
            self.add(f"{name}-dead", name, shape.free, key=dead)
            self.add(f"{name}-dead-pair", name, shape.free, key=dead)
            self.add(f"{name}-dead-pair", name, shape.free, 1)
            self.add(f"{name}-odd-key", name, shape.free, key=f"chalk and {name} board"[::-1].replace(" ", "/"))


@dataclass(frozen=True)
class Stage:
    """One gateway, one lab. Groups by provider: ``-minute-<way>`` and ``-day-<way>`` have one request to spend, with
    ``-pair`` also a second account; ``-dead`` has a key that is refused; ``-live`` is well; ``-odd-key`` has a key that
    looks like no maker's.
    """

    lane: str
    lab: LabServer
    gateway: Gateway
    client: OpenAI
    keys: dict[str, str]

    def post(self, model: str, stream: bool) -> httpx.Response:
        body = {"model": model, "messages": QUESTION, "stream": stream}
        headers = {"authorization": f"Bearer {self.gateway.key}"}
        return httpx.post(f"{self.gateway.base_url}/chat/completions", json=body, headers=headers, timeout=120)

    def add_fault(self, deployment: str, kind: str, **more: Any) -> None:
        """For this deployment's account, until the faults are cleared."""
        self.lab.add_fault(kind, account=account_of(self.keys[deployment]), times=None, **more)

    def secrets(self) -> set[str]:
        return {*self.keys.values(), self.gateway.key}


def set_stage(directory: Path, lane: str) -> Iterator[Stage]:
    limits: dict[str, Any] = {}
    for shape in PROVIDERS.values():
        limits[shape.profile] = {shape.minute: {"rpm": 1}, shape.day: {"rpd": 1}}
    with LabServer(directory, limits) as lab:
        accounts = Accounts(lab.url, lane)
        accounts.add_all()
        config = "model_list:\n" + "".join(accounts.entries)
        environ = {**TIMES, "NUM_RETRIES": "1", "LOG_LEVEL": "DEBUG", "BREAKER_THRESHOLD": "1000"}
        with Gateway(directory, config, **environ) as gateway:
            client = OpenAI(base_url=gateway.base_url, api_key=gateway.key, max_retries=0, timeout=120)
            with client:
                yield Stage(lane, lab, gateway, client, accounts.keys)
