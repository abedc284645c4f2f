"""Strings that fit a JSON Schema: formats, patterns, lengths."""

import random
import re
import uuid
from re import _constants as ops  # type: ignore[attr-defined]  # the regex parser that Python itself uses
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from .validation import search

_TRIES = 60
_MAX_REPEAT = 3
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def make_string(schema: dict[str, Any], hint: str, rng: random.Random, attempt: int) -> str:
    """A string for ``schema``; ``hint`` is used as it is where nothing forbids it.

    A format comes before a pattern and the lengths; later attempts do without it, since it is only an annotation.
    """
    low, high = schema.get("minLength", 0), schema.get("maxLength")
    made = _from_format(schema["format"], rng) if "format" in schema and attempt % 2 == 0 else None
    if made is not None:
        return made
    if "pattern" in schema:
        return _from_pattern(schema["pattern"], low, high, rng)
    text = hint
    while len(text) < low:
        text += " " + hint if hint else rng.choice(_LETTERS)
    return text if high is None else text[:high]


def _from_format(name: str, rng: random.Random) -> str | None:
    number = rng.randrange(1, 255)
    date, time = f"2026-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}", f"{rng.randrange(24):02}:30:00Z"
    known = {
        "date-time": f"{date}T{time}",
        "date": date,
        "time": time,
        "duration": f"PT{number}M",
        "email": f"lab{number}@example.com",
        "idn-email": f"lab{number}@example.com",
        "hostname": f"lab{number}.example.com",
        "idn-hostname": f"lab{number}.example.com",
        "ipv4": f"192.0.2.{number}",
        "ipv6": f"2001:db8::{number:x}",
        "uri": f"https://example.com/lab/{number}",
        "url": f"https://example.com/lab/{number}",
        "iri": f"https://example.com/lab/{number}",
        "uri-reference": f"/lab/{number}",
        "iri-reference": f"/lab/{number}",
        "uri-template": "/lab/{id}",
        "uuid": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "json-pointer": f"/lab/{number}",
        "relative-json-pointer": "0/lab",
        "regex": "^lab$",
        "byte": "bGFi",
    }
    return known.get(name)


def _from_pattern(pattern: str, low: int, high: int | None, rng: random.Random) -> str:
    """A match of ``pattern`` (Python's dialect); look-arounds are only met by trying."""
    try:
        tree = parser.parse(pattern)
    except re.error:
        return "lab".ljust(low, "b")[:high]
    made = ""
    for attempt in range(_TRIES):
        made = _write(tree, {}, rng, _MAX_REPEAT + attempt // 4)
        short = low - len(made)
        if short > 0:  # a pattern without anchors also matches inside a longer text; one with a repeat may grow
            padded = made + "".join(rng.choice(_LETTERS) for _ in range(short))
            made = padded if search(pattern, padded) else made
        if low <= len(made) and (high is None or len(made) <= high) and search(pattern, made):
            return made
        grown = _write(tree, {}, rng, max(low, 1), least=low)
        if low <= len(grown) and (high is None or len(grown) <= high) and search(pattern, grown):
            return grown
    return made


def _write(tree: Any, groups: dict[int, str], rng: random.Random, most: int, least: int = 0) -> str:
    return "".join(_write_one(op, argument, groups, rng, most, least) for op, argument in tree)


def _write_one(op: Any, argument: Any, groups: dict[int, str], rng: random.Random, most: int, least: int) -> str:
    if op is ops.LITERAL:
        return chr(argument)
    if op is ops.NOT_LITERAL:
        return next(letter for letter in _LETTERS if letter != chr(argument))
    if op is ops.ANY:
        return rng.choice(_LETTERS)
    if op is ops.IN:
        return _one_of(argument, rng)
    if op is ops.BRANCH:
        return _write(rng.choice(argument[1]), groups, rng, most, least)
    if op is ops.SUBPATTERN:
        text = _write(argument[3], groups, rng, most, least)
        if argument[0] is not None:
            groups[argument[0]] = text
        return text
    if op is ops.ATOMIC_GROUP:
        return _write(argument, groups, rng, most, least)
    if op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT):
        low, high, inner = argument
        start = min(max(low, least), high)
        count = rng.randint(start, max(start, min(high, low + most)))
        return "".join(_write(inner, groups, rng, most) for _ in range(count))
    if op is ops.GROUPREF:
        return groups.get(argument, "")
    return ""  # anchors and look-arounds write nothing


_CATEGORIES = {
    ops.CATEGORY_DIGIT: "0123456789",
    ops.CATEGORY_NOT_DIGIT: _LETTERS,
    ops.CATEGORY_SPACE: " ",
    ops.CATEGORY_NOT_SPACE: _LETTERS,
    ops.CATEGORY_WORD: _LETTERS + "0123456789",
    ops.CATEGORY_NOT_WORD: "-.,;",
}
_PRINTABLE = "".join(map(chr, range(32, 127)))


def _one_of(items: list[Any], rng: random.Random) -> str:
    negated = items[0][0] is ops.NEGATE
    allowed = "".join(_members(op, argument) for op, argument in items if op is not ops.NEGATE)
    if negated:
        left = [character for character in _LETTERS + _PRINTABLE if character not in allowed]
        return rng.choice(left or ["é"])
    return rng.choice(allowed or _LETTERS)


def _members(op: Any, argument: Any) -> str:
    if op is ops.LITERAL:
        return chr(argument)
    if op is ops.RANGE:
        return "".join(map(chr, range(argument[0], min(argument[1], argument[0] + 200) + 1)))
    return _CATEGORIES.get(argument, _LETTERS)
