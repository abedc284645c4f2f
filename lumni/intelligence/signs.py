"""The signs that the classifier weighs: yes-or-no facts about a turn.

A number such as the length becomes one of several signs (``length:3``), so that a linear model may bend.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any

from lumni.intelligence.concepts import CONCEPTS, concepts_in
from lumni.intelligence.features import Features, Reading

BINS: Mapping[str, tuple[float, ...]] = {
    # Where each number is cut: ``name:i`` is the sign that it reaches i of these.
    "length": (1, 12, 25, 40, 60, 90, 140, 220, 350, 600, 1200, 3000),
    "words": (1, 4, 7, 11, 16, 25, 40, 80, 200),
    "letters": (3.5, 4.2, 4.8, 5.4, 6.2),  # a word, on average
    "sentences": (2, 3, 4, 6, 10),
    "numbers": (1, 2, 4, 8, 16),
    "questions": (1, 2, 3),
    "commas": (1, 2, 4, 8),
    "lines": (2, 4, 8, 20),
    "items": (1, 3, 6),
    "options": (3, 5, 7),
    "maths": (0.01, 0.25, 0.5, 0.99),
    "constraints": (0.25, 0.5, 0.75),
    "code": (0.3, 0.99),
    "quotes": (1, 3, 8),
    "brackets": (1, 3, 8),
    "capitals": (0.02, 0.06, 0.12, 0.3),  # share of the letters
    "names": (1, 2, 4),  # capitalised words that don't begin a sentence
    "turns": (2, 3, 5),
    "before": (1, 300, 1500),  # characters of the thread before the last turn
}
PLAIN = (
    *("proof", "plan", "debug", "write_code", "intricate_code", "choices", "steps", "greeting", "simple"),
    *("tools", "attachments", "effort", "ease", "latex", "end:question", "end:stop", "end:else", "start:lower"),
    *("script:latin", "script:cyrillic", "script:east", "script:other", "foreign"),
)
VALUED = PLAIN.index("latex")
"""So many of ``PLAIN`` are features above 0."""

NAMES: tuple[str, ...] = (
    *(f"{name}:{i}" for name, cuts in BINS.items() for i in range(len(cuts) + 1)),
    *(f"asks:{name}" for name in CONCEPTS),
    *PLAIN,
)
PLACE: Mapping[str, int] = {name: place for place, name in enumerate(NAMES)}
ENDS = (". ", "? ", "! ", ".\n", "?\n", "!\n", "。", "！", "？", "।", "؟")
FIRST: Mapping[str, int] = {name: PLACE[f"{name}:0"] for name in BINS}
ASKS = PLACE[f"asks:{next(iter(CONCEPTS))}"]

# A pattern that begins with a rare character is several times faster than one that begins with a common one.
_NUMBER = re.compile(r"[0-9]+")
_LATEX = re.compile(r"\\[a-zA-Z]+|\$")
_OPTION = re.compile(r"[.):](?<=[\s(][A-Ja-j].)[ ]")
_ITEM = re.compile(r"^[ ]{0,4}(?:\d{1,2}[.)]|[-*•])[ ]", re.MULTILINE)
_CAPITAL = re.compile(r"[A-Z]")
_NAME = re.compile(r"[A-Z](?<=[a-z,] .)[a-z]")
_CYRILLIC = re.compile(r"[\u0400-\u04ff]")
_EAST = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_ELSEWHERE = re.compile(r"[\u0400-\u04ff\u0590-\u0dff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def signs_of(reading: Reading) -> list[int]:
    """Places in ``NAMES`` of the signs that a turn shows: one of each number's, and what is there of the rest."""
    text, words, features = reading.turn.text, reading.words, reading.features
    letters = sum(map(len, words)) or 1
    numbers = {
        "length": len(text),
        "words": len(words),
        "letters": letters / (len(words) or 1),
        "sentences": sum(map(text.count, ENDS)),
        "numbers": len(_NUMBER.findall(text)),
        "questions": text.count("?") + text.count("？") + text.count("؟"),
        "commas": text.count(",") + text.count("、") + text.count("，"),
        "lines": text.count("\n") + 1,
        "items": len(_ITEM.findall(text)),
        "options": len(_OPTION.findall(f"\n{text}")),
        "maths": features.maths,
        "constraints": features.constraints,
        "code": features.code,
        "quotes": text.count('"') + text.count("“") + text.count("«") + text.count("「"),
        "brackets": text.count("(") + text.count("["),
        "capitals": len(_CAPITAL.findall(text)) / letters,
        "names": len(_NAME.findall(text)),
        "turns": reading.turn.number,
        "before": reading.turn.before,
    }
    found = [FIRST[name] + bisect_right(BINS[name], value) for name, value in numbers.items()]
    found += [ASKS + place for place in concepts_in(reading.distinct, reading.lower, reading.beyond)]
    found += [PLACE[name] for name in _plain(text, features)]
    return found


def _plain(text: str, features: Features) -> Iterator[str]:
    values: Mapping[str, Any] = features._asdict()
    yield from (name for name in PLAIN[:VALUED] if values[name] > 0)
    if _LATEX.search(text):
        yield "latex"
    end = text.rstrip()[-1:]
    yield "end:question" if end in "?？؟" and end else "end:stop" if end in ".。!।！" and end else "end:else"
    if text[:1].islower():
        yield "start:lower"
    if text.isascii() or not _ELSEWHERE.search(text):
        yield "script:latin"
    elif _EAST.search(text):
        yield "script:east"
    else:
        yield "script:cyrillic" if _CYRILLIC.search(text) else "script:other"
    if features.foreign:
        yield "foreign"
