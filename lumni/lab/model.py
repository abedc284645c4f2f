"""The lab model: a chat body in, an OpenAI answer or its stream out, the same for the same seed and body."""

import hashlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson

from lumni.errors import InvalidRequest

from . import embeddings, prompt, text, tools
from .logprobs import token_logprobs
from .schema import ExampleMaker, UnsatisfiableError
from .tokens import count_json_tokens, count_prompt_tokens, split_tokens

Json = dict[str, Any]
BEHAVIOURS = ("fast", "powerful", "echo")
_NOT_PROMPT = frozenset({"stream", "stream_options", "user", "metadata"})
_FRAGMENT = 12  # characters of tool arguments in one streamed delta


@dataclass(frozen=True, slots=True)
class Choice:
    """One planned answer: its tokens, or its tool calls, and how it ends."""

    tokens: list[str]
    calls: list[Json]
    finish_reason: str
    logprobs: list[Json] | None = None

    @property
    def completion_tokens(self) -> int:
        return len(self.tokens) + sum(count_json_tokens(call) for call in self.calls)


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything that is said to one request, before it is written whole or as a stream."""

    id: str
    created: int
    model: str
    choices: list[Choice]
    prompt_tokens: int
    fingerprint: str
    include_usage: bool = False
    extra: Json = field(default_factory=dict)

    @property
    def completion_tokens(self) -> int:
        return sum(choice.completion_tokens for choice in self.choices)

    def usage(self) -> Json:
        """OpenAI's usage object."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def completion(self) -> Json:
        """The answer as one ``chat.completion``."""
        choices = [_whole(index, choice) for index, choice in enumerate(self.choices)]
        return {**self._frame("chat.completion"), "choices": choices, "usage": self.usage()}

    def chunks(self) -> Iterator[Json]:
        """The answer as ``chat.completion.chunk`` objects: role, deltas and finish of each choice, usage if asked."""
        frame = self._frame("chat.completion.chunk")
        if self.include_usage:
            frame["usage"] = None
        streams = [_deltas(index, choice) for index, choice in enumerate(self.choices)]
        while streams:
            ended = []
            for stream in streams:
                choice = next(stream, None)
                if choice is None:
                    ended.append(stream)
                else:
                    yield {**frame, "choices": [choice]}
            streams = [stream for stream in streams if stream not in ended]
        if self.include_usage:
            yield {**frame, "choices": [], "usage": self.usage()}

    def _frame(self, kind: str) -> Json:
        frame = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return {**frame, "service_tier": "default", "system_fingerprint": self.fingerprint, **self.extra}


class LabModel:
    """Answers by itself, offline. Its ``seed`` and the body's own both vary the text; ``clock`` gives ``created``."""

    def __init__(self, seed: int = 0, clock: Callable[[], float] = time.time) -> None:
        self.seed = seed
        self._clock = clock

    def answer(self, body: Json, *, behaviour: str | None = None, answer_id: str | None = None) -> Answer:
        """Plan the whole answer to an OpenAI chat body. Raises ``InvalidRequest`` for a body that OpenAI refuses.

        ``behaviour`` (``fast``, ``powerful``, ``echo``) defaults to what the model's name says.
        """
        prompt.check(body)
        model = str(body.get("model") or "fast")
        behaviour = behaviour or behaviour_of(model)
        digest = self._digest(body)
        choices = [self._choice(body, behaviour, digest, index) for index in range(body.get("n") or 1)]
        return Answer(
            id=answer_id or f"chatcmpl-lab{digest.hex()[:24]}",
            created=int(self._clock()),
            model=model,
            choices=choices,
            prompt_tokens=count_prompt_tokens(body),
            fingerprint=f"fp_lab{self.seed & 0xFFFFFFFF:08x}",
            include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        )

    def complete(self, body: Json) -> Json:
        """The answer as one ``chat.completion`` dict."""
        return self.answer(body).completion()

    def stream(self, body: Json) -> Iterator[Json]:
        """The answer as ``chat.completion.chunk`` dicts; a wrong body raises here, before the first of them."""
        return self.answer(body).chunks()

    def embed(self, body: Json) -> Json:
        """OpenAI's answer to an embeddings body."""
        return embeddings.embed(body, self.seed)

    def _digest(self, body: Json) -> bytes:
        """What the answer depends on; how it is delivered (``stream``) and who asks (``user``) are not part of it."""
        told = {
            key: value for key, value in body.items() if key not in ("stream", "stream_options", "user", "metadata")
        }
        key = self.seed.to_bytes(16, "big", signed=True)
        options = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
        return hashlib.blake2b(orjson.dumps(told, default=str, option=options), digest_size=16, key=key).digest()

    def _choice(self, body: Json, behaviour: str, digest: bytes, index: int) -> Choice:
        rng = random.Random(digest + index.to_bytes(2, "big"))
        if behaviour != "echo" and (calls := tools.choose_calls(body, rng)):
            return Choice([], calls, "tool_calls")
        tokens, finish = _limit(_content(body, behaviour, rng), body)
        wanted = body.get("top_logprobs") or 0
        logprobs = token_logprobs(tokens, wanted, rng) if body.get("logprobs") else None
        return Choice(tokens, [], finish, logprobs)


def behaviour_of(model: str) -> str:
    """How a model of this name answers: the last part of the name if the lab knows it, else ``fast``."""
    name = model.rsplit("/", 1)[-1]
    return name if name in BEHAVIOURS else "fast"


def _content(body: Json, behaviour: str, rng: random.Random) -> str:
    wanted = body.get("response_format") or {}
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_schema":
        schema = (wanted.get("json_schema") or {}).get("schema", True)
        try:
            value = ExampleMaker(schema, rng, tools.words_for(prompt.question(body))).make()
        except UnsatisfiableError as error:
            raise InvalidRequest(f"Nothing fits the response's schema: {error}.", param="response_format") from None
        return orjson.dumps(value).decode()
    if kind == "json_object":
        return text.as_json(body, behaviour, rng)
    return text.compose(body, behaviour, rng)


def _limit(said: str, body: Json) -> tuple[list[str], str]:
    """Apply ``stop`` and the length limit; the finish reason tells which of them, if any, cut the text."""
    stops = body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        if stop:
            said = said.split(stop, 1)[0]
    tokens = split_tokens(said)
    most = body.get("max_completion_tokens")
    if most is None:
        most = body.get("max_tokens")
    if most is not None and len(tokens) > most:
        return tokens[:most], "length"
    return tokens, "stop"


def _whole(index: int, choice: Choice) -> Json:
    message: Json = {"role": "assistant", "content": "".join(choice.tokens), "refusal": None, "annotations": []}
    if choice.calls:
        message |= {"content": None, "tool_calls": choice.calls}
    logprobs = None if choice.logprobs is None else {"content": choice.logprobs, "refusal": None}
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": choice.finish_reason}


def _deltas(index: int, choice: Choice) -> Iterator[Json]:
    def one(delta: Json, logprobs: Json | None = None, finish: str | None = None) -> Json:
        return {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}

    yield one({"role": "assistant", "content": None if choice.calls else "", "refusal": None})
    for position, token in enumerate(choice.tokens):
        told = None if choice.logprobs is None else {"content": [choice.logprobs[position]], "refusal": None}
        yield one({"content": token}, told)
    for position, call in enumerate(choice.calls):
        for delta in _call_deltas(call):
            yield one({"tool_calls": [{"index": position, **delta}]})
    yield one({}, finish=choice.finish_reason)


def _call_deltas(call: Json) -> Iterator[Json]:
    """The head of a call with empty arguments, then its arguments in fragments."""
    kind = call["type"]
    key = "arguments" if kind == "function" else "input"
    whole = call[kind][key]
    yield {"id": call["id"], "type": kind, kind: {"name": call[kind]["name"], key: ""}}
    for start in range(0, len(whole), _FRAGMENT):
        yield {kind: {key: whole[start : start + _FRAGMENT]}}
