"""Which kind of ability a request asks for, and so which column of the table of scores counts."""

import re
from collections.abc import Mapping
from typing import Any

from lumni.catalogue.scores import Domain
from lumni.intelligence.features import Features, extract
from lumni.intelligence.needs import Needs
from lumni.intelligence.thread import read

LONG_PROMPT = 16_000
"""Tokens from which on finding one's way in the text is taken to be harder than what is asked: a judgement."""

_WORD = re.compile(r"[^\W\d_]+")
_DATA = frozenset(
    {"csv", "dataframe", "dataset", "datasets", "excel", "histogram", "outlier", "outliers", "pandas", "spreadsheet"}
)


def domain_of(body: Mapping[str, Any], needs: Needs) -> Domain:
    """The domain of OpenAI's chat ``body``. Pure and never raises.

    What a model must be able to take in decides first (images, long prompts, tools), then the subject. Plain questions
    count as language when a definition, translation or summary is asked for, else as reasoning.
    """
    if needs.vision:
        return "vision"
    if needs.prompt_tokens >= LONG_PROMPT:
        return "long_context"
    if needs.tools:
        return "tool_use"
    thread = read(body)
    return _subject(extract(thread, body), frozenset(_WORD.findall(thread.last.lower())))


def _subject(signs: Features, words: frozenset[str]) -> Domain:
    code = max(signs.code, signs.write_code, signs.debug * signs.code, signs.intricate_code)
    if code > 0 and code >= signs.maths:
        return "coding"
    if not words.isdisjoint(_DATA):
        return "data_analysis"
    if signs.maths > 0 or signs.proof > 0:
        return "maths"
    if signs.constraints >= 0.5:
        return "instruction_following"
    return "language" if signs.simple > 0 or signs.greeting > 0 else "reasoning"
