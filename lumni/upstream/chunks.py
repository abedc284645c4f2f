"""A provider's stream as OpenAI writes one: role chunk, deltas, one finish chunk per choice.

Providers' chunks, and LiteLLM's, differ from that in small ways that break clients: empty deltas with seven nulls,
finish reasons for one choice of several, the role missing or repeated, parallel tool calls that share an index.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson

from lumni import sse
from lumni.types import Json
from lumni.upstream.normalise import logprobs

_SHAPED_APART = frozenset({"role", "tool_calls", "provider_specific_fields"})
_WITH_TEXT = frozenset({"content", "role"})
_MARK = "\ue000"  # stands for a text, to find its place in a written chunk


@dataclass
class SpokenTool:
    """A tool call as far as it has been streamed."""

    id: str
    name: str
    arguments: str = ""


@dataclass
class Spoken:
    """What one choice has said so far: ``pieces`` by delta field (content, refusal, reasoning_content, …)."""

    started: bool = False
    pieces: dict[str, list[str]] = field(default_factory=dict)
    tools: dict[int, SpokenTool] = field(default_factory=dict)
    finish: str | None = None
    _current: dict[int, int] = field(default_factory=dict)

    @property
    def text(self) -> dict[str, str]:
        """All of it, by delta field."""
        return {name: "".join(pieces) for name, pieces in self.pieces.items()}

    def absorb(self, delta: Mapping[str, Any]) -> Json:
        """The delta in OpenAI's shape, empty if it says nothing; what it says is remembered."""
        shaped = {
            name: value for name, value in delta.items() if name not in _SHAPED_APART and value not in (None, "", [])
        }
        for name, value in shaped.items():
            if isinstance(value, str):
                self.pieces.setdefault(name, []).append(value)
        if calls := delta.get("tool_calls"):
            shaped["tool_calls"] = [self._tool(call) for call in calls]
        return shaped

    def _tool(self, call: Mapping[str, Any]) -> Json:
        """The first fragment of a call carries id, type and name; later ones only their arguments."""
        function = call.get("function") or {}
        index, arguments = self._index(call), function.get("arguments") or ""
        if index in self.tools:
            self.tools[index].arguments += arguments
            return {"index": index, "function": {"arguments": arguments}}
        tool = SpokenTool(call.get("id") or f"call_{index}", function.get("name") or "", arguments)
        self.tools[index] = tool
        return {
            "index": index,
            "id": tool.id,
            "type": "function",
            "function": {"name": tool.name, "arguments": arguments},
        }

    def _index(self, call: Mapping[str, Any]) -> int:
        """The call's own index. Some providers give every parallel call index 0; a new id then means a new call."""
        claimed, id_ = call.get("index") or 0, call.get("id")
        known = self._current.get(claimed)
        if known is None:
            self._current[claimed] = claimed if claimed not in self.tools else max(self.tools) + 1
        elif id_ and self.tools[known].id != id_:
            self._current[claimed] = max(self.tools) + 1
        return self._current[claimed]


class ChunkShaper:
    """Turns a provider's chunks into OpenAI's and remembers what they said.

    ``usage_asked``: the client asked for usage; OpenAI then puts ``"usage": null`` into every chunk but the last.
    """

    def __init__(self, *, usage_asked: bool = False) -> None:
        self.head: Json = {}
        self.spoken: dict[int, Spoken] = {}
        self._tail: Json = {"usage": None} if usage_asked else {}
        self._around_text = (b"", b"")

    @property
    def said(self) -> bool:
        """Whether any choice has said anything yet."""
        return any(spoken.pieces or spoken.tools for spoken in self.spoken.values())

    def events(self, chunk: Mapping[str, Any]) -> bytes:
        """:meth:`feed` as server-sent events. What only brings more text, as most chunks do, takes the short way."""
        if text := self.more_text(chunk):
            with suppress(TypeError):  # half a surrogate pair
                return self.add_texts([text], [orjson.dumps(text)])
        return b"".join(map(sse.event, self.feed(chunk)))

    def add_texts(self, texts: Sequence[str], written: Sequence[bytes]) -> bytes:
        """The events of more texts of the first choice, which has begun; ``written`` are the texts as JSON."""
        self.spoken[0].pieces.setdefault("content", []).extend(texts)
        before, after = self._around_text
        return b"%b%b%b" % (before, (after + before).join(written), after)

    def more_text(self, chunk: Mapping[str, Any]) -> str:
        """The text of a chunk that has nothing else to say, for a first choice that has begun; else nothing."""
        try:
            (choice,) = chunk["choices"]
            delta, text = choice["delta"], choice["delta"]["content"]
            begun = self.spoken[choice.get("index") or 0] is self.spoken[0] and self.spoken[0].started
        except (KeyError, TypeError, ValueError):
            return ""
        if not begun or not self._around_text[0] or type(text) is not str or choice.get("logprobs"):
            return ""
        if len(delta) > 1 and any(value for name, value in delta.items() if name not in _WITH_TEXT):
            return ""
        return text

    def feed(self, chunk: Mapping[str, Any]) -> Iterator[Json]:
        """The role chunks and deltas in it. Finish reasons wait for :meth:`finish`."""
        if not self.head:
            self._begin(chunk)
        for choice in chunk.get("choices") or ():
            index = choice.get("index") or 0
            spoken = self.spoken.setdefault(index, Spoken())
            delta = spoken.absorb(choice.get("delta") or {})
            if delta:
                yield from self._start(index, spoken)
                yield self._chunk(index, delta, logprobs(choice.get("logprobs")))

    def finish(self, reasons: Mapping[int, str]) -> Iterator[Json]:
        """The last chunk of each choice, by ``reasons`` (choice index to finish reason)."""
        default = next(iter(reasons.values()), "stop")
        for index in sorted(self.spoken.keys() | reasons.keys()):
            spoken = self.spoken.setdefault(index, Spoken())
            if spoken.finish is None:
                yield from self._start(index, spoken)
                spoken.finish = reasons.get(index, default)
                yield self._chunk(index, {}, finish_reason=spoken.finish)

    def _begin(self, chunk: Mapping[str, Any]) -> None:
        self.head = {
            "id": chunk["id"],
            "object": "chat.completion.chunk",
            "created": chunk["created"],
            "model": chunk.get("model") or "",
        }
        if chunk.get("system_fingerprint"):
            self.head["system_fingerprint"] = chunk["system_fingerprint"]
        before, found, after = sse.event(self._chunk(0, {"content": _MARK})).rpartition(orjson.dumps(_MARK))
        self._around_text = (before, after) if found else (b"", b"")

    def _start(self, index: int, spoken: Spoken) -> Iterator[Json]:
        if not spoken.started:
            spoken.started = True
            yield self._chunk(index, {"role": "assistant", "content": "", "refusal": None})

    def _chunk(self, index: int, delta: Json, logs: Json | None = None, finish_reason: str | None = None) -> Json:
        choice = {"index": index, "delta": delta, "logprobs": logs, "finish_reason": finish_reason}
        return {**self.head, "choices": [choice], **self._tail}
