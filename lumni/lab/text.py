"""What the lab model says: readable, different for each prompt, and open about being no real model."""

import random
import re
from typing import Any

import orjson

from . import prompt

_SHORT = 240
_WORD = re.compile(r"[^\W\d_][\w'-]{3,}")
_COMMON_WORDS = """
about after also answer because been before between could does explain from give have here into just like list make
more most much need only other please prove should show some such tell than that their them then there these they this
those using very want what when where which while will with would write your
"""
_COMMON = frozenset(_COMMON_WORDS.split())
_OPENINGS = (
    "This is Lumni's lab model speaking; no real model was asked.",
    "A note first: I am Lumni's lab model, and no real model was asked.",
    "You have reached Lumni's lab model. No real model was asked.",
)
_REMARKS = (
    "A real model would now explain {topic}; I can only show you that your request arrived whole.",
    "On {topic} I know nothing, but your client, your key and the way here all work.",
    "Switch to a real provider to learn about {topic}; everything else stays as it is.",
    "For {topic} you will want a real model. The same code will reach one once a provider key is set.",
)
_STEPS = (
    "Say what is being asked. The words that carry it are {words}.",
    "Collect what is known about {topic}, and mark what is assumed.",
    "Work through {topic} from the simplest case to the general one.",
    "Check the result against an example that could prove it wrong.",
    "Compare two ways to look at {topic} and keep the one with fewer assumptions.",
    "Write the answer down so that someone who has never heard of {topic} can follow it.",
)
_CLOSING = "That is the shape of an answer, not an answer: the lab model reasons about nothing."


def topics(text: str) -> list[str]:
    """Up to four words that carry the text, in their order, without repeats."""
    words = dict.fromkeys(word.lower() for word in _WORD.findall(text[:2000]))
    return [word for word in words if word not in _COMMON][:4]


def compose(body: dict[str, Any], behaviour: str, rng: random.Random) -> str:
    """The answer of model behaviour ``fast``, ``powerful`` or ``echo`` to a checked chat body."""
    asked = prompt.question(body)
    if behaviour == "echo":
        return asked
    found = topics(asked)
    topic = f"“{rng.choice(found)}”" if found else "it"
    lines = [rng.choice(_OPENINGS), *_facts(body, asked)]
    if behaviour == "powerful":
        return "\n\n".join([" ".join(lines), _steps(found, topic, rng), _CLOSING])
    return " ".join([*lines, rng.choice(_REMARKS).format(topic=topic)])


def as_json(body: dict[str, Any], behaviour: str, rng: random.Random) -> str:
    """A JSON object for ``response_format: json_object``."""
    asked = prompt.question(body)
    answer = asked if behaviour == "echo" else compose(body, "fast", rng)
    return orjson.dumps({"answer": answer, "topics": topics(asked), "real_model": False}).decode()


def _facts(body: dict[str, Any], asked: str) -> list[str]:
    """What the request held: the tool results or the question, and its images."""
    results = prompt.tool_results(body)
    said = [f"The tool `{name}` returned: {_shorten(text)}" for name, text in results]
    if asked.strip() and results:
        said.append(f"That was for your question: “{_shorten(asked)}”")
    elif asked.strip():
        said.append(f"You asked: “{_shorten(asked)}”")
    count = prompt.images(body)
    if count:
        said.append(f"You sent {count} {'image' if count == 1 else 'images'}, which I accept but cannot see.")
    return said


def _steps(found: list[str], topic: str, rng: random.Random) -> str:
    words = ", ".join(found) or "too few to name"
    chosen = [_STEPS[0], *sorted(rng.sample(_STEPS[1:], 4), key=_STEPS.index)]
    steps = [f"{number}. {step.format(words=words, topic=topic)}" for number, step in enumerate(chosen, 1)]
    return "Here is how a careful answer would go:\n\n" + "\n".join(steps)


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _SHORT else text[: _SHORT - 1].rstrip() + "…"
