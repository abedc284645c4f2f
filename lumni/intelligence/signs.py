"""The signs that the classifier weighs: yes-or-no facts about a turn.

A number such as the length becomes one of several signs (``length:3``), so that a linear model may bend.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence

from lumni.intelligence.concepts import CONCEPTS, concepts_in
from lumni.intelligence.features import Features, Reading
from lumni.intelligence.kinds import (
    APOSTROPHE,
    ASKS,
    BACKSLASH,
    BRACKET,
    CAPITAL,
    COMMA,
    CYRILLIC,
    DIGIT,
    DOLLAR,
    EAST,
    LINE,
    OPERATOR,
    OTHER,
    QUOTE,
    WIDE_ASKS,
)

BINS: Mapping[str, tuple[float, ...]] = {
    # Where each number is cut: ``name:i`` is the sign that it reaches i of these.
    "length": (1, 12, 25, 40, 60, 90, 140, 220, 350, 600, 1200, 3000),
    "words": (1, 4, 7, 11, 16, 25, 40, 80, 200),
    "letters": (3.5, 4.2, 4.8, 5.4, 6.2),  # a word, on average
    "sentences": (2, 3, 4, 6, 10),
    "numbers": (1, 2, 3, 4, 6, 8, 12, 16, 24),
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
    "titles": (0.05, 0.1, 0.15, 0.2, 0.3, 0.5),  # share of the words that are capitalised
    "variety": (0.5, 0.6, 0.7, 0.8, 0.9, 0.99),  # share of the words that are different
    "lettered": (0.5, 0.6, 0.7, 0.75, 0.8),  # share of the characters that are letters
    "digits": (1, 2, 4, 8, 12, 16, 24, 32, 48, 64),
    "longest": (1, 2, 3, 4, 6),  # digits of the longest number
    "operators": (1, 3, 6, 12, 24),
    "commands": (1, 3, 6, 12, 24),  # backslashes
    "apostrophes": (1, 3, 8, 20),
    # Where there are answers to choose from: characters and numbers before them, characters of one, share of letters.
    "question": (1, 60, 120, 200, 300, 450, 700),
    "question_numbers": (1, 2, 3, 4, 6, 8, 12),
    "answer": (1, 6, 12, 25, 50, 100),
    "answer_letters": (0.01, 0.1, 0.25, 0.4, 0.55, 0.7),
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
ASKS_FIRST = PLACE[f"asks:{next(iter(CONCEPTS))}"]
_CUTS = tuple((PLACE[f"{name}:0"], cuts) for name, cuts in BINS.items())
COLUMNS: tuple[str, ...] = (*BINS, *(name for name in NAMES if name.rpartition(":")[0] not in BINS))
"""What is known of a turn, an integer each: which of its bins a number is in, and 1 for what is there of the rest."""
COLUMN: tuple[int, ...] = tuple(COLUMNS.index(name if name in COLUMNS else name.rpartition(":")[0]) for name in NAMES)
"""The place in ``COLUMNS`` of each of ``NAMES``."""
LEVEL: tuple[int, ...] = tuple(1 if name in COLUMNS else int(name.rpartition(":")[2]) for name in NAMES)
"""The integer that each of ``NAMES`` stands for there."""
_VALUED = tuple((PLAIN[place], Features._fields.index(PLAIN[place])) for place in range(VALUED))
CHOICES = 3
"""Answers from which on they count as such."""

# A pattern that begins with a rare character is several times faster than one that begins with a common one.
_NUMBER = re.compile(r"[0-9]+")
_OPTION = re.compile(r"[.):](?<=[\s(][A-Ja-j].)[ ]")


def signs_of(reading: Reading) -> list[int]:
    """Places in ``NAMES`` of the signs that a turn shows: one of each number's, and what is there of the rest."""
    text, features, marks = reading.turn.text, reading.features, reading.marks
    counts, words = marks.counts, len(reading.words) or 1
    letters = marks.letters or 1
    options = [match.start() for match in _OPTION.finditer(f"\n{text}")]
    numbers = (
        len(text),
        len(reading.words),
        letters / words,
        marks.sentences,
        marks.numbers,
        counts[ASKS] + counts[WIDE_ASKS],
        counts[COMMA],
        counts[LINE] + 1,
        reading.items,
        len(options),
        features.maths,
        features.constraints,
        features.code,
        counts[QUOTE],
        counts[BRACKET],
        counts[CAPITAL] / letters,
        marks.names,
        marks.titles / words,
        len(reading.distinct) / words,
        letters / (len(text) or 1),
        counts[DIGIT],
        marks.longest,
        counts[OPERATOR],
        counts[BACKSLASH],
        counts[APOSTROPHE],
        *_choice(text, options),
        reading.turn.number,
        reading.turn.before,
    )
    found = [first + bisect_right(cuts, value) for (first, cuts), value in zip(_CUTS, numbers, strict=True)]
    found += [ASKS_FIRST + place for place in concepts_in(reading.distinct, reading.lower, reading.beyond)]
    found += [PLACE[name] for name in _plain(text, features, counts)]
    return found


def _choice(text: str, options: Sequence[int]) -> tuple[float, float, float, float]:
    """Characters and numbers of what is asked, characters of an answer to it, the share of letters in the answers."""
    if len(options) < CHOICES:
        return 0, 0, 0, 0
    first = max(0, options[0] - 1)
    answers = text[first:]
    letters = sum(map(str.isalpha, answers)) / len(answers)
    return options[0], len(_NUMBER.findall(text, 0, first)), len(answers) / len(options), letters


def _plain(text: str, features: Features, counts: Sequence[int]) -> Iterator[str]:
    yield from (name for name, place in _VALUED if features[place] > 0)
    if counts[DOLLAR] or counts[BACKSLASH]:
        yield "latex"
    end = text.rstrip()[-1:]
    yield "end:question" if end in "?？؟" and end else "end:stop" if end in ".。!।！" and end else "end:else"
    if text[:1].islower():
        yield "start:lower"
    if counts[EAST]:
        yield "script:east"
    elif counts[CYRILLIC]:
        yield "script:cyrillic"
    else:
        yield "script:other" if counts[OTHER] else "script:latin"
    if features.foreign:
        yield "foreign"
