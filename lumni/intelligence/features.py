"""Structural signs of a hard or an easy task, each in [0, 1], found in one bounded look at the conversation.

Every regular expression is linear in the text: none has nested or adjacent unbounded repeats.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from lumni.intelligence import vocabulary
from lumni.intelligence.thread import Turn, mappings

if TYPE_CHECKING:
    from lumni.intelligence.marks import Marks

_NO_LETTERS = {code: " " for code in range(128) if not chr(code).isalpha()}
_LATEX = re.compile(r"\\[a-zA-Z]+")
_FORMULA = re.compile(r"[=<>+*/^-](?<=[\w) ].)[ ]?[\w(]")
_LINE = re.compile(
    r"^[ \t]{0,40}(?:((?:\d{1,2}[.)]|[-*•])[ ])|(\(?[A-Ja-j][.):][ ])|(?:def |class |import |from \w|return\b|for \(|"
    r"for \w{1,20} in |while |if \(|#include|public |const |let |var |fn |func |SELECT |Traceback|assert |print\())",
    re.MULTILINE,
)
"""A line that begins as a point of a list does (the first group), as an answer to choose (the second), or as code."""
_ITEM, _CHOICE, _CODE = 1, 2, None

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

    ``beyond`` is what of ``lower`` isn't ASCII, a space for each gap; ``items`` are the points of lists.
    """

    turn: Turn
    prose: str
    lower: str
    words: Sequence[str]
    distinct: frozenset[str]
    beyond: str
    items: int
    marks: "Marks"
    features: Features


def look(turn: Turn, body: Mapping[str, Any]) -> Reading:
    """``turn`` and its features. Never raises."""
    # numpy takes a tenth of a second to import: not before it is needed.
    from lumni.intelligence.marks import marks, split

    text = turn.text
    prose = " ".join(text.split("```")[::2]) if "```" in text else text
    lower = prose.lower()
    words, beyond = (lower.translate(_NO_LETTERS).split(), "") if lower.isascii() else split(lower)
    distinct = frozenset(words)
    found = marks(text)
    lines = [line.lastindex for line in _LINE.finditer(text)]
    features = _features(turn, body, prose, lower, words, distinct, beyond, lines, found)
    return Reading(turn, prose, lower, words, distinct, beyond, lines.count(_ITEM), found, features)


def _features(
    turn: Turn,
    body: Mapping[str, Any],
    prose: str,
    lower: str,
    words: Sequence[str],
    everything: frozenset[str],
    beyond: str,
    lines: Sequence[int | None],
    marks: "Marks",
) -> Features:
    text = turn.text
    said = vocabulary.phrases_in(everything, lower, beyond)
    code = 1.0 if "```" in text else min(1.0, lines.count(_CODE) / 3)
    asked = frozenset(words[:ASKED_FIRST]).union(words[-ASKED_LAST:])
    maths = _maths(prose, everything, marks)
    steps = min(8, lines.count(_ITEM)) + 2 * max(0, prose.count("?") - 1) + len(vocabulary.SEQUENCE & everything)
    constraints = len(vocabulary.CONSTRAINTS & everything) + said.count("constraints")
    writes_code = not (vocabulary.MAKE.isdisjoint(asked) or vocabulary.CODE_NOUNS.isdisjoint(asked))
    simple = not vocabulary.SIMPLE_START.isdisjoint(words[:3]) or not vocabulary.SIMPLE.isdisjoint(asked)
    simple = simple or "simple" in said
    greets = len(words) <= SHORT_GREETING and (not vocabulary.GREETING.isdisjoint(words) or "greeting" in said)
    effort = body.get("reasoning_effort")
    return Features(
        proof=float(not vocabulary.PROOF.isdisjoint(asked) or "proof" in said),
        plan=float(not vocabulary.PLAN.isdisjoint(asked) or "plan" in said),
        debug=float(
            not vocabulary.DEBUG.isdisjoint(asked)
            or "debug" in said
            or (code > 0 and not asked.isdisjoint({"fix", "error", "wrong", "fails", "why"}))
        ),
        write_code=float(writes_code),
        intricate_code=float(writes_code and not vocabulary.INTRICATE_CODE.isdisjoint(everything)),
        code=code,
        maths=maths,
        choices=float(lines.count(_CHOICE) >= 3),
        constraints=min(1.0, constraints / 4),
        steps=min(1.0, steps / 6),
        tools=float(any(True for _ in mappings(body.get("tools")))),
        attachments=min(1.0, turn.attachments / 2),
        effort=float(effort in ("high", "xhigh")),
        ease=float(effort in ("none", "minimal", "low")),
        greeting=float(greets and not simple),
        simple=float(simple),
        foreign=_foreign(everything, marks),
    )


def _count(pattern: re.Pattern[str], text: str, most: int) -> int:
    """Matches of ``pattern``, counted up to ``most``."""
    return len(list(islice(pattern.finditer(text), most)))


def _maths(prose: str, words: frozenset[str], marks: "Marks") -> float:
    signs = min(6, marks.formal)
    if marks.backslashes:
        signs += _count(_LATEX, prose, 6)
    half = _count(_FORMULA, prose, 6) if marks.operators or marks.formal else 0
    return min(1.0, (signs + half / 2 + 1.5 * len(vocabulary.MATHS & words)) / 6)


def _foreign(distinct: frozenset[str], marks: "Marks") -> bool:
    if 3 * marks.non_latin > marks.letters:
        return True
    return len(distinct & vocabulary.FOREIGN) > len(distinct & vocabulary.ENGLISH)
