"""A whole answer as a stream and back: nothing is lost, whatever was said."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lumni import sse
from lumni.gateway.replay import assemble, events

USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
texts = st.text(max_size=200) | st.text(st.characters(), max_size=60) | st.text(" \n\tab", max_size=60)
tools = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.text(min_size=1, max_size=8),
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"name": st.text(max_size=8), "arguments": st.text(max_size=30)}),
        }
    ),
    min_size=1, max_size=3,
)  # fmt: skip


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant"}
    kind = draw(st.sampled_from(["text", "tools", "both", "refusal"]))
    message["content"] = draw(texts.filter(bool)) if kind in ("text", "both") else None
    if draw(st.booleans()):
        message["reasoning_content"] = draw(texts.filter(bool))
    message["refusal"] = draw(texts.filter(bool)) if kind == "refusal" else None
    if kind in ("tools", "both"):
        message["tool_calls"] = draw(tools)
    return message


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    said = draw(st.lists(messages(), min_size=1, max_size=3))
    logs = draw(st.sampled_from([None, {"content": [{"token": "a", "logprob": -1.0, "bytes": None}], "refusal": None}]))
    choices = [
        {
            "index": index,
            "message": message,
            "logprobs": logs if message["content"] else None,
            "finish_reason": draw(st.sampled_from(["stop", "length", "tool_calls"])),
        }
        for index, message in enumerate(said)
    ]
    more = {"system_fingerprint": "fp"} if draw(st.booleans()) else {}
    head = {"id": "c", "object": "chat.completion", "created": 5, "model": draw(st.text(min_size=1, max_size=5))}
    return {**head, **more, "choices": choices, "usage": USAGE}


@given(bodies(), st.booleans())
def test_what_is_replayed_can_be_put_together_again(body: dict[str, Any], usage_asked: bool) -> None:
    """003-14: every text, tool call, probability and finish, of every choice; one id; usage only where asked."""
    chunks = sse.chunks_in(events(body, {"lumni": {"cached": True}}, usage_asked=usage_asked))
    assert assemble(chunks, USAGE) == body
    assert {(chunk["id"], chunk["object"]) for chunk in chunks} == {("c", "chat.completion.chunk")}
    assert [chunk for chunk in chunks if "lumni" in chunk] == chunks[-1:]
    finishes = [c["index"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"]]
    assert finishes == list(range(len(body["choices"])))
    if usage_asked:
        assert (chunks[-1]["choices"], chunks[-1]["usage"]) == ([], USAGE)
        assert all(chunk["usage"] is None for chunk in chunks[:-1])
    else:
        assert not any("usage" in chunk for chunk in chunks)


@given(st.text(st.characters(exclude_categories=[]), min_size=1), st.text(min_size=1))
def test_texts_come_in_words_and_stay_what_they_were(text: str, other: str) -> None:
    """003-14: as a model streams them; half a surrogate pair and the mark itself included."""
    for said in (text, other, f"{text} \ue000 {other}", "word " * 100):
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        body = {"id": "c", "created": 1, "model": "m\ue000", "choices": [choice], "usage": USAGE}
        written = events(body, {}, usage_asked=False)
        chunks = [json.loads(one[6:]) for one in written.decode().split("\n\n") if one]
        assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks) == said
    assert len(chunks) == 101 + 2
