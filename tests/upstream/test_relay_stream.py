"""Chunks that differ in their text alone go on without being read one by one: nobody must be able to tell."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni import sse
from lumni.types import ChatRequest, Json
from lumni.upstream.failures import AttemptFailed
from lumni.upstream.relay_stream import RelayStream
from tests.upstream.wire import delta, deployment


def said(text: str | None, index: int = 0, **more: Any) -> Json:
    return {**delta(), "choices": [{"index": index, "delta": {"content": text, **more}, "finish_reason": None}]}


TEXTS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(
        ['"},"finish_reason":"stop"', "\n\ndata: ", "[DONE]", '{"a": 1}', "c", "id", "\\", '\\"', "\u2028"]
    ),
)
CHUNKS = st.one_of(
    TEXTS.map(said),
    TEXTS.map(said),
    TEXTS.map(said),
    st.builds(said, TEXTS, st.just(1)),
    st.builds(said, TEXTS, reasoning_content=TEXTS),
    st.builds(said, st.sampled_from(["", None]), role=st.just("assistant")),
    TEXTS.map(lambda text: {**said(text), "id": "another"}),
    TEXTS.map(lambda text: {**said(text), "usage": {"prompt_tokens": len(text), "completion_tokens": 1}}),
    TEXTS.map(lambda text: {**said(text), "choices": [*said(text)["choices"], *said("x", 1)["choices"]]}),
    st.just({**delta(), "choices": []}),
    st.just(delta(finish="length")),
)
HALF = 'data: {"id": "c", "created": 1, "choices": [{"index": 0, "delta": {"content": "\\ud83d"}}]}\n\n'
ODD = [": keep alive\n\n", "event: message\n", "\n", HALF]


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """What a provider may write, compactly or not, with any line ends."""
    gaps = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    written = "".join(
        draw(st.sampled_from(["", "", "", "", *ODD]))
        + f"data: {json.dumps(chunk, separators=gaps, ensure_ascii=draw(st.booleans()))}\n\n"
        for chunk in [said("one"), said("two"), *draw(st.lists(CHUNKS, max_size=12)), delta(finish="stop")]
    )
    return (written + "data: [DONE]\n\n").replace("\n", draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))).encode()


class Pieces:
    """A connection that brings these, one after the other."""

    def __init__(self, text: bytes, cuts: Sequence[int]) -> None:
        self.headers: dict[str, str] = {}
        places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
        self._left = [text[start:end] for start, end in pairwise(places)]

    async def more(self, due: float = 0.0) -> bytes:
        return self._left.pop(0) if self._left else b""


async def heard(text: bytes, cuts: Sequence[int], *, one_by_one: bool = False) -> tuple[list[Json], Any]:
    """The chunks, and what else is known of the stream at its end."""
    request = ChatRequest("r", {"messages": []}, "m", datetime.now(UTC), 0.0, 9.0, stream=True)
    stream = RelayStream(request, deployment("a", ""), Pieces(text, cuts), 9.0)  # type: ignore[arg-type]
    if one_by_one:
        stream._guesses = 0
    await stream.commit()
    chunks, failure = list[Json](), None
    try:
        async for events in stream:
            chunks += sse.chunks_in(events)
    except AttemptFailed as failed:
        failure = failed.failure
    texts = {index: spoken.text for index, spoken in stream.shaper.spoken.items()}
    return chunks, (failure, stream.closing, stream.usage_body, stream.finish_reason, texts)


@given(streams(), st.lists(st.integers(0, 10_000), max_size=8))
async def test_chunks_read_together_say_what_each_of_them_says(text: bytes, cuts: list[int]) -> None:
    """004-07: wherever the network cuts, and whatever comes in between."""
    assert await heard(text, cuts) == await heard(text, [], one_by_one=True)


@pytest.mark.parametrize("spoilt", ['{"index":', '"x"', "null", '"a","b"', "", '"a', "1", '"a"]},"b":[{"c":"d"'])
async def test_what_is_no_single_text_is_not_taken_for_one(spoilt: str) -> None:
    """A chunk that is not JSON breaks the stream off; one that is says what it says."""
    chunk = json.dumps(said("MARK"))
    words = ["one", "two", "three"]
    events = [chunk.replace("MARK", word) for word in words]
    events += [chunk.replace('"MARK"', spoilt), json.dumps(delta(finish="stop")), "[DONE]"]
    text = "".join(f"data: {event}\n\n" for event in events).encode()
    together, apart = await heard(text, []), await heard(text, [], one_by_one=True)
    assert together == apart
    assert [chunk["choices"][0]["delta"].get("content") for chunk in together[0][1:4]] == words
