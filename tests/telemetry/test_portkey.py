"""What Portkey is sent, and when."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml
from typer.testing import CliRunner

from lumni.__main__ import app
from lumni.settings import Settings
from lumni.telemetry.portkey import PortkeySink, is_wanted, make_portkey
from lumni.telemetry.pseudonyms import pseudonym_key
from lumni.types import Outcome, Principal
from tests.gateway.provider import Provider, provider
from tests.gateway.stage import WHO, entry, model_list, stage
from tests.telemetry.portkey_double import FEEDBACK, KEY, LOG, Portkey, portkey
from tests.telemetry.records import attempt, catalogue, failure, record

DOCUMENT = Path(__file__).parents[3] / "shared" / "contracts" / "portkey-openapi.yaml"
RECORDS = [
    record(),
    record(stream=True, ttft_ms=93.4, latency_ms=812.7),
    record(attempts=(attempt(0, Outcome.TIMEOUT, status=None), attempt(1)), deployment="d1", provider="p1"),
    record(outcome=Outcome.CACHED, cached=True, attempts=()),
    record(course="c" * 300, list_cost=None, billed_cost=None),
    record(experiment="tone", variant="kind", prompt="tutor@3", assignment="hw-1"),
    failure(),
    failure(Outcome.NOT_FOUND, status=404, attempts=(), task_type=None, confidence=None),
]


@pytest.fixture
async def service() -> AsyncIterator[Portkey]:
    async with portkey() as double:
        yield double


@pytest.fixture
async def provided() -> AsyncIterator[Provider]:
    async with provider() as made:
        yield made


@pytest.fixture
async def sink(tmp_path: Path) -> PortkeySink:
    settings = Settings(data_dir=tmp_path, portkey_api_key=KEY, portkey_enabled=True)
    made = make_portkey(settings, catalogue())
    assert made is not None
    return made


def document(name: str = "CustomLog") -> dict[str, Any]:
    if not DOCUMENT.exists():
        pytest.skip("Portkey's OpenAPI document isn't there")
    schema: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))["components"]["schemas"][name]
    return schema


@pytest.mark.parametrize("schema", [lambda: LOG, document], ids=["ours", "portkeys"])
async def test_every_log_keeps_to_the_contract(sink: PortkeySink, schema: Any) -> None:
    """001-03: answered, streamed, failed, cached, without a price: each is a ``CustomLog``."""
    validator = jsonschema_rs.validator_for(schema())
    for one in RECORDS:
        for log in sink.entries(one):
            assert [str(error) for error in validator.iter_errors(json.loads(json.dumps(log)))] == []


async def test_a_log_tells_what_happened(sink: PortkeySink) -> None:
    """001-03: status, times, tokens, model and provider as Portkey names them, and what Lumni decided."""
    [log] = sink.entries(record(provider="gemini", model="gemini/gemini-2.5-flash", stream=True, ttft_ms=93.4))
    assert log["response"]["status"] == 200
    assert (log["response"]["response_time"], log["response"]["streamingMode"]) == (93, True)
    assert (log["request"]["provider"], log["request"]["body"]["model"]) == ("google", "gemini-2.5-flash")
    assert log["response"]["body"]["usage"] == {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    told = log["metadata"]
    assert (told["trace_id"], told["course"], told["task_type"], told["confidence"]) == ("req-1", "cs1", "fast", "0.90")
    assert (told["model_group"], told["deployment"], told["outcome"]) == ("auto", "d0", "ok")
    assert "experiment" not in told
    [tried] = sink.entries(record(experiment="tone", variant="kind", prompt="tutor@3", assignment="hw-1"))
    words = ("experiment", "variant", "prompt", "assignment")
    assert [tried["metadata"][word] for word in words] == ["tone", "kind", "tutor@3", "hw-1"]
    assert (told["list_cost_usd"], told["billed_cost_usd"]) == ("0.001500000", "0.000000000")
    assert "cost" not in log["output"]
    [paid] = sink.entries(record(billed_cost=1_500_000))
    assert paid["output"]["cost"] == {"cost": 0.15, "currency": "USD"}


async def test_failed_calls_are_spans_of_their_request(sink: PortkeySink) -> None:
    """001-03: with the provider's own status; calls that were skipped are none."""
    calls = (
        attempt(0, Outcome.UNAVAILABLE, status=503),
        attempt(0, Outcome.SKIPPED),
        attempt(1, Outcome.TIMEOUT, status=None),
    )
    own, first, second = sink.entries(failure(Outcome.TIMEOUT, status=503, attempts=calls))
    assert (own["response"]["status"], own["metadata"]["span_id"]) == (503, "req-1")
    assert [log["response"]["status"] for log in (first, second)] == [503, 504]
    assert {log["metadata"]["parent_span_id"] for log in (first, second)} == {"req-1"}
    assert {log["metadata"]["trace_id"] for log in (own, first, second)} == {"req-1"}
    assert len({log["metadata"]["span_id"] for log in (own, first, second)}) == 3


async def test_people_have_pseudonyms(sink: PortkeySink, tmp_path: Path) -> None:
    """001-03: the same one each time, another one for each, and none that could be found by trying names."""
    assert pseudonym_key(tmp_path) == pseudonym_key(tmp_path)
    users = [sink.entries(record(student=name))[0]["metadata"]["_user"] for name in ("ada", "ada", "ben")]
    assert users[0] == users[1] != users[2]
    other = PortkeySink(sink.outbox, catalogue(), b"another secret", "development")
    assert other.pseudonym("ada") != sink.pseudonym("ada")
    [shared] = sink.entries(record(student=None, label="grace"))
    assert shared["metadata"]["_user"] not in (users[0], sink.pseudonym("grace"))
    text = json.dumps([sink.entries(replace(one, label="grace", requested_model="Ada Lovelace")) for one in RECORDS])
    assert not [private for private in ("ada", "grace", "Ada Lovelace", "key-1") if f'"{private}' in text]


@pytest.mark.parametrize(
    "given",
    [
        {"trace_id": "t", "value": 1, "weight": 0.5},
        {"trace_id": "t", "value": 11},
        {"trace_id": "t", "value": 0.5},
        {"trace_id": "t", "value": 1, "weight": 2},
        {"value": 1},
    ],
)
def test_the_double_takes_the_feedback_that_the_document_allows(given: dict[str, Any]) -> None:
    """001-03, 001-05: and no other."""
    both = [jsonschema_rs.validator_for(schema).is_valid(given) for schema in (document("FeedbackRequest"), FEEDBACK)]
    assert both[0] == both[1]


@pytest.mark.parametrize(
    ("callbacks", "enabled", "key", "wanted"),
    [
        (["portkey"], None, KEY, True),
        ([], None, KEY, False),
        ([], True, KEY, True),
        (["portkey"], False, KEY, False),
        (["portkey"], True, None, False),
        (["portkey"], True, "", False),
    ],
)
def test_it_is_on_where_it_is_asked_for(
    callbacks: list[str], enabled: bool | None, key: str | None, wanted: bool
) -> None:
    """001-42, 001-48: by the model list's callback or by config.json, and only with a key."""
    settings = Settings(portkey_enabled=enabled, portkey_api_key=key)
    assert is_wanted(settings, replace(catalogue(), callbacks=frozenset(callbacks))) is wanted


async def test_requests_reach_portkey(service: Portkey, provided: Provider, tmp_path: Path) -> None:
    """001-03, 001-37: through the whole line, by ``success_callback``; prompts, answers, names and keys stay here."""
    listed = model_list(entry("all", provided.base, "one"))
    listed += 'litellm_settings: {success_callback: ["portkey"], failure_callback: ["portkey"]}\n'
    async with stage(tmp_path, listed, portkey_api_key=KEY, portkey_base_url=service.base) as lumni:
        answer = await lumni.ask(user="grace")
        assert answer.status_code == 200
        provided.chat, provided.message = 503, "a text of the provider"
        assert (await lumni.ask("ben")).status_code == 503
    assert [log["response"]["status"] for log in service.logs] == [200, 503, 503]
    trace = service.logs[0]["metadata"]["trace_id"]
    assert trace == answer.headers["x-lumni-request-id"] == answer.json()["lumni"]["trace_id"]
    sent = "".join(service.bodies)
    private = ('"ada', '"ben', '"grace', "hello", "key-of-one", "a text of the provider", KEY, provided.base)
    assert not [text for text in private if text in sent]


async def test_a_portkey_that_is_away_costs_no_request(service: Portkey, provided: Provider, tmp_path: Path) -> None:
    """001-03: answers come all the same, and metrics tell of it."""
    service.status = 503
    listed = model_list(entry("all", provided.base, "one"))
    settings = {"portkey_api_key": KEY, "portkey_base_url": service.base, "portkey_enabled": True}
    async with stage(tmp_path, listed, **settings) as lumni:
        assert (await lumni.ask()).status_code == 200
        text = (await lumni.get("/metrics", "admin")).text
        assert 'lumni_export_pending{to="portkey"} 1.0' in text
    assert (tmp_path / "data" / "portkey.spill").read_bytes().count(b"\n") == 1


@pytest.mark.parametrize(
    ("key", "code", "words"), [(KEY, 0, "The log is there"), ("pk-of-nobody", 1, "The key is wrong")]
)
async def test_the_check_says_what_came_back(
    service: Portkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, code: int, words: str
) -> None:
    """001-48: `lumni portkey check` sends one log with the user's key."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "litellm_config.yaml").write_text("model_list: []\n", encoding="utf-8")
    monkeypatch.setenv("PORTKEY_API_KEY", key)
    monkeypatch.setenv("PORTKEY_BASE_URL", service.base)
    result = await asyncio.to_thread(CliRunner().invoke, app, ["portkey", "check"])
    assert result.exit_code == code, result.output
    assert words in result.output
    assert key not in result.output
    assert len(service.logs) == (code == 0)


@pytest.mark.parametrize(
    ("privacy", "wanted", "sent"),
    [
        ("full", True, True),
        ("redacted", True, True),
        ("hash", True, False),
        ("none", True, False),
        ("full", False, False),
    ],
)
async def test_content_goes_where_the_course_and_the_operator_allow_it(
    service: Portkey, provided: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, privacy: Any, wanted: bool,
    sent: bool,
) -> None:  # fmt: skip
    """001-03: as a span of the request, by the document's form; what is redacted here is redacted there."""
    monkeypatch.setitem(WHO, "eve", Principal("eve-key", student="s-eve", course="cs1", privacy=privacy))
    listed = model_list(entry("all", provided.base, "one"))
    settings = {"portkey_api_key": KEY, "portkey_base_url": service.base, "portkey_enabled": True}
    async with stage(tmp_path, listed, portkey_content=wanted, **settings) as lumni:
        body = {"model": "all", "messages": [{"role": "user", "content": "a question of eve@school.example"}]}
        answer = await lumni.post("/v1/chat/completions", "eve", **body)
        assert answer.status_code == 200
    told = [log for log in service.logs if log["metadata"]["span_name"] == "content"]
    assert [log["metadata"]["trace_id"] for log in told] == [answer.headers["x-lumni-request-id"]] * sent
    text = "".join(service.bodies)
    assert ("a question of" in text) is sent
    assert ("eve@school.example" in text) is (sent and privacy == "full")
    assert "s-eve" not in text
    if sent:
        assert told[0]["response"]["body"]["choices"][0]["message"]["content"] == "hello"
        assert jsonschema_rs.validator_for(LOG).is_valid(told[0])
