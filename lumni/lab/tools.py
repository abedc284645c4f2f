"""Which tools the lab model calls, and with which arguments."""

import random
import re
from typing import Any

import orjson

from lumni.errors import InvalidRequest

from . import prompt
from .schema import ExampleMaker, UnsatisfiableError

_NAME_LIKE = re.compile(r"[A-ZÀ-Þ][\w'-]*(?: [A-ZÀ-Þ][\w'-]*)*")


def choose_calls(body: dict[str, Any], rng: random.Random) -> list[dict[str, Any]]:
    """The tool calls for a chat body, in OpenAI's shape; empty when none may or needs to be made.

    ``auto`` calls the tools that the prompt names (else the first one), unless a tool result has just arrived;
    ``required`` and a named tool always call. Raises ``InvalidRequest`` for a choice that isn't offered.
    """
    tools = [tool for tool in body.get("tools") or () if isinstance(tool, dict) and _spec(tool).get("name")]
    choice = body.get("tool_choice") or "auto"
    if choice == "none" or not tools:
        return []
    forced = choice != "auto"
    if isinstance(choice, dict):
        tools, forced = _offered(choice, tools)
    if not forced and prompt.tool_results(body):
        return []
    asked = prompt.question(body)
    wanted = _named(asked, tools) or tools[:1]
    if body.get("parallel_tool_calls") is False:
        wanted = wanted[:1]
    return [_call(tool, asked, rng) for tool in wanted]


def words_for(text: str) -> list[str]:
    """What a text offers for free string arguments: its names (“Paris”), without the word that opens it."""
    first = text.lstrip().split(" ", 1)[0] if text.strip() else ""
    return [name for name in dict.fromkeys(_NAME_LIKE.findall(text[:2000])) if name != first][:8]


def _spec(tool: dict[str, Any]) -> dict[str, Any]:
    spec = tool.get(tool.get("type", "function"))
    return spec if isinstance(spec, dict) else {}


def _offered(choice: dict[str, Any], tools: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
    """The tools that a ``tool_choice`` object leaves, and whether one of them must be called."""
    if choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools") or {}
        names = {_spec(tool).get("name") for tool in allowed.get("tools", ())}
        return [tool for tool in tools if _spec(tool)["name"] in names] or tools, allowed.get("mode") == "required"
    name = _spec(choice).get("name")
    named = [tool for tool in tools if _spec(tool)["name"] == name]
    if not named:
        raise InvalidRequest(f"`tool_choice` names `{name}`, which is not among `tools`.", param="tool_choice")
    return named[:1], True


def _named(text: str, tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tools whose names stand in the text (``get_weather`` or “get weather”), in the text's order."""
    plain = text.lower().replace("_", " ").replace("-", " ")
    places = [(plain.find(_spec(tool)["name"].lower().replace("_", " ").replace("-", " ")), tool) for tool in tools]
    return [tool for place, tool in sorted(places, key=lambda found: found[0]) if place >= 0]


def _call(tool: dict[str, Any], asked: str, rng: random.Random) -> dict[str, Any]:
    spec = _spec(tool)
    call_id = f"call_{rng.getrandbits(96):024x}"
    if tool.get("type") == "custom":
        return {"id": call_id, "type": "custom", "custom": {"name": spec["name"], "input": asked}}
    arguments = _arguments(spec.get("parameters"), asked, rng)
    function = {"name": spec["name"], "arguments": orjson.dumps(arguments).decode()}
    return {"id": call_id, "type": "function", "function": function}


def _arguments(schema: Any, asked: str, rng: random.Random) -> Any:
    if not isinstance(schema, dict) or not schema:
        return {}
    try:
        return ExampleMaker(schema, rng, words_for(asked)).make()
    except UnsatisfiableError as error:
        raise InvalidRequest(f"No arguments fit the tool's schema: {error}.", param="tools") from None
