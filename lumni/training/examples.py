"""Prompts with what is known of their difficulty, from JSONL files."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lumni.errors import InvalidRequest
from lumni.intelligence.features import look
from lumni.intelligence.ngrams import Ngrams, ngrams
from lumni.intelligence.signs import signs_of
from lumni.intelligence.thread import read

LEVELS: Sequence[float] = (0.03, 0.10, 0.32, 0.73, 0.94)
"""The probability that the weak tier fails at each level of training/classroom/RUBRIC.md. The rubric expects an
8B model to fail at about 1, 4, 15, 50 and 85 %; these are one unit of log-odds more, because the weak tier that the
benchmarks measured fails more often than such a model (it solves 19 % of TriviaQA)."""

CLASSROOM = "classroom"


class Example(NamedTuple):
    """One row. ``fails`` and ``gain`` are shares in [0, 1] and [-1, 1], ``None`` where nobody measured a gain.

    ``group`` is the benchmark, or ``CLASSROOM``; ``level`` and ``language`` are known of classroom prompts only.
    """

    signs: tuple[int, ...]
    ngrams: Ngrams
    fails: float
    gain: float | None
    group: str
    licence: str = ""
    level: int | None = None
    language: str = ""


class Source(NamedTuple):
    """A file that was read: its name, the SHA-256 of its bytes, and its rows."""

    name: str
    sha256: str
    examples: tuple[Example, ...]


def load(path: Path) -> Source:
    """Read a JSONL file of rows with ``prompt`` or ``messages``, and either ``level`` or ``weak`` (and ``strong``).

    Raises:
        InvalidRequest: a row is something else; the message says which line.
    """
    content = path.read_bytes()
    examples = []
    for number, line in enumerate(content.decode("utf-8").rstrip("\n").split("\n"), 1):
        try:
            examples.append(example(json.loads(line)))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            message = f"{path}, line {number}: a row has `prompt` or `messages`, and `level` or `weak` ({error!r})."
            raise InvalidRequest(message) from error
    return Source(path.name, hashlib.sha256(content).hexdigest(), tuple(examples))


def body_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """The chat body of a row with ``messages`` or ``prompt``."""
    return {"messages": row["messages"] if "messages" in row else [{"role": "user", "content": row["prompt"]}]}


def example(row: Mapping[str, Any]) -> Example:
    """A row with its features. Raises ``KeyError``, ``ValueError`` and the like for anything else."""
    body = body_of(row)
    reading = look(read(body).last, body)
    level = row.get("level")
    fails = LEVELS[level] if level is not None else 1 - _share(row["weak"])
    strong = row.get("strong")
    return Example(
        signs=tuple(signs_of(reading)),
        ngrams=ngrams(reading.turn.text),
        fails=fails,
        gain=None if level is not None or strong is None else _share(strong) - _share(row["weak"]),
        group=str(row["group"]) if level is None else CLASSROOM,
        licence=str(row.get("licence", "")),
        level=level,
        language=str(row.get("language", "")),
    )


def _share(value: float) -> float:
    if not (math.isfinite(value) and 0 <= value <= 1):
        message = f"{value} is no share"
        raise ValueError(message)
    return float(value)
