"""Which kind of ability a request asks for, and so which column of the table of scores counts."""

from lumni.catalogue.scores import Domain
from lumni.intelligence.features import Reading
from lumni.intelligence.needs import Needs

LONG_PROMPT = 16_000
"""Tokens from which on finding one's way in the text is taken to be harder than what is asked: a judgement."""

_DATA = frozenset(
    {"csv", "dataframe", "dataset", "datasets", "excel", "histogram", "outlier", "outliers", "pandas", "spreadsheet"}
)


def domain_of(subject: Domain, needs: Needs) -> Domain:
    """The domain of a request whose last user turn is about ``subject``. Pure and never raises.

    What a model must be able to take in decides first (images, long prompts, tools), then the subject.
    """
    if needs.vision:
        return "vision"
    if needs.prompt_tokens >= LONG_PROMPT:
        return "long_context"
    return "tool_use" if needs.tools else subject


def subject_of(reading: Reading) -> Domain:
    """What a turn is about. Plain questions count as language when a definition, translation or summary is asked for,
    else as reasoning."""
    signs = reading.features
    code = max(signs.code, signs.write_code, signs.debug * signs.code, signs.intricate_code)
    if code > 0 and code >= signs.maths:
        return "coding"
    if not reading.distinct.isdisjoint(_DATA):
        return "data_analysis"
    if signs.maths > 0 or signs.proof > 0:
        return "maths"
    if signs.constraints >= 0.5:
        return "instruction_following"
    return "language" if signs.simple > 0 or signs.greeting > 0 else "reasoning"
