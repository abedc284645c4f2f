"""Going on with an answer whose stream broke off: the same request is asked again and joined where the two agree.

Providers that decode deterministically (temperature 0, a seed, a cache, the lab) say the same again; the student then
sees one whole answer. As soon as the second answer differs from what was already sent, joining would be a lie, and the
break is reported instead.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from lumni.types import Json
from lumni.upstream.chunks import Spoken


class Diverged(Exception):
    """The second answer is another one."""


class Splice:
    """Filters the second stream's shaped chunks down to what comes after ``said``."""

    def __init__(self, said: Mapping[int, Spoken]) -> None:
        self._text = {(index, name): text for index, spoken in said.items() for name, text in spoken.text.items()}
        self._tools = {
            (index, number): [tool.name, tool.arguments]
            for index, spoken in said.items()
            for number, tool in spoken.tools.items()
        }
        self._missing = set(self._tools)

    def feed(self, chunk: Mapping[str, Any]) -> Iterator[Json]:
        """What is new in a chunk, if anything. Raises :class:`Diverged`."""
        for choice in chunk["choices"]:
            index, delta = choice["index"], choice["delta"]
            new: Json = {}
            for name, value in delta.items():
                if name == "tool_calls":
                    if calls := [c for call in value if (c := self._tool(index, call))]:
                        new[name] = calls
                elif isinstance(value, str) and (rest := self._rest(index, name, value)):
                    new[name] = rest
            new.pop("role", None)
            if new:
                yield {"choices": [{**choice, "delta": new}]}

    def finish(self) -> None:
        """The second stream has ended: raises :class:`Diverged` if it said less than the first."""
        if self._missing or any(self._text.values()) or any(arguments for _, arguments in self._tools.values()):
            raise Diverged

    def _rest(self, index: int, name: str, piece: str) -> str:
        ahead, rest = _consume(self._text.get((index, name), ""), piece)
        self._text[index, name] = ahead
        return rest

    def _tool(self, index: int, call: Mapping[str, Any]) -> Json | None:
        known = self._tools.get((index, call["index"]))
        if known is None:
            return dict(call)
        self._missing.discard((index, call["index"]))
        function = call["function"]
        if "name" in function and function["name"] != known[0]:
            raise Diverged
        known[1], rest = _consume(known[1], function["arguments"])
        return {"index": call["index"], "function": {"arguments": rest}} if rest else None


def _consume(ahead: str, piece: str) -> tuple[str, str]:
    """What is left to match, and what of ``piece`` lies beyond it."""
    common = min(len(ahead), len(piece))
    if ahead[:common] != piece[:common]:
        raise Diverged
    return ahead[common:], piece[common:]
