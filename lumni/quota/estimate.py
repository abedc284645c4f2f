"""How many tokens a request will take, learned per model from what requests really took. Pure; sizes are UTF-8 bytes.

Bytes and not characters, because a byte-level tokenizer never makes more tokens than bytes, and an English word and a
Chinese character come to about the same number of bytes a token. Text comes to 3 to 5 bytes a token, code to 2.5 to 4
(Llama 3, GPT-4o and Gemma tokenizers), so a model starts at a cautious 3.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, sqrt
from typing import Any

from lumni.quota.model import Amounts
from lumni.types import Usage

FIRST_RATIO = 1 / 3  # tokens a byte, before anything is known
FIRST_SPREAD = 0.1
FIRST_OUTPUT = 512  # tokens
MESSAGE_BYTES = 12  # role and separators of a message: about four tokens in all known chat templates
IMAGE_BYTES = 3000  # about 1,000 tokens: OpenAI's 765 for 1024 × 1024, Gemini's 258 a tile, Anthropic's pixels / 750
MEMORY = 0.1  # weight of the newest observation in the moving averages
SAFETY = 1.645  # standard deviations above the mean: 19 of 20 prompts are no longer, were the ratio normally spread
QUANTILE = 0.8  # of past completions that were no longer than the estimate
KEPT = 200  # completions remembered a model


def size_of(body: Mapping[str, Any]) -> int:
    """Bytes of a chat request that become prompt tokens: messages, tools and schema; each image as many."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        messages = []
    return MESSAGE_BYTES * len(messages) + _size([messages, body.get("tools"), body.get("response_format")])


def _size(value: Any) -> int:
    """Bytes of all text inside, found without writing it out as JSON, and however deep it lies."""
    size, left = 0, [value]
    for item in left:  # which grows by what is found inside
        kind = type(item)
        if kind is str:
            size += len(item) if item.isascii() else len(item.encode("utf-8", "replace"))
        elif kind is dict:
            if "type" in item and item["type"] in ("image_url", "input_image", "image"):
                size += IMAGE_BYTES
            else:
                left += item
                left += item.values()
        elif kind is list or kind is tuple:
            left += item
        elif item is not None:
            size += 4
    return size


def asked_tokens(body: Mapping[str, Any]) -> int | None:
    """The most tokens of output that the client wants."""
    return body.get("max_completion_tokens") or body.get("max_tokens")


@dataclass(slots=True)
class _Model:
    """Moving mean and variance of tokens a byte, and the latest completion lengths, sorted and in order."""

    ratio: float = FIRST_RATIO
    variance: float = FIRST_SPREAD**2
    lengths: list[int] = field(default_factory=list)
    order: deque[int] = field(default_factory=deque)

    def saw_prompt(self, ratio: float) -> None:
        """Exponentially weighted mean and variance (Finch 2009, "Incremental calculation of weighted mean …")."""
        step = ratio - self.ratio
        self.ratio += MEMORY * step
        self.variance = (1 - MEMORY) * (self.variance + MEMORY * step * step)

    def saw_completion(self, tokens: int) -> None:
        insort(self.lengths, tokens)
        self.order.append(tokens)
        if len(self.order) > KEPT:
            del self.lengths[bisect_left(self.lengths, self.order.popleft())]

    def prompt(self, size: int) -> int:
        return min(size, ceil(size * (self.ratio + SAFETY * sqrt(self.variance))))

    def completion(self) -> int:
        """The quantile of what was seen, with ten imagined completions of the first guess among them."""
        seen = len(self.lengths)
        if seen < 10:
            known = sorted([*self.lengths, *[FIRST_OUTPUT] * (10 - seen)])
            return known[ceil(QUANTILE * len(known)) - 1]
        return self.lengths[ceil(QUANTILE * seen) - 1]


class Demand:
    """What one request takes, by the model that serves it: many deployments serve the same. Made by an estimator."""

    def __init__(self, estimator: "Estimator", size: int, max_tokens: int | None, choices: int) -> None:
        self._estimator = estimator
        self.size = size
        self.max_tokens = max_tokens
        self.choices = choices
        self._known: dict[tuple[str, bool], Amounts] = {}

    def bounded(self, body: Mapping[str, Any]) -> "Demand":
        """The same request's with the bound of its output that ``body`` has."""
        most = asked_tokens(body)
        return self if most == self.max_tokens else Demand(self._estimator, self.size, most, self.choices)

    def of(self, model: str, *, counts_max_tokens: bool) -> Amounts:
        """As :meth:`Estimator.estimate` says at the first time that it is asked."""
        key = (model, counts_max_tokens)
        need = self._known.get(key)
        if need is None:
            need = self._known[key] = self._estimator.estimate(
                model,
                self.size,
                max_tokens=self.max_tokens,
                choices=self.choices,
                counts_max_tokens=counts_max_tokens,
            )
        return need


class Estimator:
    """Token estimates of every model (any name: a deployment's ``model``), better with every answer."""

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}

    def demand(self, body: Mapping[str, Any]) -> Demand:
        """What OpenAI's chat ``body`` takes."""
        return Demand(self, size_of(body), asked_tokens(body), body.get("n") or 1)

    def estimate(
        self, model: str, size: int, *, max_tokens: int | None = None, choices: int = 1, counts_max_tokens: bool = False
    ) -> Amounts:
        """What to reserve for a prompt of ``size`` bytes (``size_of``) and ``choices`` answers.

        ``counts_max_tokens`` for providers that take ``max_tokens`` off the window when the request arrives, whatever
        is then used (OpenAI and Groq do).
        """
        known = self._models.get(model) or _Model()
        output = known.completion() if max_tokens is None else min(known.completion(), max_tokens)
        if counts_max_tokens and max_tokens is not None:
            output = max_tokens
        return Amounts(1, known.prompt(size), output * max(1, choices))

    def observe(self, model: str, size: int, usage: Usage, *, choices: int = 1) -> None:
        """Learn from an answer's real usage; counts that LiteLLM made up teach nothing."""
        if usage.estimated:
            return
        known = self._models.setdefault(model, _Model())
        if size > 0 and usage.prompt_tokens > 0:
            known.saw_prompt(min(1.0, usage.prompt_tokens / size))
        if usage.completion_tokens > 0:
            known.saw_completion(ceil(usage.completion_tokens / max(1, choices)))

    def dump(self) -> dict[str, Any]:
        """What must survive a restart, as JSON."""
        return {name: [model.ratio, model.variance, list(model.order)] for name, model in self._models.items()}

    def load(self, dumped: Mapping[str, Any]) -> None:
        """Take up what ``dump`` wrote."""
        for name, (ratio, variance, order) in dumped.items():
            self._models[name] = _Model(ratio, variance, sorted(order), deque(order))
