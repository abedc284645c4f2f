"""The response cache through the whole application: asked before anything is spent, and never wrong."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from lumni.types import ChatRequest, Outcome
from tests.gateway.provider import provider
from tests.gateway.stage import CHAT, WHO, Stage, model_list, stage
from tests.upstream.wire import HEAD, QUESTION, STREAM, delta, events, wire

HIT = {"x-lumni-cache": "hit"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
Headers = dict[str, str]


def entry(base: str, lane: str, id_: str = "d", group: str = "all", priority: int = 0) -> str:
    return f"""
  - model_name: {group}
    litellm_params: {{model: openai/stand-in, api_base: "{base}", api_key: key-of-{id_}, rpm: 1000}}
    model_info: {{id: {id_}, lane: {lane}, priority: {priority}, input_cost_per_token: 0.001,
                  output_cost_per_token: 0.002}}"""


@pytest.fixture(params=["relay", "translated"])
def lane(request: pytest.FixtureRequest) -> str:
    lane: str = request.param
    return lane


@asynccontextmanager
async def cached(directory: Path, *entries: str, **settings: Any) -> AsyncIterator[Stage]:
    given = {
        "max_requests_per_minute": 0,
        "max_requests_per_hour": 0,
        "cache_enabled": True,
        "request_timeout": 900.0,
        **settings,
    }
    async with stage(directory, model_list(*entries), **given) as made:
        yield made


async def ask(made: Stage, who: str = "ada", headers: Headers | None = None, **body: Any) -> httpx.Response:
    sent = {"model": "all", "messages": QUESTION, **body}
    return await made.client.post(CHAT, headers={"x-api-key": who, **(headers or {})}, json=sent)


def chunks(answer: httpx.Response) -> list[dict[str, Any]]:
    lines = [line[6:] for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def text(answer: httpx.Response) -> str:
    said = [c["delta"].get("content") or "" for chunk in chunks(answer) for c in chunk["choices"]]
    return "".join(said)


def state(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.headers.get("x-lumni-cache")


def without(body: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in names}


async def test_an_identical_request_gets_the_kept_answer(tmp_path: Path, lane: str) -> None:
    """003-14, 001-28: no upstream call, ``cached: true``, the same answer; 001-29: list price saved, nobody billed."""
    async with provider() as made, cached(tmp_path, entry(made.base, lane)) as here:
        first, second = await ask(here), await ask(here, metadata={"a": "b"})
        assert (state(first), state(second)) == ((200, "miss"), (200, "hit"))
        assert made.calls["chat"] == 1
        assert without(first.json(), "lumni") == without(second.json(), "lumni")
        assert (first.json()["lumni"]["cached"], second.json()["lumni"]["cached"]) == (False, True)
        assert int(second.headers["age"]) >= 0
        assert second.headers["x-lumni-deployment"] == first.headers["x-lumni-deployment"] == "d"
        assert second.json()["lumni"]["cost"] == {"list": "0.020000000", "billed": "0.000000000", "currency": "USD"}
        assert second.json()["lumni"]["attempts"] == []
        assert second.json()["lumni"]["classification"] == first.json()["lumni"]["classification"]
        await here.services.writer.flush()
        records = await here.services.database.records.recent(10)
        hit = next(record for record in records if record.cached)
        assert (hit.outcome, hit.status, hit.billed_cost, hit.list_cost) == (Outcome.CACHED, 200, 0, 20_000_000)
        assert (hit.prompt_tokens, hit.completion_tokens, hit.attempts) == (10, 5, ())


@pytest.mark.parametrize(("first", "second"), [(False, True), (True, False), (True, True)])
async def test_a_stream_answers_whole_requests_and_the_other_way_round(
    tmp_path: Path, lane: str, *, first: bool, second: bool
) -> None:
    """003-14: replayed with the answer's own id, usage where asked, and ``[DONE]``."""
    words = ["A list ", "is a sequence ", "of things, ", "in their order. "] * 8
    said = "".join(words)
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    whole = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}
    answer = HEAD % (200, b"application/json") + json.dumps(whole).encode()
    streamed = STREAM + events(*map(delta, words), {**delta(None, "stop"), "usage": USAGE}, done=True)
    async with wire([streamed if first else answer]) as made, cached(tmp_path, entry(made.base, lane)) as here:
        options: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
        one = await ask(here, **(options if first else {}))
        two = await ask(here, **(options if second else {}))
        assert (state(one), state(two)) == ((200, "miss"), (200, "hit"))
        assert len(made.asked) == 1
        if second:
            got = chunks(two)
            assert text(two) == said
            assert {chunk["id"] for chunk in got} == {"c"}
            assert len(got) > 4
            assert got[0]["choices"][0]["delta"]["role"] == "assistant"
            assert [c["finish_reason"] for chunk in got for c in chunk["choices"] if c["finish_reason"]] == ["stop"]
            assert (got[-1]["choices"], got[-1]["usage"] | USAGE) == ([], got[-1]["usage"])
            assert got[-1]["lumni"]["cached"] is True
            assert all(chunk["usage"] is None for chunk in got[:-1])
        else:
            got_whole = two.json()
            assert got_whole["id"] == "c"
            assert got_whole["choices"] == [
                {**choice, "message": {**choice["message"], "refusal": None}, "logprobs": None}
            ]
            assert got_whole["usage"] | USAGE == got_whole["usage"]
        assert here.services.pipeline.cache.counts.hits == 1


async def test_tool_calls_are_replayed(tmp_path: Path, lane: str) -> None:
    """003-14: a call that came in fragments is whole again, and its ids are those of the answer."""
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}

    def part(**call: Any) -> dict[str, Any]:
        return {**delta(), "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, **call}]}}]}

    begun = part(id="call_7", type="function", function={"name": "add", "arguments": ""})
    more = [part(function={"arguments": piece}) for piece in ('{"a":', " 1}")]
    answer = STREAM + events(begun, *more, delta(None, "tool_calls"), done=True)
    async with wire([answer]) as made, cached(tmp_path, entry(made.base, lane)) as here:
        await ask(here, stream=True, tools=[tool])
        hit = await ask(here, tools=[tool])
        assert state(hit) == (200, "hit")
        (said,) = hit.json()["choices"]
        call = {"id": "call_7", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
        assert (said["finish_reason"], said["message"]["tool_calls"]) == ("tool_calls", [call])
        assert said["message"]["content"] is None


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hundred_at_once_make_one_call(tmp_path: Path, lane: str, *, stream: bool) -> None:
    """003-14: identical requests that run at once share one answer, and all but the first are recorded as cached."""
    pieces: list[bytes | None] = [STREAM + events(delta("he")), events(delta("llo"), delta(None, "stop"), done=True)]
    whole = HEAD % (200, b"application/json") + json.dumps(_whole("hello")).encode()
    async with (
        wire(pieces if stream else [b"", whole], slowly=0.3) as made,
        cached(tmp_path, entry(made.base, lane), default_rate_limit_capacity=0) as here,
    ):
        answers = await asyncio.gather(*(ask(here, stream=stream) for _ in range(100)))
        assert len(made.asked) == 1
        assert sorted(answer.headers["x-lumni-cache"] for answer in answers) == ["hit"] * 99 + ["miss"]
        said = {text(answer) if stream else answer.json()["choices"][0]["message"]["content"] for answer in answers}
        assert said == {"hello"}
        counts = here.services.pipeline.cache.counts
        assert (counts.hits, counts.misses) == (99, 1)
        await here.services.writer.flush()
        records = await here.services.database.records.recent(200)
        assert sum(record.cached for record in records) == 99
        assert len(records) == 100


async def test_who_leads_and_leaves_fails_nobody(tmp_path: Path, lane: str) -> None:
    """003-14: the next one asks the provider; who hung up is recorded as such."""
    answer = HEAD % (200, b"application/json") + json.dumps(_whole("hello")).encode()
    async with wire([None], [answer]) as made, cached(tmp_path, entry(made.base, lane)) as here:
        leader = asyncio.create_task(ask(here))
        await made.until_asked()
        followers = [asyncio.create_task(ask(here)) for _ in range(5)]
        await _until(lambda: _waiting(here) == 5)
        leader.cancel()
        answers = await asyncio.gather(*followers)
        assert sorted(state(answer) for answer in answers) == [(200, "hit")] * 4 + [(200, "miss")]
        assert len(made.asked) == 2


async def test_who_leads_and_fails_fails_nobody_else(tmp_path: Path, lane: str) -> None:
    """003-14: each that leads has its own error; none of them is kept."""
    refused = HEAD % (500, b"application/json") + b'{"error": {"message": "no"}}'
    answer = HEAD % (200, b"application/json") + json.dumps(_whole("hello")).encode()
    async with wire([refused], [answer]) as made, cached(tmp_path, entry(made.base, lane)) as here:
        answers = await asyncio.gather(*(ask(here) for _ in range(6)))
        found = sorted(answer.status_code for answer in answers)
        assert found == [200] * 5 + [503]
        assert len(made.asked) == 2


@pytest.mark.parametrize(
    "script",
    [
        [STREAM + events(delta("hal")), None],  # the client leaves
        [STREAM + events(delta("hal"))],  # the provider does
        [STREAM + events(delta("hal"), delta(None, "content_filter"), done=True)],
        [STREAM + events(delta("hal"), {"error": {"message": "overloaded", "code": 529}})],
    ],
)
async def test_half_an_answer_is_not_kept(tmp_path: Path, lane: str, script: list[bytes | None]) -> None:
    """003-14: streams that were cut, left or filtered, and errors inside them, are nobody else's."""
    good = STREAM + events(delta("hello"), delta(None, "stop"), done=True)
    async with wire(script, script, [good]) as made, cached(tmp_path, entry(made.base, lane)) as here:
        if script[-1] is None:
            await _hang_up(here)
            made.script.pop(0)
        else:
            await ask(here, stream=True)
            made.script[:] = made.script[-1:]
        again = await ask(here, stream=True)
        assert (state(again), text(again)) == ((200, "miss"), "hello")
        assert here.services.pipeline.cache.counts.kept == 1


async def test_a_stream_that_was_pieced_together_is_not_kept(tmp_path: Path, lane: str) -> None:
    """003-14: one that broke off and was asked for again may have a seam."""
    broken, good = (
        [STREAM + events(delta("hel"))],
        STREAM + events(delta("hel"), delta("lo"), delta(None, "stop"), done=True),
    )
    async with wire(broken, [good]) as made, cached(tmp_path, entry(made.base, lane)) as here:
        first = await ask(here, stream=True)
        assert text(first) == "hello"
        assert len(made.asked) == 2
        assert state(await ask(here)) != (200, "hit")
        assert here.services.pipeline.cache.counts.hits == 0


async def test_clients_say_what_they_want(tmp_path: Path) -> None:
    """001-28: ``cache-control`` as HTTP has it; a new answer is always to be had, at any temperature."""
    async with provider() as made, cached(tmp_path, entry(made.base, "relay")) as here:

        async def wanting(control: str, **body: Any) -> httpx.Response:
            return await ask(here, headers={"cache-control": control}, temperature=1, **body)

        missing = await wanting("only-if-cached")
        assert (missing.status_code, missing.json()["error"]["code"]) == (504, "not_cached")
        assert state(await wanting("no-store")) == (200, "miss")
        assert state(await wanting("no-store")) == (200, "miss")  # it wasn't kept
        made.says = "one"
        assert state(await wanting("no-cache")) == (200, "bypass")
        made.says = "two"
        kept = await wanting("only-if-cached")
        assert (state(kept), kept.json()["choices"][0]["message"]["content"]) == ((200, "hit"), "one")
        assert state(await wanting("no-store")) == (200, "hit")
        fresh = await asyncio.gather(*(wanting("no-cache") for _ in range(3)))
        assert [state(answer) for answer in fresh] == [(200, "bypass")] * 3
        assert made.calls["chat"] == 6
        assert (await wanting("max-age=600")).json()["choices"][0]["message"]["content"] == "two"
        assert state(await wanting("max-age=0")) == (200, "bypass")
        assert state(await wanting("min-fresh=4000")) != (200, "hit")


async def test_ages_are_told_and_bounded(tmp_path: Path) -> None:
    """003-30: an answer is kept for ``cache_ttl_seconds``; ``age`` says since when, ``max-age`` bounds it."""
    async with provider() as made, cached(tmp_path, entry(made.base, "relay"), cache_ttl_seconds=10_000) as here:
        cache, now = here.services.pipeline.cache, 1_000_000.0
        cache._clock = lambda: now
        await ask(here)
        now += 6000.9
        assert (await ask(here)).headers["age"] == "6000"
        assert state(await ask(here, headers={"cache-control": "max-age=3000"})) == (200, "miss")  # and it is new again
        assert (await ask(here)).headers["age"] == "0"
        now += 10_001
        assert state(await ask(here)) == (200, "miss")


async def test_a_hit_spends_nothing_but_the_burst(tmp_path: Path) -> None:
    """003-15, REQUIREMENTS "Order of checks": no student limit, no quota; but the key's burst counts, and exactly."""
    limits = {"max_requests_per_minute": 2, "max_requests_per_hour": 2, "default_rate_limit_capacity": 6}
    async with provider() as made, cached(tmp_path, entry(made.base, "relay"), **limits) as here:
        answers = [await ask(here) for _ in range(5)]
        assert [state(answer) for answer in answers] == [(200, "miss"), *[(200, "hit")] * 4]
        assert (await ask(here, seed=1)).headers["x-ratelimit-remaining-requests"] == "0"
        refused = await ask(here)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
        assert "at once" in refused.json()["error"]["message"]
        used = {row.used for row in await here.services.quota.rows() if row.kind == "requests"}
        assert used == {made.calls["chat"]} == {2}
        here.clock.now += 30
        over = await ask(here, seed=2)  # a miss, and both of the minute are gone
        assert (over.status_code, state(await ask(here))) == (429, (200, "hit"))


async def test_keys_without_a_course_share_nothing(tmp_path: Path) -> None:
    """003-14: and nobody gets an answer of a model that she may not use, nor does a monitor."""
    async with provider() as made, cached(tmp_path, entry(made.base, "relay")) as here:
        assert state(await ask(here, "ada")) == (200, "miss")
        assert state(await ask(here, "ben")) == (200, "miss")
        assert (await ask(here, "monitor")).status_code == 403
        assert (await ask(here, "nobody")).status_code == 401


async def test_a_stand_ins_answer_is_not_kept(tmp_path: Path, lane: str) -> None:
    """003-14: who asks for a model gets no other model's answer for an hour, only because it was out of order once."""
    listed = (entry("http://127.0.0.1:9", lane, "away"), entry("{}", lane, "other", "others"))
    async with provider() as made:
        spare = listed[1].replace("{}", made.base)
        tail = "\nrouter_settings:\n  fallbacks: [{all: [others]}]"
        async with cached(tmp_path, listed[0], spare + tail) as here:
            first = await ask(here)
            assert (state(first), first.headers["x-lumni-deployment"]) == ((200, "miss"), "other")
            assert state(await ask(here)) == (200, "miss")
            assert state(await ask(here, model="auto")) == (200, "miss")
            assert state(await ask(here, model="auto")) == (200, "hit")


async def test_it_is_off_unless_somebody_asks_for_it(tmp_path: Path) -> None:
    """001-43: without ``cache: true`` the same request is asked again, and no header speaks of a cache."""
    async with provider() as made, stage(tmp_path, model_list(entry(made.base, "relay"))) as here:
        answers = [await ask(here), await ask(here)]
        assert [state(answer) for answer in answers] == [(200, None)] * 2
        assert made.calls["chat"] == 2


def _whole(said: str) -> dict[str, Any]:
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": USAGE}


def _waiting(here: Stage) -> int:
    """Who follows another's flight: tasks that wait for it."""
    flights = here.services.pipeline.cache._flights.values()
    return sum(len(flight._callbacks or ()) for flight in flights)


async def _until(true: Any) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.01)


async def _hang_up(here: Stage) -> None:
    """Begin a stream and leave after its first content."""
    pipeline, loop = here.services.pipeline, asyncio.get_running_loop()
    now = loop.time()
    body = {"model": "all", "messages": QUESTION, "stream": True}
    chat = ChatRequest("left", body, "all", datetime.now(UTC), now, now + 20, stream=True)
    reply = await pipeline.complete(chat, WHO["ada"])
    assert reply.events is not None
    await anext(reply.events)
    await reply.events.aclose()


async def test_who_takes_part_in_an_experiment_passes_the_cache_by(tmp_path: Path) -> None:
    """000-62, 001-28: variants are compared by answers of their own, so each of them is a new one."""
    experiment = {"models": ["all"], "variants": [{"name": "one", "model": "all"}, {"name": "two", "model": "all"}]}
    async with provider() as made, cached(tmp_path, entry(made.base, "relay"), experiments={"e": experiment}) as here:
        answers = [await ask(here), await ask(here)]
        assert [state(answer) for answer in answers] == [(200, "bypass")] * 2
        assert answers[0].headers["x-lumni-variant"]
        assert made.calls["chat"] == 2
        assert here.services.pipeline.cache.counts.bypasses == 2


async def test_an_answer_that_a_budget_cut_short_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """003-14: the next student has more left, and must not get half an answer for it."""

    class Scarce:
        tokens = 5

        def bound(self, request: ChatRequest) -> ChatRequest:
            return replace(request, body={**request.body, "max_tokens": self.tokens})

        def settle(self, record: object) -> None:
            pass

    async def scarce(_: object, __: object, candidates: object) -> tuple[Scarce, object]:
        return Scarce(), candidates

    async with provider() as made, cached(tmp_path, entry(made.base, "relay")) as here:
        with monkeypatch.context() as patched:
            patched.setattr(here.services.pipeline.budgets, "reserve", scarce)
            first = await ask(here)
            assert (state(first), first.headers["x-lumni-max-tokens"]) == ((200, "miss"), "5")
        assert state(await ask(here)) == (200, "miss")
        assert state(await ask(here)) == (200, "hit")
        assert [body.get("max_tokens") for body in made.bodies] == [5, None]


async def test_an_answer_of_somebodys_own_account_is_not_kept(tmp_path: Path) -> None:
    """000-61: a personal account serves its owner, and nobody else by way of the cache."""
    async with provider() as made:
        listed = entry(made.base, "relay").replace("{id: d,", "{id: d, account: hers,")
        settings = {"accounts": {"hers": {"terms": "personal", "owner": "ada"}}}
        async with cached(tmp_path, listed, **settings) as here:
            answers = [await ask(here), await ask(here)]
            assert [state(answer) for answer in answers] == [(200, "miss")] * 2
            assert here.services.catalogue.enabled[0].terms.kind == "personal"
