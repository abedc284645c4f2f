"""What counts as the same request: nothing that the answer depends on may be left out, nothing else may matter."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lumni.api.wire import cache_control
from lumni.gateway.cache import UNHEARD, ResponseCache, canonical
from lumni.types import CacheControl, ChatRequest, Principal

ADA = Principal("ada-key", student="ada", course="cs101")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10**6) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
messages = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]), "content": st.text(max_size=20)}),
    min_size=1, max_size=3,
)  # fmt: skip
bodies = st.builds(
    lambda sent, more: {**more, "messages": sent, "model": "all"},
    messages,
    st.dictionaries(
        st.sampled_from(
            ["temperature", "top_p", "seed", "n", "tools", "response_format", "stop", "max_tokens", "tool_choice", "x"]
        ),
        json_values,
    ),
)


def request(body: dict[str, Any], **more: Any) -> ChatRequest:
    return ChatRequest("r", body, body["model"], datetime.now(UTC), 0.0, 60.0, **more)


def key(body: dict[str, Any], principal: Principal = ADA, **more: Any) -> bytes:
    return canonical(request(body, **more), principal)


def shuffled(value: Any, random: Any) -> Any:
    """The same JSON with the keys of all objects in another order."""
    if isinstance(value, list):
        return [shuffled(item, random) for item in value]
    if not isinstance(value, dict):
        return value
    names = list(value)
    random.shuffle(names)
    return {name: shuffled(value[name], random) for name in names}


@given(bodies, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(body: dict[str, Any], random: Any) -> None:
    """001-28: nor do fields that are null, or a number that is written as 1.0."""
    assert key(shuffled(body, random)) == key(body)
    assert key({**body, "logit_bias": None}) == key({**body})
    assert key({**body, "temperature": 1.0}) == key({**body, "temperature": 1})


@given(bodies, st.sampled_from(sorted(UNHEARD)), json_values)
def test_what_no_model_hears_of_does_not_matter(body: dict[str, Any], name: str, value: Any) -> None:
    """001-28: user, metadata, stream, stream_options and their like."""
    assert key({**body, name: value}) == key(body)


@given(bodies, bodies)
def test_another_body_is_another_request(one: dict[str, Any], other: dict[str, Any]) -> None:
    """003-14: only identical prompts share an answer."""

    def plain(body: dict[str, Any]) -> str:
        return json.dumps({name: value for name, value in body.items() if value is not None}, sort_keys=True)

    assert (key(one) == key(other)) == (_numbers(plain(one)) == _numbers(plain(other)))


def _numbers(text: str) -> Any:
    """With whole numbers at the top written as such, as Python compares them anyway; but True is no 1."""
    body = json.loads(text)
    spelled = {k: int(v) if type(v) is float and v.is_integer() else v for k, v in body.items()}
    return json.dumps(spelled, sort_keys=True)


@given(
    bodies,
    st.sampled_from(["temperature", "seed", "n", "tools", "response_format", "max_tokens", "messages", "unheard_of"]),
    st.text(min_size=1).map(lambda text: [{"role": "user", "content": text + "!"}]),
)
def test_any_change_of_what_the_answer_depends_on_changes_the_key(body: dict[str, Any], name: str, value: Any) -> None:
    """003-14: whatever the field, also one that Lumni doesn't know."""
    if body.get(name) != value:
        assert key({**body, name: value}) != key(body)


def test_how_the_model_is_chosen_is_part_of_it() -> None:
    """003-14: the model's name, the hint, the provider, the strategy, the exam, the models that one may use."""
    body = {"model": "all", "messages": [{"role": "user", "content": "Hello"}]}
    others = [
        key({**body, "model": "auto"}),
        key(body, task_type="fast"),
        key(body, provider="groq"),
        key(body, strategy="lowest_cost"),
        key(body, fallback=False),
        key(body, pinned=True),
        key(body, replace(ADA, allowlists=(("all",),))),
        key(body),
    ]
    assert len(set(others)) == len(others)
    assert key(body, label="ben", client_request_id="c", receipt=True, include_usage=True, stream=True) == key(body)
    assert key(body, replace(ADA, key_id="other", student="ben")) == key(body)


@given(st.text(), st.text(), bodies)
def test_courses_share_nothing(one: str, other: str, body: dict[str, Any]) -> None:
    """003-14: names differ between courses, and between keys that are in none; the secret is part of them too."""
    cache = ResponseCache(_Nowhere(), b"secret", 60.0)

    def name(principal: Principal, of: ResponseCache = cache) -> tuple[str, bytes]:
        ask = of.ask(request(body), principal)
        assert ask is not None
        return ask.name, ask.key

    asked = [Principal("k", course=one), Principal("k", course=other), Principal(one), Principal(other)]
    names = [name(principal) for principal in asked]
    assert (names[0] == names[1]) == (one == other)
    assert not {names[0], names[1]} & {names[2], names[3]}
    assert name(asked[0], ResponseCache(_Nowhere(), b"another", 60.0)) not in names


def test_half_a_surrogate_pair_has_a_key_too() -> None:
    """001-28: what JSON may hold and UTF-8 can't."""
    body = {"model": "all", "messages": [{"role": "user", "content": "\ud83d"}], "seed": 2**70}
    assert key(body) != key({**body, "messages": [{"role": "user", "content": "\ud83e"}]})


def test_cache_control_is_read_as_http_says() -> None:
    """001-28: RFC 9111, section 5.2.1; an age that can't be read asks for a new answer."""
    assert cache_control(None) == cache_control("") == CacheControl()
    assert cache_control("no-cache") == CacheControl(no_cache=True)
    assert cache_control("No-Store , max-age=60") == CacheControl(no_store=True, max_age=60.0)
    assert cache_control('max-age="0"') == cache_control("max-age=soon") == CacheControl(no_cache=True, max_age=0.0)
    assert cache_control("only-if-cached, min-fresh=5") == CacheControl(only_if_cached=True, min_fresh=5.0)
    assert cache_control("max-stale=5, x=,,=") == CacheControl()


class _Nowhere:
    kind, faults, in_memory, at_hand = "nowhere", 0, 0, False

    async def size(self, prefix: str) -> int | None:
        raise AssertionError

    async def get(self, name: str, key: bytes) -> bytes | None:
        raise AssertionError

    def put_down(self, name: str, answer: bytes) -> None:
        raise AssertionError

    async def put(self, name: str, key: bytes, answer: bytes) -> None:
        raise AssertionError

    async def clear(self, prefix: str) -> int:
        raise AssertionError
