"""The relay lane: who takes it, and that a client can't tell it from the other one."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from lumni.errors import AllProvidersFailed, StreamInterrupted
from lumni.types import Outcome, Principal
from tests.upstream.wire import (
    HEAD,
    STREAM,
    Line,
    Wire,
    chunks_of,
    delta,
    deployment,
    events,
    line,
    refusal,
    whole,
    wire,
)

SPEAKERS = (
    "cerebras", "codestral", "deepseek", "fireworks_ai", "github", "groq", "hosted_vllm", "llamafile", "lm_studio",
    "mistral", "openai", "openrouter", "together_ai", "xai",
)  # fmt: skip
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
TOOL: Any = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
CALL: Any = {"id": "call-1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
COUNTED = {**delta(), "choices": [], "usage": USAGE}


def spoken(*deltas: dict[str, Any], finish: str = "stop") -> bytes:
    """A stream of these deltas, with its usage."""
    chunks = [{**delta(), "choices": [{"index": 0, "delta": one, "finish_reason": None}]} for one in deltas]
    return STREAM + events(*chunks, delta(finish=finish), COUNTED, done=True)


WHOLE = {
    "text": whole("hello", usage=USAGE, system_fingerprint="fp"),
    "tool call": whole(
        usage=USAGE,
        choices=[
            {
                "index": 0,
                "message": {"role": "assistant", "content": None, "tool_calls": [CALL]},
                "finish_reason": "tool_calls",
            }
        ],
    ),
    "two choices": whole(
        usage=USAGE,
        choices=[
            {"index": n, "message": {"role": "assistant", "content": f"c{n}"}, "finish_reason": "length"}
            for n in range(2)
        ],
    ),
}
STREAMS = {
    "text": spoken({"role": "assistant", "content": ""}, {"content": "one "}, {"content": "två"}),
    "no role": spoken({"content": "one "}, {"content": "two"}),
    "tool call": spoken(
        {"role": "assistant", "content": None},
        {"tool_calls": [{"index": 0, **CALL, "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a": '}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        finish="tool_calls",
    ),
}


def each_with(answers: dict[str, bytes]) -> list[tuple[str, str]]:
    """Text from everyone, the rest from three."""
    return [
        (who, said) for who in SPEAKERS for said in answers if said == "text" or who in ("groq", "mistral", "openai")
    ]


async def seen(provider: str, lane: str, script: bytes, *, stream: bool, **body: Any) -> tuple[Any, Any]:
    """What a client sees and what the provider is sent, over this lane."""
    async with wire([script]) as there, line(deployment("a", f"{there.base}/v1", provider, lane=lane)) as here:
        request = replace(here.request(stream=stream, **body), include_usage=True, metadata_in_body=False)
        reply = await here.pipeline.complete(request, Principal("k"))
        shown = reply.body or [chunk async for chunk in chunks_of(reply)]
        [record] = here.records
        carried = "relay" if lane == "auto" else lane
        assert (reply.headers["x-lumni-lane"], record.attempts[0].lane) == (carried, carried)
        assert (record.prompt_tokens, record.completion_tokens, record.usage_estimated) == (3, 4, False)
        return shown, there.asked[0]


def comparable(shown: Any) -> Any:
    """Without what LiteLLM makes up: a stream's time and its name for the model, and counts that the provider left."""
    for one in shown if isinstance(shown, list) else [shown]:
        one.update(created=0, model="")
        if one.get("usage"):
            one["usage"] = {name: one["usage"][name] for name in USAGE}
    return shown


@pytest.mark.parametrize(("provider", "said"), each_with(WHOLE))
async def test_a_client_sees_the_same_answer_over_both_lanes(provider: str, said: str) -> None:
    """Field by field, and the provider is sent the same."""
    more = {"tools": [TOOL]} if said == "tool call" else {}
    asked = {"temperature": 0.2, "max_tokens": 7, **more}
    relayed, sent = await seen(provider, "relay", WHOLE[said], stream=False, **asked)
    translated, sent_by_litellm = await seen(provider, "translated", WHOLE[said], stream=False, **asked)
    assert comparable(relayed) == comparable(translated)
    assert sent == sent_by_litellm


@pytest.mark.parametrize(("provider", "said"), each_with(STREAMS))
async def test_a_client_sees_the_same_stream_over_both_lanes(provider: str, said: str) -> None:
    """Chunk by chunk."""
    more = {"tools": [TOOL]} if said == "tool call" else {}
    relayed, sent = await seen(provider, "relay", STREAMS[said], stream=True, **more)
    translated, sent_by_litellm = await seen(provider, "translated", STREAMS[said], stream=True, **more)
    assert comparable(relayed) == comparable(translated)
    assert sent == sent_by_litellm


# Who takes it


async def lane_taken(here: Line, **body: Any) -> str:
    """As foretold, as the header says, and as it is on record: all the same."""
    request = here.request(**body)
    foretold = here.upstream.lane(request, here.catalogue.deployments[0])
    reply = await here.pipeline.complete(request, Principal("k"))
    taken = here.records[-1].attempts[0].lane
    assert reply.headers["x-lumni-lane"] == foretold == taken
    return foretold


UNCHANGED: dict[str, Any] = {
    "a system prompt": {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]},
    "limits": {"temperature": 0.5, "top_p": 0.9, "max_tokens": 3, "stop": ["x"]},
    "tools": {"tools": [TOOL], "tool_choice": "auto"},
    "a picture": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "t"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                ],
            }
        ]
    },
    "an unknown field": {"foo": {"bar": 1}},
}


@pytest.mark.parametrize("what", UNCHANGED)
async def test_what_litellm_would_send_as_it_is_is_relayed(what: str) -> None:
    async with wire() as there, line(deployment("a", f"{there.base}/v1")) as here:
        assert await lane_taken(here, **UNCHANGED[what]) == "relay"


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        ("mistral", {"seed": 1}),  # its random_seed
        ("mistral", {"tools": [TOOL], "tool_choice": "required"}),  # its any
        ("fireworks_ai", {"tools": [TOOL], "tool_choice": "required"}),
        ("openai", {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]}),
        ("openai", {"functions": [{"name": "f", "parameters": {}}]}),
    ],
)
async def test_what_litellm_would_change_is_translated(provider: str, body: Any) -> None:
    """The provider would refuse the request as it is, or understand another one."""
    async with wire() as there, line(deployment("a", f"{there.base}/v1", provider)) as here:
        assert await lane_taken(here, **body) == "translated"
        assert await lane_taken(here) == "relay", "this request is no reason against others"


async def test_a_deployment_with_options_of_litellm_s_own_is_translated() -> None:
    made = deployment("a", "http://127.0.0.1:9/v1")
    other = replace(made, params={**made.params, "temperature": 0.1})
    async with line(other) as here:
        assert here.upstream.lane(here.request(), other) == "translated"
    async with line(replace(other, lane="relay")) as here:
        assert here.upstream.lane(here.request(), here.catalogue.deployments[0]) == "relay", (
            "who forces it knows better"
        )


@pytest.mark.parametrize("provider", ["gemini", "anthropic", "ollama_chat", "cohere_chat"])
async def test_another_format_is_translated_whatever_is_wished(provider: str) -> None:
    wished = deployment("a", "http://127.0.0.1:9", provider, lane="relay")
    async with line(wished) as here:
        assert here.upstream.lane(here.request(), wished) == "translated"


async def test_a_lane_can_be_forced() -> None:
    async with wire() as there, line(deployment("a", f"{there.base}/v1", lane="translated")) as here:
        assert await lane_taken(here) == "translated"
    async with wire() as there, line(deployment("a", f"{there.base}/v1", "mistral", lane="relay")) as here:
        assert await lane_taken(here, seed=1) == "relay"
        assert there.asked[0]["seed"] == 1


@pytest.mark.parametrize("provider", SPEAKERS)
async def test_a_rehearsal_sends_nothing(provider: str) -> None:
    """LiteLLM alone writes the request; were it sent, every start would cost quota."""
    async with wire() as there, line(deployment("a", f"{there.base}/v1", provider)) as here:
        for stream in (False, True):
            here.upstream.lane(
                here.request(stream=stream, temperature=0.3, tools=[TOOL]), here.catalogue.deployments[0]
            )
        await asyncio.sleep(0.05)
        assert there.asked == []


# On the wire


@dataclass
class Lasting:
    """A provider that keeps its connections open."""

    connections: int = 0
    requests: int = 0
    base: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                body = json.loads(await reader.readexactly(int(head.split("content-length:")[1].split("\r\n")[0])))
                self.requests += 1
                writer.write(_lasting(STREAMS["text"] if body.get("stream") else WHOLE["text"]))
        except asyncio.IncompleteReadError:
            writer.close()


def _lasting(answer: bytes) -> bytes:
    head, body = answer.split(b"\r\n\r\n", 1)
    return head.replace(b"connection: close", b"content-length: %d" % len(body)) + b"\r\n\r\n" + body


@asynccontextmanager
async def lasting() -> AsyncIterator[Lasting]:
    made = Lasting()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield made
    finally:
        server.close()


async def test_a_connection_is_used_again_by_its_account_only() -> None:
    async with (
        lasting() as there,
        line(deployment("a", there.base, account="one"), deployment("b", there.base, group="b", account="two")) as here,
    ):
        for _ in range(3):
            await here.ask()
            await here.text()
        assert (there.requests, there.connections) == (6, 1)
        await here.ask(model="b")
        assert (there.requests, there.connections) == (7, 2)


async def test_a_redirect_takes_no_key_along() -> None:
    async with wire() as other:
        moved = (
            b"HTTP/1.1 307 X\r\nlocation: %s\r\ncontent-length: 0\r\nconnection: close\r\n\r\n" % other.base.encode()
        )
        async with wire([moved]) as there, line(deployment("a", there.base, lane="relay")) as here:
            with pytest.raises(AllProvidersFailed):
                await here.ask()
        assert other.asked == []


async def test_what_was_said_is_passed_on_before_the_next_comes() -> None:
    """Nothing waits for company."""
    async with (
        wire([STREAM, events(delta("one ")), events(delta("two ")), None], slowly=0.02) as there,
        line(deployment("a", there.base, lane="relay")) as here,
    ):
        reply = await here.ask(stream=True)
        texts = []
        async for chunk in chunks_of(reply):
            texts.append(chunk["choices"][0]["delta"]["content"])
            if texts == ["", "one ", "two "]:
                break
        assert reply.events is not None
        await reply.events.aclose()
        await there.until_left()


class Endless(Wire):
    """Speaks as fast as it is read; ``sent`` counts its bytes."""

    sent = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(STREAM)
        try:
            while True:
                piece = events(*[delta("word ")] * 100)
                writer.write(piece)
                await writer.drain()
                self.sent += len(piece)
        except ConnectionError:
            self.left += 1
        finally:
            writer.close()


async def test_a_client_that_reads_slowly_slows_the_provider() -> None:
    """What nobody reads yet isn't piled up here."""
    served = Endless()
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with line(deployment("a", base, lane="relay")) as here:
        reply = await here.ask(stream=True)
        before = -1
        async with asyncio.timeout(120):
            while served.sent != before:  # until it is stopped
                before = served.sent
                await asyncio.sleep(0.3)
        assert 0 < served.sent < 30_000_000
        assert reply.events is not None
        await reply.events.aclose()
        await served.until_left()
    server.close()


FAILED = {"error": {"code": 502, "message": "Provider returned error"}}


async def test_an_error_inside_an_answer_is_none() -> None:
    """OpenRouter tells some failures with status 200."""
    body = HEAD % (200, b"application/json") + json.dumps(FAILED).encode()
    for stream, script in ((False, body), (True, STREAM + events(FAILED))):
        async with (
            wire([script]) as one,
            wire([STREAM + events(delta("hello"), delta(finish="stop"), done=True)] if stream else [whole()]) as two,
            line(deployment("a", one.base, lane="relay"), deployment("b", two.base, priority=1)) as here,
        ):
            await here.text() if stream else await here.ask()
            [record] = here.records
            assert (record.attempts[0].outcome, record.attempts[0].status) == (Outcome.UNAVAILABLE, 502)
            assert record.deployment == "b"


@pytest.mark.parametrize("choices", [[], [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]])
async def test_an_error_inside_a_begun_stream_interrupts_it(choices: Any) -> None:
    script = STREAM + events(delta("one "), {**delta(), **FAILED, "choices": choices})
    async with wire([script]) as there, line(deployment("a", there.base, lane="relay")) as here:
        with pytest.raises(StreamInterrupted, match="Provider returned error"):
            await here.text()


@pytest.mark.parametrize("lost", [b"", b'data: {"id": "c", "choi'])
async def test_a_whole_answer_survives_the_end_of_its_connection(lost: bytes) -> None:
    """After the finish reason nothing was missing but the goodbye."""
    begun = b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ncontent-length: 100000\r\n\r\n"
    script = begun + events(delta("one "), delta("two"), delta(finish="stop")) + lost
    async with wire([script]) as there, line(deployment("a", there.base, lane="relay")) as here:
        assert await here.text() == "one two"
        assert len(there.asked) == 1
        assert here.records[0].usage_estimated


async def test_a_usage_without_choices_and_a_goodbye_with_a_space_end_a_stream() -> None:
    """Some providers write ``null`` for no choices, and spaces behind ``[DONE]``."""
    script = STREAM + events(delta("one"), delta(finish="stop"), {**COUNTED, "choices": None}) + b"data: [DONE] \n\n"
    async with wire([script]) as there, line(deployment("a", there.base, lane="relay")) as here:
        assert await here.text() == "one"
        [record] = here.records
        assert (record.completion_tokens, record.usage_estimated) == (4, False)
        assert len(record.attempts) == 1


async def test_what_fails_in_one_read_with_what_was_said_fails_all_the_same() -> None:
    """A tool call that no program can carry out is found at its end, whatever came together with that."""
    call = {**CALL, "index": 0, "function": {"name": "unknown", "arguments": "{}"}}
    whole_stream = spoken({"content": "one "}, {"tool_calls": [call]}, finish="tool_calls")
    async with wire([whole_stream]) as there, line(deployment("a", there.base, lane="relay")) as here:
        with pytest.raises(StreamInterrupted, match="not offered"):
            await here.text(tools=[TOOL])
        [record] = here.records
        assert [attempt.outcome for attempt in record.attempts] == [Outcome.CUT, Outcome.CUT]


async def test_reasoning_is_spelt_as_litellm_spells_it() -> None:
    thought = {"role": "assistant", "content": "so", "reasoning": "because"}
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "because"}]}, {"type": "text", "text": "so"}]
    for provider, message in (("groq", thought), ("mistral", {**thought, "content": parts, "reasoning": None})):
        answer = whole(choices=[{"index": 0, "message": dict(message), "finish_reason": "stop"}])
        async with wire([answer]) as there, line(deployment("a", there.base, provider, lane="relay")) as here:
            body = (await here.ask()).body
            assert body is not None
            shown = body["choices"][0]["message"]
            assert (shown["content"], shown["reasoning_content"], "reasoning" in shown) == ("so", "because", False)


ODD = [
    "a",
    'a "quoted" \\ word',
    "två",
    "\n\n",
    "{}",
    "[DONE]",
    "m",
    "c",
    "0",
    "null",
    "data: x",
    '"},"finish_reason":"stop"',
]


async def test_any_text_is_passed_on_as_it_was_said() -> None:
    """Also what looks like a chunk's other parts: texts go on as they were written, once their place is known."""
    script = STREAM + events(*map(delta, ODD * 2), delta(finish="stop"), done=True)
    async with wire([script]) as there, line(deployment("a", there.base, lane="relay")) as here:
        assert await here.text() == "".join(ODD * 2)


async def test_what_a_chunk_says_besides_its_text_is_never_missed() -> None:
    """One that begins and ends as all before it, but says more in between."""
    usual = [delta(word) for word in ("one ", "two ", "three ")]
    more = delta("four")
    more["choices"].append({"index": 1, "delta": {"content": "another"}, "finish_reason": None})
    last = delta(finish="length")
    last["choices"][0]["index"] = 1
    ends = [delta(finish="stop"), last]
    async with (
        wire([STREAM + events(*usual, more, *ends, done=True)]) as there,
        line(deployment("a", there.base, lane="relay")) as here,
    ):
        chunks = [choice async for chunk in chunks_of(await here.ask(stream=True, n=2)) for choice in chunk["choices"]]
    texts = [(choice["index"], choice["delta"].get("content")) for choice in chunks if choice["delta"].get("content")]
    assert texts == [(0, "one "), (0, "two "), (0, "three "), (0, "four"), (1, "another")]
    assert [choice["finish_reason"] for choice in chunks if choice["finish_reason"]] == ["stop", "length"]


async def test_reasoning_in_a_stream_is_spelt_the_same() -> None:
    thinking = [{"type": "thinking", "thinking": [{"type": "text", "text": "because"}]}]
    said = [{"type": "text", "text": "so"}]
    for provider, deltas in (
        ("groq", ({"reasoning": "because"}, {"content": "so"})),
        ("mistral", ({"content": thinking}, {"content": said})),
    ):
        async with (
            wire([spoken(*deltas)]) as there,
            line(deployment("a", there.base, provider, lane="relay")) as here,
        ):
            shown = [chunk["choices"][0]["delta"] async for chunk in chunks_of(await here.ask(stream=True))]
            assert shown[1:3] == [{"reasoning_content": "because"}, {"content": "so"}]


async def test_half_a_surrogate_pair_is_passed_on() -> None:
    """Some providers cut a character that has two halves in JSON."""
    halves = [b'data: {"id":"c","created":1,"choices":[{"index":0,"delta":{"content":"\\%s"}}]}\n\n' % half
              for half in (b"ud83d", b"ude00")]  # fmt: skip
    script = STREAM + events(delta("a")) + b"".join(halves) + events(delta(finish="stop"), done=True)
    async with wire([script]) as there, line(deployment("a", there.base, lane="relay")) as here:
        assert await here.text() == "a\ud83d\ude00"


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_a_refusal_hides_the_key(status: int) -> None:
    """000-08"""
    async with (
        wire([refusal(status, "no: stand-in-key")]) as there,
        line(deployment("a", there.base, lane="relay")) as here,
    ):
        with pytest.raises(Exception) as caught:  # noqa: PT011  (which one is another test's matter)
            await here.ask()
        assert "stand-in-key" not in str(caught.value.body()) + str(here.records)  # type: ignore[attr-defined]
        assert there.asked
