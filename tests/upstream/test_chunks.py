"""Streams in OpenAI's shape, however the provider cut them."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni import sse
from lumni.types import ChatRequest, Json
from lumni.upstream.chunks import ChunkShaper
from lumni.upstream.splice import Diverged, Splice
from lumni.upstream.stream import estimate

NULLS = {"refusal": None, "function_call": None, "tool_calls": None, "audio": None, "provider_specific_fields": None}


def chunk(index: int, **delta: Any) -> Json:
    """As LiteLLM dumps one: full of nulls."""
    choice = {"index": index, "delta": {"role": None, "content": None, **NULLS, **delta}, "finish_reason": None}
    return {"id": "x", "created": 1, "model": "m", "choices": [{**choice, "logprobs": None}]}


def pieces(draw: st.DrawFn, text: str) -> list[str]:
    """``text`` cut somewhere, with empty pieces here and there."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=5)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@st.composite
def answers(draw: st.DrawFn) -> dict[int, tuple[str, list[tuple[str, str]]]]:
    """What each choice says: text, and tool calls with name and arguments."""
    calls = st.lists(st.tuples(st.sampled_from(["f", "g"]), st.text(max_size=12)), max_size=3)
    return {index: (draw(st.text(max_size=30)), draw(calls)) for index in range(draw(st.integers(1, 3)))}


@st.composite
def streams(
    draw: st.DrawFn, answer: dict[int, tuple[str, list[tuple[str, str]]]], same_index: bool = False
) -> list[Json]:
    """``answer`` as LiteLLM's chunks, cut anywhere. With ``same_index`` every parallel call claims index 0."""
    out = []
    for index, (text, calls) in answer.items():
        out.append(chunk(index, role="assistant"))
        out += [
            chunk(index, content=piece, role=draw(st.sampled_from([None, "assistant"]))) for piece in pieces(draw, text)
        ]
        for number, (name, arguments) in enumerate(calls):
            claimed = 0 if same_index else number
            first, *rest = pieces(draw, arguments)
            head = {"index": claimed, "id": f"id{index}-{number}", "function": {"name": name, "arguments": first}}
            out.append(chunk(index, tool_calls=[head]))
            for piece in rest:
                later = {"index": claimed, "id": None, "function": {"name": None, "arguments": piece}}
                out.append(chunk(index, tool_calls=[later]))
    return out


def shaped(stream: list[Json], choices: int) -> list[Json]:
    shaper = ChunkShaper()
    out = [made for one in stream for made in shaper.feed(one)]
    return [*out, *shaper.finish(dict.fromkeys(range(choices), "stop"))]


def joined(chunks: list[Json]) -> dict[int, tuple[str, list[tuple[str, str]]]]:
    text: dict[int, str] = {}
    calls: dict[int, dict[int, list[str]]] = {}
    for one in chunks:
        for choice in one["choices"]:
            index, delta = choice["index"], choice["delta"]
            text[index] = text.get(index, "") + (delta.get("content") or "")
            for call in delta.get("tool_calls") or ():
                known = calls.setdefault(index, {})
                if "id" in call:
                    assert call["index"] not in known, "an index names one call"
                    known[call["index"]] = [call["function"]["name"], ""]
                known[call["index"]][1] += call["function"]["arguments"]
    return {i: (text[i], [(name, args) for name, args in calls.get(i, {}).values()]) for i in sorted(text)}


@given(st.data(), st.booleans())
def test_any_cut_of_an_answer_gives_a_well_formed_stream(data: st.DataObject, same_index: bool) -> None:
    """004-07: role first, everything said once, exactly one finish per choice and nothing after it."""
    answer = data.draw(answers())
    chunks = shaped(data.draw(streams(answer, same_index)), len(answer))
    assert joined(chunks) == answer
    started: set[int] = set()
    finished: Counter[int] = Counter()
    for one in chunks:
        choice = one["choices"][0]
        index = choice["index"]
        assert index not in finished
        assert (choice["delta"].get("role") == "assistant") is (index not in started)
        started.add(index)
        assert all(value is not None for name, value in choice["delta"].items() if name != "refusal")
        finished.update([index] if choice["finish_reason"] else [])
    assert finished == Counter(range(len(answer)))


def cut_and_repeat(first: list[Json], second: list[Json], at: int) -> tuple[list[Json], list[Json]]:
    """What the client got before the cut, and what the splice adds. Raises ``Diverged``."""
    shaper, repeated = ChunkShaper(), ChunkShaper()
    before = [made for one in first[:at] for made in shaper.feed(one)]
    splice = Splice(shaper.spoken)
    after = []
    for one in second:
        for made in repeated.feed(one):
            for rest in splice.feed(made):
                after += list(shaper.feed(rest))
    splice.finish()
    return before, after


@given(st.data())
def test_a_repeated_answer_is_joined_without_a_seam(data: st.DataObject) -> None:
    """Whatever the two ways to cut the same answer, nothing is missing and nothing is said twice."""
    answer = data.draw(answers())
    first, second = data.draw(streams(answer)), data.draw(streams(answer))
    before, after = cut_and_repeat(first, second, data.draw(st.integers(1, len(first))))
    said = {index: value for index, value in answer.items() if value[0] or value[1]}
    assert {i: v for i, v in joined(before + after).items() if v[0] or v[1]} == said


@given(st.data(), st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_another_answer_is_never_joined(data: st.DataObject, said: str, other: str) -> None:
    """Joined only if the second answer begins with all that the client has."""
    first, second = data.draw(streams({0: (said, [])})), data.draw(streams({0: (other, [])}))
    if other.startswith(said):
        before, after = cut_and_repeat(first, second, len(first))
        assert joined(before + after)[0][0] == other
    else:
        with pytest.raises(Diverged):
            cut_and_repeat(first, second, len(first))


@given(st.data(), st.sampled_from("fg"), st.text(max_size=10), st.sampled_from("fg"), st.text(max_size=10))
def test_another_tool_call_is_never_joined(
    data: st.DataObject, name: str, arguments: str, other_name: str, other: str
) -> None:
    first = data.draw(streams({0: ("", [(name, arguments)])}))
    second = data.draw(streams({0: ("", [(other_name, other)])}))
    if name == other_name and other.startswith(arguments):
        before, after = cut_and_repeat(first, second, len(first))
        assert joined(before + after)[0][1] == [(name, other)]
    else:
        with pytest.raises(Diverged):
            cut_and_repeat(first, second, len(first))


def test_a_repetition_that_says_less_is_not_joined() -> None:
    first = [chunk(0, tool_calls=[{"index": 0, "id": "i", "function": {"name": "f", "arguments": ""}}])]
    with pytest.raises(Diverged):
        cut_and_repeat(first, [chunk(0, content="no tool")], 1)


def test_a_stream_without_a_count_is_estimated() -> None:
    """What a cut stream cost is estimated from its characters, four a token, and pictures aren't characters."""
    shaper = ChunkShaper()
    list(shaper.feed(chunk(0, content="x" * 400)))
    body: Json = {"messages": [{"role": "user", "content": "data:image/png;base64," + "A" * 10_000}]}
    request = ChatRequest("r", body, "auto", datetime.now(UTC), received=0.0, deadline=1.0)
    usage = estimate(request, shaper)
    assert usage["completion_tokens"] == 100
    assert 0 < usage["prompt_tokens"] < 20
    assert usage["total_tokens"] == usage["prompt_tokens"] + 100


@given(st.data(), st.booleans(), st.booleans())
def test_the_short_way_says_the_same(data: st.DataObject, usage_asked: bool, same_index: bool) -> None:
    """004-07: chunks that only bring text are written without being built, byte for byte as the others are."""
    stream = data.draw(streams(data.draw(answers()), same_index))
    short, long = ChunkShaper(usage_asked=usage_asked), ChunkShaper(usage_asked=usage_asked)
    for one in stream:
        assert short.events(one) == b"".join(sse.event(made) for made in long.feed(one))
    assert {i: spoken.text for i, spoken in short.spoken.items()} == {i: s.text for i, s in long.spoken.items()}
