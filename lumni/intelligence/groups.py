"""The named groups that the signs belong to, in words that a student understands: one factor of an answer each."""

from collections.abc import Mapping

from lumni.intelligence.signs import COLUMN, COLUMNS, NAMES

START = "the usual request"
"""The factor that every request begins with: the log-odds of an average one."""
WORDING = "its wording"
"""The factor of all n-grams together."""
THREAD = "an earlier turn was harder"
LONG_THREAD = "the conversation has become long"
TAUGHT = "what your class taught"
"""The factor of a course's calibration."""

GROUPS: Mapping[str, str] = {
    # By the sign's name up to its last colon, or by its whole name.
    "length": "its length",
    "words": "its length",
    "sentences": "its length",
    "lines": "its length",
    "letters": "the way it is written",
    "commas": "the way it is written",
    "quotes": "the way it is written",
    "brackets": "the way it is written",
    "capitals": "the way it is written",
    "names": "names of people, places or things",
    "titles": "names of people, places or things",
    "variety": "the way it is written",
    "lettered": "the way it is written",
    "apostrophes": "the way it is written",
    "digits": "its numbers",
    "longest": "its numbers",
    "operators": "its mathematics",
    "commands": "its mathematics",
    "question": "answers to choose from",
    "question_numbers": "its numbers",
    "answer": "answers to choose from",
    "answer_letters": "answers to choose from",
    "start": "the way it is written",
    "end": "the way it is written",
    "numbers": "its numbers",
    "questions": "how many questions it asks",
    "items": "its list of points",
    "steps": "how many steps it asks for",
    "options": "answers to choose from",
    "choices": "answers to choose from",
    "maths": "its mathematics",
    "latex": "its mathematics",
    "asks:algebra": "its mathematics",
    "asks:chance": "asks about chance",
    "constraints": "the conditions it sets",
    "asks:restrict": "the conditions it sets",
    "asks:suppose": "the conditions it sets",
    "asks:each": "asks about all cases",
    "asks:exists": "asks about all cases",
    "asks:extreme": "asks for the best or the least",
    "asks:search": "asks to search or construct",
    "asks:prove": "asks for a proof or a derivation",
    "asks:derive": "asks for a proof or a derivation",
    "proof": "asks for a proof or a derivation",
    "asks:compute": "asks to calculate",
    "asks:how_many": "asks to calculate",
    "asks:why": "asks why",
    "asks:explain": "asks for an explanation",
    "asks:compare": "asks to plan, compare or analyse",
    "asks:design": "asks to plan, compare or analyse",
    "asks:justify": "asks to plan, compare or analyse",
    "asks:steps": "how many steps it asks for",
    "plan": "asks to plan, compare or analyse",
    "code": "its code",
    "asks:code": "its code",
    "asks:write": "asks to write something",
    "asks:creative": "asks to write something",
    "write_code": "asks for code",
    "intricate_code": "asks for intricate code",
    "asks:concurrent": "asks for intricate code",
    "asks:complex": "asks for intricate code",
    "asks:fix": "asks to find a fault",
    "debug": "asks to find a fault",
    "asks:translate": "asks for a definition, translation or summary",
    "asks:summarise": "asks for a definition, translation or summary",
    "asks:rewrite": "asks for a definition, translation or summary",
    "asks:define": "asks for a definition, translation or summary",
    "simple": "asks for a definition, translation or summary",
    "asks:brief": "asks for a short answer",
    "asks:name": "asks for a fact",
    "asks:who": "asks for a fact",
    "asks:yes_no": "asks for a yes or no",
    "asks:meta": "is about a word",
    "asks:learn": "is about machine learning",
    "asks:greet": "is a greeting or thanks",
    "asks:thank": "is a greeting or thanks",
    "greeting": "is a greeting or thanks",
    "turns": "what was said before",
    "before": "what was said before",
    "tools": "offers tools to call",
    "attachments": "comes with attachments",
    "effort": "asks for a high reasoning effort",
    "ease": "asks for a low reasoning effort",
    "script": "its language",
    "foreign": "its language",
}


def group_of(sign: str) -> str:
    """The group of a sign, by its name."""
    return GROUPS[sign] if sign in GROUPS else GROUPS[sign.rpartition(":")[0]]


GROUP_OF: tuple[str, ...] = tuple(map(group_of, NAMES))
"""The group of each of ``NAMES``."""
NAMED: tuple[str, ...] = tuple(sorted(set(GROUP_OF)))
COLUMN_GROUP: tuple[int, ...] = tuple(NAMED.index(GROUP_OF[COLUMN.index(place)]) for place in range(len(COLUMNS)))
"""The group of each of ``COLUMNS``, as a place in ``NAMED``."""
