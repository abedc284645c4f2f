"""The class: who asks what at which second. It is fixed, so that every gateway and the clairvoyant get the same."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

GREEDY = "greedy"
_TOPICS = (
    "embeddings",
    "tokenizers",
    "attention",
    "retrieval",
    "tool calling",
    "prompt injection",
    "temperature",
    "context windows",
    "fine-tuning",
    "quantization",
    "evaluation",
    "hallucination",
)
_QUESTIONS = (
    "What is {topic}? Answer in two sentences, please.",
    "Explain {topic} to a friend who has never programmed, and give one example from everyday life.",
    "My exercise asks for three advantages and three disadvantages of {topic}. Which ones would you name?",
    "Review my short text about {topic} and tell me which claim is the weakest, and why: {text}",
    "Summarize these notes on {topic} in a few lines, so that I can put them on a slide: {text}",
)
_SENTENCES = (
    "A model reads its prompt as a sequence of tokens.",
    "What it has not seen in training it can only guess.",
    "Longer prompts cost more and answer more slowly.",
    "The same question may be answered differently twice.",
    "Whoever measures it should write down what was measured.",
    "A small model is often good enough for a small task.",
)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. ``at`` and ``patience`` are in seconds: from the class's start, and from ``at`` until it leaves."""

    number: int
    student: str
    at: float
    text: str
    max_tokens: int
    stream: bool
    patience: float

    @property
    def deadline(self) -> float:
        """When the student gives up, in seconds from the class's start."""
        return self.at + self.patience

    def body(self, model: str) -> dict[str, Any]:
        """The request as OpenAI's clients send it; the number in it keeps any cache from answering."""
        messages = [
            {"role": "system", "content": "You help students with their exercises. Be brief."},
            {"role": "user", "content": f"Exercise {self.number}. {self.text}"},
        ]
        body = {"model": model, "messages": messages, "max_tokens": self.max_tokens, "user": self.student}
        return {**body, "stream": True} if self.stream else body


@dataclass(frozen=True, slots=True)
class Shape:
    """What a class looks like. Times are in seconds.

    Everybody's first request comes within ``burst`` of the start. Then each reads and thinks for about ``think``
    (log-normal, as people's pauses are), until ``seconds`` are over. The greedy student's ``lanes`` loops each
    send a request every ``greedy_every``, whether or not the last was answered. Each waits for ``patience``.
    ``phase`` is the second of the clock's minute at which the class starts, since fixed windows depend on it; ``None``:
    at once.
    """

    students: int = 60
    seconds: float = 110.0
    burst: float = 6.0
    think: float = 13.0
    lanes: int = 5
    greedy_every: float = 3.0
    patience: float = 60.0
    phase: int | None = 5


DEFAULT = Shape()
QUICK = Shape(seconds=18.0, burst=3.0, think=6.0, lanes=10, greedy_every=2.0, patience=15.0, phase=40)
SMOKE = Shape(students=6, seconds=2.0, burst=0.5, think=1.0, lanes=2, greedy_every=0.5, patience=8.0, phase=None)


def class_trace(shape: Shape, seed: int) -> list[Ask]:
    """The whole class in the order of arrival; the same for the same shape and seed."""
    rng = random.Random(seed)
    moments = [
        (at, f"student-{number:02d}") for number in range(1, shape.students + 1) for at in _student(shape, rng)
    ] + [(at, GREEDY) for at in _greedy(shape, rng)]
    return [_ask(number, at, student, shape, rng) for number, (at, student) in enumerate(sorted(moments), 1)]


def _student(shape: Shape, rng: random.Random) -> Iterator[float]:
    at = rng.uniform(0.0, shape.burst)
    while at < shape.seconds:
        yield at
        at += 2.0 + rng.lognormvariate(0.0, 0.6) * (shape.think - 2.0) / 1.2


def _greedy(shape: Shape, rng: random.Random) -> Iterator[float]:
    for _ in range(shape.lanes):
        at = rng.uniform(0.0, shape.greedy_every)
        while at < shape.seconds:
            yield at
            at += shape.greedy_every


def _ask(number: int, at: float, student: str, shape: Shape, rng: random.Random) -> Ask:
    notes = " ".join(rng.choice(_SENTENCES) for _ in range(rng.randint(4, 16)))
    text = rng.choice(_QUESTIONS).format(topic=rng.choice(_TOPICS), text=notes)
    max_tokens = rng.choice((150, 200, 300))
    return Ask(number, student, round(at, 3), text, max_tokens, rng.random() < 0.3, shape.patience)
