"""Prompts that teachers keep in Portkey or in files: fetched, kept, and filled in here.

Portkey renders a template with each text variable standing for itself; what students put in is filled in by Lumni. So
their words don't leave, and one fetched template serves them all, also while Portkey is away.
"""

import asyncio
import hashlib
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import yaml

from lumni.errors import PromptNotFound, PromptUnavailable
from lumni.settings import Settings
from lumni.telemetry.portkey import headers_of
from lumni.types import Json, Prompt

logger = logging.getLogger(__name__)

SECONDS = 5.0  # for Portkey's answer
PAUSE = 5.0  # seconds for which what was kept serves without asking again
MOST_KEPT = 1000  # templates, in memory and on the disk each: students choose the names of variables
# What a template may say of the call; the model is the request's own.
TAKEN = frozenset({
    "messages", "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed", "presence_penalty",
    "frequency_penalty", "response_format", "tools", "tool_choice",
})  # fmt: skip
# Brackets that no template and no student writes.
PLACE = "\u27e6lumni:{}\u27e7"
_PLACE = re.compile("\u27e6lumni:([^\u27e7]*)\u27e7")
_MUSTACHE = re.compile(r"\{\{\{?\s*([\w.-]+)\s*\}?\}\}")


@dataclass(slots=True)
class _Kept:
    """``template`` may be used without asking until ``fresh_until`` (monotonic seconds)."""

    template: Json
    fresh_until: float


class Prompts:
    """Renders prompts. ``url`` and ``headers`` are Portkey's, ``None``: files only.

    A template is asked for again after ``ttl`` seconds; the last one that was got, kept in ``kept``, serves while
    Portkey is away; then the file ``<id>.yaml`` in ``folder``.
    """

    def __init__(
        self,
        url: str | None,
        headers: Mapping[str, str],
        folder: Path,
        kept: Path,
        ttl: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._headers = dict(headers)
        self._folder = folder
        self._disk = kept
        self._ttl = ttl
        self._clock = clock
        self._memory: OrderedDict[str, _Kept] = OrderedDict()
        self._fetching: dict[str, asyncio.Task[Json]] = {}
        self._client: httpx.AsyncClient | None = None

    async def render(self, prompt: Prompt) -> Json:
        """``messages`` and other fields of a chat body. Raises :class:`PromptNotFound`, :class:`PromptUnavailable`."""
        template = await self._template(prompt)
        filled: Json = _filled(template, prompt.variables)
        return filled

    async def close(self) -> None:
        for task in self._fetching.values():
            task.cancel()
        if self._client is not None:
            await self._client.aclose()

    async def _template(self, prompt: Prompt) -> Json:
        if self._url is None:
            return self._from_file(prompt, PromptNotFound(f"There is no prompt {prompt.name} here.", param="prompt.id"))
        asked = {
            name: value if isinstance(value, bool) else PLACE.format(name) for name, value in prompt.variables.items()
        }
        key = hashlib.sha256(orjson.dumps([prompt.name, asked], option=orjson.OPT_SORT_KEYS)).hexdigest()
        known = self._memory.get(key)
        if known is not None and self._clock() < known.fresh_until:
            self._memory.move_to_end(key)
            return known.template
        try:
            template = await self._fetched(key, prompt.name, asked)
        except (PromptNotFound, PromptUnavailable) as error:
            template = self._otherwise(key, prompt, error)
        return template

    async def _fetched(self, key: str, name: str, asked: Json) -> Json:
        """From Portkey, asked once for all who wait."""
        task = self._fetching.get(key)
        if task is None:
            task = self._fetching[key] = asyncio.get_running_loop().create_task(self._fetch(key, name, asked))
            task.add_done_callback(lambda done: self._fetched_at_last(key, done))
        return await asyncio.shield(task)

    def _fetched_at_last(self, key: str, done: asyncio.Task[Json]) -> None:
        del self._fetching[key]
        if not done.cancelled():
            done.exception()  # seen, even if all who waited have left

    async def _fetch(self, key: str, name: str, asked: Json) -> Json:
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=SECONDS)
        url = f"{self._url}/prompts/{name}/render"
        try:
            answer = await self._client.post(url, json={"variables": asked}, headers=self._headers)
        except httpx.HTTPError as error:
            raise PromptUnavailable(f"Portkey didn't answer ({type(error).__name__}).", retry_after=PAUSE) from None
        if answer.status_code in (400, 404):
            raise PromptNotFound(f"Portkey has no prompt {name}.", param="prompt.id")
        if not answer.is_success:
            raise PromptUnavailable(f"Portkey answered with status {answer.status_code}.", retry_after=PAUSE)
        template = _read(answer.content)
        if template is None:
            raise PromptUnavailable(f"Portkey's answer for {name} holds no messages.")
        self._keep(key, template, self._ttl)
        await asyncio.to_thread(self._save, key, template)
        return template

    def _otherwise(self, key: str, prompt: Prompt, error: PromptNotFound | PromptUnavailable) -> Json:
        """The last one that was good, else the file."""
        known = self._memory.get(key)
        if known is None:
            try:
                template: Json = orjson.loads((self._disk / f"{key}.json").read_bytes())
            except (OSError, ValueError):
                template = self._from_file(prompt, error)
        else:
            template = known.template
        logger.warning("the prompt %s could not be had: %s What was kept serves.", prompt.name, error.message)
        self._keep(key, template, PAUSE)
        return template

    def _from_file(self, prompt: Prompt, error: PromptNotFound | PromptUnavailable) -> Json:
        """``<id>@<version>.yaml``, else ``<id>.yaml``; ``error`` if there is neither."""
        for name in (prompt.name, prompt.name.partition("@")[0]):
            try:
                written = yaml.safe_load((self._folder / f"{name}.yaml").read_text(encoding="utf-8"))
            except FileNotFoundError:
                continue
            except (OSError, yaml.YAMLError) as fault:
                raise PromptUnavailable(
                    f"The file of the prompt {name} can't be read: {type(fault).__name__}."
                ) from None
            if (template := _checked(written)) is not None:
                placed: Json = _placed(template)
                return placed
            raise PromptUnavailable(f"The file of the prompt {name} has no messages.")
        raise error

    def _keep(self, key: str, template: Json, seconds: float) -> None:
        self._memory[key] = _Kept(template, self._clock() + seconds)
        self._memory.move_to_end(key)
        while len(self._memory) > MOST_KEPT:
            self._memory.popitem(last=False)

    def _save(self, key: str, template: Json) -> None:
        try:
            self._disk.mkdir(parents=True, exist_ok=True)
            there = sorted(self._disk.glob("*.json"), key=lambda path: path.stat().st_mtime)
            for path in there[: max(0, len(there) - MOST_KEPT + 1)]:
                path.unlink(missing_ok=True)
            made = self._disk / f"{key}.new"
            made.write_bytes(orjson.dumps(template))
            made.replace(self._disk / f"{key}.json")
        except OSError as error:
            logger.warning("a prompt can't be kept on the disk: %s", error.strerror)


def _read(content: bytes) -> Json | None:
    """The template in Portkey's ``PromptRenderResponse``."""
    try:
        body = orjson.loads(content)
    except ValueError:
        return None
    return _checked(body.get("data")) if isinstance(body, dict) else None


def _checked(written: Any) -> Json | None:
    """What of a template is taken; ``None`` if it has no messages that could be sent."""
    if not isinstance(written, Mapping):
        return None
    messages = written.get("messages")
    if not isinstance(messages, list) or not messages:
        return None
    if not all(isinstance(one, Mapping) and isinstance(one.get("role"), str) for one in messages):
        return None
    return {name: value for name, value in written.items() if name in TAKEN and value is not None}


def _placed(value: Any) -> Any:
    """``{{name}}`` in a file's texts as places to be filled."""
    return _in_texts(value, lambda text: _MUSTACHE.sub(lambda found: PLACE.format(found[1]), text))


def _filled(value: Any, variables: Mapping[str, Any]) -> Any:
    """Places with what stands for them, once: what students write is no template. Unknown ones are empty."""
    return _in_texts(value, lambda text: _PLACE.sub(lambda found: _said(variables.get(found[1], "")), text))


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _in_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: _in_texts(one, change) for name, one in value.items()}
    return [_in_texts(one, change) for one in value] if isinstance(value, list) else value


def make_prompts(settings: Settings) -> Prompts:
    """From Portkey where there is a key for it."""
    headers = headers_of(settings)
    url = settings.portkey_base_url if headers["x-portkey-api-key"] else None
    return Prompts(url, headers, settings.prompts_dir, settings.data_dir / "prompts", settings.prompt_ttl)
