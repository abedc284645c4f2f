"""The whole gateway in this process: application and real services, callers of every role, time that stands still."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from httpx import ASGITransport, Response

from lumni.app import create_app
from lumni.gateway.quotas import make_quota
from lumni.services import Services
from lumni.settings import Settings
from lumni.types import Principal
from tests.gateway.provider import Clock
from tests.upstream.wire import QUESTION

CHAT = "/v1/chat/completions"
WHO = {
    "admin": Principal("admin-key", role="admin"),
    "monitor": Principal("monitor-key", role="monitor"),
    "class": Principal("class-key", role="student"),  # one key for many: they say who they are by ``user``
    "teacher": Principal("teacher-key", role="teacher", student="tom"),
    "ada": Principal("ada-key", student="ada"),
    "ben": Principal("ben-key", student="ben"),
}
Callers = Mapping[str, Principal]


@dataclass(frozen=True)
class _Known:
    """A keyring in which everybody's key is their name."""

    callers: Callers

    async def authenticate(self, presented: str) -> Principal | None:
        return self.callers.get(presented)


@dataclass(frozen=True)
class Stage:
    services: Services
    clock: Clock
    client: httpx.AsyncClient

    async def get(self, path: str, who: str = "ada") -> Response:
        return await self.client.get(path, headers={"x-api-key": who})

    async def post(self, path: str, who: str = "ada", **body: Any) -> Response:
        return await self.client.post(path, headers={"x-api-key": who}, json=body)

    async def ask(self, who: str = "ada", **body: Any) -> Response:
        return await self.post(CHAT, who, **{"model": "all", "messages": QUESTION, **body})


@asynccontextmanager
async def stage(directory: Path, model_list: str, events: Any = None, **settings: Any) -> AsyncIterator[Stage]:
    """Started and stopped again. ``model_list`` is a litellm_config.yaml; the lab is off, and so are health checks.

    ``events`` (:class:`lumni.telemetry.log.Events`) log what requests do.
    """
    listed = directory / "litellm_config.yaml"
    listed.write_text(model_list, encoding="utf-8")
    given = Settings(
        **{
            "litellm_config": listed,
            "data_dir": directory / "data",
            "enable_lab": "off",
            "num_retries": 0,
            "request_timeout": 20.0,
            "health_check_interval": 0,
            **settings,
        }
    )
    clock = Clock()
    with patch("lumni.services.make_quota", partial(make_quota, clock=clock)):
        services = await Services.start(given, events=events)
    app = create_app(replace(services, keyring=_Known(WHO)))  # type: ignore[arg-type]
    try:
        async with httpx.AsyncClient(transport=ASGITransport(app), base_url="http://lumni") as client:
            yield Stage(services, clock, client)
    finally:
        await services.stop()


def entry(group: str, base: str, id_: str, *, provider: str = "openai", priority: int = 0, **params: Any) -> str:
    """One entry of a model list. It has a limit: where none is known few calls run at once, and here they never end."""
    params = {"rpm": 1000, **params}
    more = "".join(f", {name}: {value}" for name, value in params.items())
    return f"""
  - model_name: {group}
    litellm_params: {{model: {provider}/stand-in, api_base: "{base}", api_key: key-of-{id_}{more}}}
    model_info: {{id: {id_}, priority: {priority}}}"""


def model_list(*entries: str) -> str:
    return "model_list:" + "".join(entries) + "\n"
