"""Whether a model's tool calls can be carried out at all."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson


def broken_tool_call(offered: Iterable[Mapping[str, Any]], calls: Iterable[Mapping[str, Any]]) -> str:
    """A sentence about the first call of a tool that wasn't offered or whose arguments are no JSON object; else ``""``.

    Whether the arguments fit the tool's schema is for the student's program to find out: that is the exercise.
    """
    names = {tool["function"]["name"] for tool in offered if isinstance(tool.get("function"), Mapping)}
    for call in calls:
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        if names and name not in names:
            return "the model called a tool that was not offered"
        try:
            parsed = orjson.loads(arguments or "{}")
        except ValueError:
            return f"the model called {name} with arguments that are not JSON"
        if not isinstance(parsed, dict):
            return f"the model called {name} with arguments that are not a JSON object"
    return ""
