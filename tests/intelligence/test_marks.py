"""What is counted on whole arrays is what a search for each would find."""

import re

from hypothesis import given
from hypothesis import strategies as st

from lumni.intelligence import vocabulary
from lumni.intelligence.features import look
from lumni.intelligence.kinds import ASKS, CAPITAL, COMMA, DIGIT, LINE, WIDE_ASKS
from lumni.intelligence.marks import marks, split
from lumni.intelligence.thread import Turn

texts = st.text(st.sampled_from("abZ Q09.,?!\n'\"([$\\=éжग漢한。？、√\U0001f600\ud800"), max_size=60)


@given(texts)
def test_marks_are_what_searches_find(text: str) -> None:
    """001-18: the signs that the classifier weighs mean what their names say."""
    found, numbers = marks(text), re.findall(r"[0-9]+", text)
    assert (found.numbers, found.longest) == (len(numbers), max(map(len, numbers), default=0))
    assert found.names == len(re.findall(r"[A-Z](?<=[a-z,、，] .)[a-z]", text))
    assert found.titles == len(re.findall(r"(?<![a-zA-Z0-9])[A-Z]", text))
    assert found.sentences == len(re.findall(r"[.?!](?=[ \n])|[。！।？؟]", text))
    assert found.counts[ASKS] + found.counts[WIDE_ASKS] == len(re.findall(r"[?？]", text))
    assert found.counts[COMMA] == len(re.findall(r"[,、]", text))
    assert found.counts[LINE] == text.count("\n")
    assert found.counts[CAPITAL] == len(re.findall(r"[A-Z]", text))
    assert found.counts[DIGIT] == sum(map(len, numbers))
    assert found.letters == sum(map(str.isalpha, text))


@given(texts)
def test_words_and_what_lies_beyond_are_what_searches_find(text: str) -> None:
    lower = text.lower()
    assert split(lower) == (re.findall(r"[^\W\d_]+", lower), " ".join(re.findall(r"[^\x00-\x7f]+", lower)))


@given(st.lists(st.sampled_from([*vocabulary.PLAN_PHRASES, *vocabulary.SIMPLE_PHRASES, "and", "x"]), max_size=5))
def test_phrases_are_found_wherever_they_stand(parts: list[str]) -> None:
    lower = " ".join(parts)
    reading = look(Turn(lower, len(lower)), {})
    found = vocabulary.phrases_in(reading.distinct, lower, reading.beyond)
    expected = [kind for kind, phrases in vocabulary.PHRASES.items() for phrase in phrases if phrase in lower]
    assert sorted(found) == sorted(expected)
