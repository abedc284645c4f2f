"""What the characters of a turn alone tell, counted on whole arrays: ten times faster than one search for each."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lumni.intelligence.kinds import (
    APOSTROPHE,
    ASKS,
    BACKSLASH,
    BRACKET,
    CAPITAL,
    COMMA,
    CRIES,
    CYRILLIC,
    DIGIT,
    DOLLAR,
    EAST,
    ELSE,
    GREEK,
    KINDS,
    LETTER,
    LINE,
    LOWER,
    MATHS,
    OPERATOR,
    OTHER,
    QUOTE,
    SPACE,
    STOP,
    WIDE_ASKS,
    WIDE_STOP,
)

_OF: tuple[tuple[int, str], ...] = (
    (STOP, "."),
    (ASKS, "?"),
    (CRIES, "!"),
    (WIDE_STOP, "。！।"),
    (WIDE_ASKS, "？؟"),
    (COMMA, ",、，"),
    (QUOTE, '"“«「'),
    (APOSTROPHE, "'’"),
    (BRACKET, "(["),
    (OPERATOR, "=+*/<>-"),
    (MATHS, "√∛∑∏∫∮∂∇∞≤≥≠≈≡±×÷∈∉∀∃⊂⊆∪∩→⇒⇔∝∠°²³⁴ⁿπθλμσωφΔΣΩαβγ^"),
    (DOLLAR, "$"),
    (BACKSLASH, "\\"),
)
_SCRIPTS = ((GREEK, 0x370, 0x3FF), (CYRILLIC, 0x400, 0x4FF), (OTHER, 0x590, 0xDFF))
_EAST = ((0x3040, 0x30FF), (0x3400, 0x9FFF), (0xAC00, 0xD7AF))
_LIMIT = 0xFFFF
_GAP = np.uint32(0x20)


class Marks(NamedTuple):
    """``counts`` of each of ``KINDS``, ``letters`` of all scripts, and what their neighbours tell.

    ``numbers`` are runs of digits, the longest of ``longest`` digits; ``sentences`` end before a space, or anywhere in
    scripts that set none; ``titles`` are words of ASCII with a capital, ``names`` those of them that begin no sentence.
    """

    counts: list[int]
    letters: int
    numbers: int
    longest: int
    sentences: int
    titles: int
    names: int

    @property
    def formal(self) -> int:
        """Signs that only formulas have."""
        return self.counts[MATHS]

    @property
    def operators(self) -> int:
        return self.counts[OPERATOR]

    @property
    def backslashes(self) -> int:
        return self.counts[BACKSLASH]

    @property
    def non_latin(self) -> int:
        """Letters that are neither ASCII nor Greek."""
        return self.counts[LETTER] + sum(self.counts[CYRILLIC : OTHER + 1])


@cache
def _kinds() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The kind of each character of the basic plane, and whether it is a letter."""
    kinds = np.full(_LIMIT + 1, ELSE, np.uint8)
    letters = np.fromiter((chr(code).isalpha() for code in range(_LIMIT + 1)), np.bool_, _LIMIT + 1)
    kinds[letters] = LETTER
    for kind, first, last in (*_SCRIPTS, *((EAST, *span) for span in _EAST)):
        kinds[first : last + 1] = np.where(letters[first : last + 1], kind, kinds[first : last + 1])
    for kind, characters in _OF:
        kinds[[ord(character) for character in characters]] = kind
    kinds[:0x21], kinds[0x0A] = SPACE, LINE
    for kind, begin, end in ((LOWER, "a", "z"), (CAPITAL, "A", "Z"), (DIGIT, "0", "9")):
        kinds[ord(begin) : ord(end) + 1] = kind
    return kinds, letters


def marks(text: str) -> Marks:
    """The marks of ``text``, in a few passes over its characters."""
    codes = np.frombuffer(f" {text} ".encode("utf-32-le", "surrogatepass"), np.uint32)
    table, _ = _kinds()
    kinds = table[np.minimum(codes, _LIMIT)]
    counts = np.bincount(kinds, minlength=KINDS).tolist()
    counts[SPACE] -= 2
    before, after = kinds[:-1], kinds[1:]
    numbers = longest = titles = names = 0
    if counts[DIGIT]:
        digit = kinds == DIGIT
        edges = np.flatnonzero(digit[1:] != digit[:-1])
        numbers, longest = len(edges) // 2, int((edges[1::2] - edges[::2]).max())
    ends = ((before[:-1] - np.uint8(STOP)) < 3) & (after[:-1] <= LINE)
    if counts[CAPITAL]:
        capital = after == CAPITAL
        title = capital & ((before < LOWER) | (before > DIGIT))
        titles = int(np.count_nonzero(title))
        inside = (before[1:-1] == SPACE) & ((kinds[:-3] == LOWER) | (kinds[:-3] == COMMA)) & (kinds[3:] == LOWER)
        names = int(np.count_nonzero(inside & capital[1:-1]))
    return Marks(
        counts=counts,
        letters=sum(counts[LOWER : CAPITAL + 1]) + sum(counts[LETTER : OTHER + 1]),
        numbers=numbers,
        longest=longest,
        sentences=int(np.count_nonzero(ends)) + counts[WIDE_STOP] + counts[WIDE_ASKS],
        titles=titles,
        names=names,
    )


def split(lower: str) -> tuple[list[str], str]:
    """The words of a text that isn't all ASCII, and what of it isn't, a space for each gap."""
    codes = np.frombuffer(lower.encode("utf-32-le", "surrogatepass"), np.uint32)
    _, letters = _kinds()
    words = _text(np.where(letters[np.minimum(codes, _LIMIT)], codes, _GAP)).split()
    return words, " ".join(_text(np.where(codes > 0x7F, codes, _GAP)).split())


def _text(codes: NDArray[np.uint32]) -> str:
    return codes.tobytes().decode("utf-32-le", "surrogatepass")
