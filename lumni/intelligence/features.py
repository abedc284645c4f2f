"""Structural signs of a hard or an easy task, each in [0, 1], found in one bounded look at the conversation.

Every regular expression is linear in the text: none has nested or adjacent unbounded repeats.
"""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any, NamedTuple

from lumni.intelligence import vocabulary
from lumni.intelligence.thread import Turn, mappings

_WORD = re.compile(r"[^\W\d_]+")
_BEYOND = re.compile(r"[^\x00-\x7f]+")
_NO_LETTERS = {code: " " for code in range(128) if not chr(code).isalpha()}
_LATEX = re.compile(r"\\[a-zA-Z]+")
_MATHS_SIGN = re.compile(r"[√∛∑∏∫∮∂∇∞≤≥≠≈≡±×÷∈∉∀∃⊂⊆∪∩→⇒⇔∝∠°²³⁴ⁿπθλμσωφΔΣΩαβγ^]")
_FORMULA = re.compile(r"[=<>+*/^-](?<=[\w) ].)[ ]?[\w(]")
_OPTION = re.compile(r"^[ ]{0,4}\(?[A-Ja-j][.):][ ]", re.MULTILINE)
_ITEM = re.compile(r"^[ ]{0,4}(?:\d{1,2}[.)]|[-*•])[ ]", re.MULTILINE)
_CODE_LINE = re.compile(
    r"^[ \t]{0,40}(?:def |class |import |from \w|return\b|for \(|for \w{1,20} in |while |if \(|#include|public |const "
    r"|let |var |fn |func |SELECT |Traceback|assert |print\()",
    re.MULTILINE,
)
_NON_LATIN = re.compile(r"[^\W\d_a-zA-Z\u0370-\u03ff]")

ASKED_FIRST, ASKED_LAST = 40, 30
"""Words at the start and at the end of the prose among which an instruction is looked for."""


SHORT_GREETING = 8
"""Words of the longest bare greeting."""


class Features(NamedTuple):
    """Signs in [0, 1]; ``foreign`` says that the text is probably not English."""

    proof: float = 0.0
    plan: float = 0.0
    debug: float = 0.0
    write_code: float = 0.0
    intricate_code: float = 0.0
    code: float = 0.0
    maths: float = 0.0
    choices: float = 0.0
    constraints: float = 0.0
    steps: float = 0.0
    tools: float = 0.0
    attachments: float = 0.0
    effort: float = 0.0
    ease: float = 0.0
    greeting: float = 0.0
    simple: float = 0.0
    foreign: bool = False


class Reading(NamedTuple):
    """A turn taken apart once, for everybody who looks at it. ``lower`` and ``words`` leave out fenced code.

    ``beyond`` is what of ``lower`` isn't ASCII, a space for each gap.
    """

    turn: Turn
    prose: str
    lower: str
    words: tuple[str, ...]
    distinct: frozenset[str]
    beyond: str
    features: Features


def look(turn: Turn, body: Mapping[str, Any]) -> Reading:
    """``turn`` and its features. Never raises."""
    prose = " ".join(turn.text.split("```")[::2]) if "```" in turn.text else turn.text
    lower = prose.lower()
    words = tuple(lower.translate(_NO_LETTERS).split() if lower.isascii() else _WORD.findall(lower))
    distinct = frozenset(words)
    beyond = "" if lower.isascii() else " ".join(_BEYOND.findall(lower))
    features = _features(turn, body, prose, lower, words, distinct, beyond)
    return Reading(turn, prose, lower, words, distinct, beyond, features)


def _features(
    turn: Turn,
    body: Mapping[str, Any],
    prose: str,
    lower: str,
    words: tuple[str, ...],
    everything: frozenset[str],
    beyond: str,
) -> Features:
    text = turn.text
    code = _code(text)
    asked = frozenset(words[:ASKED_FIRST] + words[-ASKED_LAST:])
    maths = _maths(prose, everything)
    steps = _count(_ITEM, text, 8) + 2 * max(0, prose.count("?") - 1) + len(vocabulary.SEQUENCE & everything)
    constraints = len(vocabulary.CONSTRAINTS & everything) + _phrases(vocabulary.CONSTRAINT_PHRASES, lower)
    writes_code = not (vocabulary.MAKE.isdisjoint(asked) or vocabulary.CODE_NOUNS.isdisjoint(asked))
    simple = _simple(words, asked, lower)
    effort = body.get("reasoning_effort")
    return Features(
        proof=_asks(vocabulary.PROOF, vocabulary.PROOF_PHRASES, asked, lower),
        plan=_asks(vocabulary.PLAN, vocabulary.PLAN_PHRASES, asked, lower),
        debug=max(
            _asks(vocabulary.DEBUG, vocabulary.DEBUG_PHRASES, asked, lower),
            float(code > 0 and not asked.isdisjoint({"fix", "error", "wrong", "fails", "why"})),
        ),
        write_code=float(writes_code),
        intricate_code=float(writes_code and not vocabulary.INTRICATE_CODE.isdisjoint(everything)),
        code=code,
        maths=maths,
        choices=float(_count(_OPTION, text, 3) >= 3),
        constraints=min(1.0, constraints / 4),
        steps=min(1.0, steps / 6),
        tools=float(any(True for _ in mappings(body.get("tools")))),
        attachments=min(1.0, turn.attachments / 2),
        effort=float(effort in ("high", "xhigh")),
        ease=float(effort in ("none", "minimal", "low")),
        greeting=0.0 if simple else _greeting(words, lower),
        simple=simple,
        foreign=_foreign(words, everything, beyond),
    )


def _count(pattern: re.Pattern[str], text: str, most: int) -> int:
    """Matches of ``pattern``, counted up to ``most``."""
    return len(list(islice(pattern.finditer(text), most)))


def _phrases(phrases: tuple[str, ...], lower: str) -> int:
    return sum(phrase in lower for phrase in phrases)


def _asks(words: frozenset[str], phrases: tuple[str, ...], asked: frozenset[str], lower: str) -> float:
    return float(not words.isdisjoint(asked) or any(phrase in lower for phrase in phrases))


def _code(text: str) -> float:
    lines = _count(_CODE_LINE, text, 3)
    return 1.0 if "```" in text or lines >= 3 else lines / 3


def _maths(prose: str, words: frozenset[str]) -> float:
    signs = _count(_LATEX, prose, 6) + _count(_MATHS_SIGN, prose, 6) + _count(_FORMULA, prose, 6) / 2
    return min(1.0, (signs + 1.5 * len(vocabulary.MATHS & words)) / 6)


def _simple(words: tuple[str, ...], asked: frozenset[str], lower: str) -> float:
    if not vocabulary.SIMPLE_START.isdisjoint(words[:3]):
        return 1.0
    return _asks(vocabulary.SIMPLE, vocabulary.SIMPLE_PHRASES, asked, lower)


def _greeting(words: tuple[str, ...], lower: str) -> float:
    """1 for a bare greeting; politeness before a real question counts for little."""
    if len(words) > SHORT_GREETING:
        return 0.0
    greets = not vocabulary.GREETING.isdisjoint(words) or any(phrase in lower for phrase in vocabulary.GREETING_PHRASES)
    return float(greets)


def _foreign(words: tuple[str, ...], distinct: frozenset[str], beyond: str) -> bool:
    if beyond and 3 * len(_NON_LATIN.findall(beyond)) > sum(map(len, words)):
        return True
    return len(distinct & vocabulary.FOREIGN) > len(distinct & vocabulary.ENGLISH)
