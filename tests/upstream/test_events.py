"""Server-sent events come out whole, however the network cuts them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni.upstream.events import LARGEST, EventReader, Mould, TooLong

DATA = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1, max_size=20).map(
    lambda text: "{" + text
)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[str], bytes]:
    """The data of some events, and how a server may write them."""
    said, written = draw(st.lists(DATA, max_size=6)), ""
    for data in said:
        end = draw(ENDS)
        before = draw(st.sampled_from(["", ": keep alive", "event: message", "id: 7", ": comment\n\n: and another"]))
        written += before.replace("\n", end) + end if before else ""
        written += f"data:{draw(st.sampled_from([' ', '']))}{data}{end}{end}"
    return said, written.encode()


def read(text: bytes, cuts: list[int]) -> list[str]:
    reader = EventReader()
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    found: list[bytes] = []
    for start, end in pairwise(places):
        reader.feed(text[start:end])
        found += reader.take()
    reader.end()
    return [data.decode() for data in [*found, *reader.take()]]


@given(streams(), st.lists(st.integers(0, 10_000), max_size=8))
def test_no_cut_splits_or_merges_events(stream: tuple[list[str], bytes], cuts: list[int]) -> None:
    """004-07: a packet's end is no event's end, inside a character or a line end neither."""
    said, text = stream
    assert [one.strip() for one in read(text, cuts)] == [one.strip() for one in said]


def test_data_of_several_lines_is_joined() -> None:
    """As the standard has it, unless each line is JSON of its own: then the server forgot the empty line."""
    assert read(b'data: {"a":\ndata: 1}\n\n', []) == ['{"a":\n1}']
    assert read(b'data: {"a": 1}\ndata: {"b": 2}\ndata: [DONE]\n\n', []) == ['{"a": 1}', '{"b": 2}', "[DONE]"]


def test_a_mark_at_the_begin_and_an_event_of_nothing_are_no_data() -> None:
    """As the standard has it: the first event isn't lost, and the empty one breaks nothing off."""
    for cuts in ([], list(range(30))):
        assert read(b"\xef\xbb\xbfdata: {}\n\ndata: \n\ndata:\n\ndata: {1\n\n", cuts) == ["{}", "{1"]


def test_a_last_event_needs_no_empty_line() -> None:
    reader = EventReader()
    reader.feed(b"data: [DONE]")
    assert list(reader.take()) == []
    for rest in ([b"[DONE]"], []):
        reader.end()
        assert list(reader.take()) == rest


def test_an_event_without_an_end_is_not_kept_for_ever() -> None:
    reader = EventReader()
    reader.feed(b"x" * LARGEST)
    assert list(reader.take()) == []
    with pytest.raises(TooLong):
        reader.feed(b"x")


@pytest.mark.parametrize(
    ("said", "instead"), [(b'"index":0', b'"index":1'), (b":null", b":true"), (b'"delta"', b'"Delta"')]
)
def test_a_chunk_that_is_as_long_but_says_something_else_is_not_taken_for_its_text(said: bytes, instead: bytes) -> None:
    """Between chunks that differ in their text alone, one of another choice or with an end to it is seen."""
    before, after = b'{"choices":[{"index":0,"delta":{"content":', b'},"finish_reason":null}]}'
    mould, plain = Mould(before, after), b"data: " + before + b'"one"' + after + b"\n\n"
    assert mould.texts_in(plain * 3) == (["one"] * 3, [b'"one"'] * 3)
    other = plain.replace(said, instead)
    assert len(other) == len(plain)
    assert other != plain
    assert mould.texts_in(plain + other + plain) == ([], [])
