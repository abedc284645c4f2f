"""What the log tells, and what it never does."""

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from lumni.settings import Settings
from lumni.telemetry import log
from lumni.telemetry.log import Log, LogSink
from lumni.telemetry.scrubber import REDACTED, Scrubber
from lumni.types import Outcome, RequestRecord
from tests.gateway.provider import Provider, provider
from tests.gateway.stage import entry, model_list, stage
from tests.telemetry.records import attempt, catalogue, failure, record

Lines = list[dict[str, Any]]
KEY = "lumni-key-of-the-gateway"
EVENTS_TOLD = ("response_generated", "cost_tracked", "request_failed")


@pytest.fixture(autouse=True)
def undisturbed() -> Iterator[None]:
    """The process's log as it was before."""
    root = logging.getLogger()
    handlers, level, http = root.handlers[:], root.level, logging.getLogger("httpx").level
    own = logging.getLogger("lumni").level
    root.handlers = []
    yield
    root.handlers = handlers
    root.setLevel(level)
    logging.getLogger("httpx").setLevel(http)
    logging.getLogger("lumni").setLevel(own)


@pytest.fixture
async def provided() -> AsyncIterator[Provider]:
    async with provider() as made:
        yield made


def configured(stream: io.StringIO, worker: int | None = None, **settings: Any) -> Log:
    given = {"log_format": "json", "unified_api_key": KEY, **settings}
    return log.configure(Settings.model_validate(given), worker, stream)


def sink_of(stream: io.StringIO, worker: int | None = None, **settings: Any) -> LogSink:
    events = configured(stream, worker, **settings).events
    assert events is not None
    return LogSink(catalogue(), events)


def told(*records: RequestRecord) -> Lines:
    stream = io.StringIO()
    sink = sink_of(stream)
    for one in records:
        sink.write(one)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("written", "event"),
    [
        (record(), "response_generated"),
        (record(outcome=Outcome.CACHED, cached=True, attempts=()), "cache_hit"),
        (failure(Outcome.RATE_LIMITED, status=429), "rate_limit_exceeded"),
        (failure(Outcome.UNAVAILABLE), "request_failed"),
        (failure(Outcome.DISCONNECTED, status=499), "request_failed"),
        (failure(Outcome.BAD_REQUEST, status=400), "request_failed"),
    ],
)
def test_every_end_of_a_request_is_an_event(written: RequestRecord, event: str) -> None:
    """003-33"""
    line = told(written)[0]
    assert (line["event"], line["request_id"], line["status"]) == (event, "req-1", written.status)
    assert (line["level"], line["logger"], line["outcome"]) == ("info", "lumni.requests", written.outcome)


def test_costs_are_an_event_where_they_are_known() -> None:
    """003-33"""
    assert [line["event"] for line in told(record(), record(list_cost=None, billed_cost=None), failure())] == [
        "response_generated", "cost_tracked", "response_generated", "request_failed",
    ]  # fmt: skip
    cost = told(record(list_cost=1_500_000))[1]
    assert (cost["list_cost_usd"], cost["billed_cost_usd"]) == ("0.001500000", "0.000000000")


async def test_one_id_is_in_the_log_the_answer_and_the_database(provided: Provider, tmp_path: Path) -> None:
    """003-34, 003-06: and nothing of a person, a prompt, an answer or a key is in any line."""
    stream = io.StringIO()
    events = configured(stream).events
    async with stage(tmp_path, model_list(entry("all", provided.base, "one")), events) as lumni:
        answer = await lumni.ask("ada", user="grace")
        provided.chat, provided.message = 503, "a text of the provider"
        await lumni.ask("class", user="alan", model="all")
        await lumni.ask("ben", model="Ada Lovelace")
        id_ = answer.headers["x-lumni-request-id"]
        await lumni.services.writer.flush()
        kept = await lumni.services.database.records.get(id_)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines if line.get("request_id") == id_] == [
        "request_received",
        "response_generated",
    ]
    assert kept is not None
    assert [line["event"] for line in lines].count("request_failed") == 2
    private = ('"ada', '"ben', "grace", "alan", "Lovelace", "hello", "key-of-one", "a text of the provider")
    assert not [text for text in private if text in stream.getvalue()]


@pytest.mark.parametrize(
    "text",
    [
        f"calling with {KEY}",
        "the headers were Authorization: Bearer abcdefgh12345678",
        "GET https://example.org/v1?key=abcd1234&x=1",
        "GET https://example.org/v1?api_key=abcd1234",
        "postgresql://lumni:hunter22@db/lumni",
        "gsk_abcdefghijklmnop1234 is wrong",
        "learned later: of-a-provider-0001",
    ],
)
@pytest.mark.parametrize("form", ["json", "console"])
def test_secrets_are_taken_out_of_every_text(text: str, form: str) -> None:
    """003-06: whoever logs it, also in an exception."""
    stream = io.StringIO()
    configured(stream, log_format=form).scrub.add(["of-a-provider-0001"])
    logging.getLogger("anybody").warning(text)
    try:
        raise RuntimeError(text)
    except RuntimeError:
        logging.getLogger("anybody").exception("failed")
    written = stream.getvalue()
    secrets = (KEY, "abcdefgh12345678", "abcd1234", "hunter22", "gsk_abc", "of-a-provider-0001")
    assert not [secret for secret in secrets if secret in written]
    assert written.count(REDACTED) >= 2
    assert "RuntimeError" in written


def test_words_are_left_alone() -> None:
    text = "worker 2 was ended by SIGKILL; another one starts in 1 s, see https://example.org/a?b=c and task-3"
    assert Scrubber([])(text) == text


def test_lines_are_one_each_and_name_their_worker() -> None:
    """003-06: a text with line breaks can't pretend to be another line."""
    stream = io.StringIO()
    configured(stream, worker=2)
    logging.getLogger("anybody").error("one\ntwo %s", "three")
    [line] = [json.loads(one) for one in stream.getvalue().splitlines()]
    assert (line["event"], line["worker"], line["level"]) == ("one\ntwo three", 2, "error")


def test_the_console_says_the_same_for_the_eye() -> None:
    stream = io.StringIO()
    sink_of(stream, worker=2, log_format="console").write(record(attempts=(attempt(),)))
    line = stream.getvalue().splitlines()[0]
    assert "[info     ] response_generated [lumni.requests]" in line
    assert {"request_id=req-1", "deployment=d0", "worker=2"} <= set(line.split())


@pytest.mark.parametrize("terminal", [True, False])
def test_by_itself_the_log_is_for_the_eye_only_where_there_is_one(terminal: bool) -> None:
    """003-06: a file or a collector gets JSON, which also costs a third."""
    stream = io.StringIO()
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    sink_of(stream, log_format="auto").write(record())
    assert stream.getvalue().startswith("{") is not terminal


def test_a_higher_level_silences_events() -> None:
    assert configured(io.StringIO(), log_level="WARNING").events is None
    assert configured(io.StringIO(), log_level="INFO").events is not None


async def test_lines_about_requests_are_written_together_and_none_is_left() -> None:
    """003-06: in their order, at the end at the latest; others don't wait for them."""
    stream = io.StringIO()
    events = configured(stream).events
    assert events is not None
    events.start()
    sink = LogSink(catalogue(), events)
    for number in range(3):
        sink.write(record(request_id=f"req-{number}", list_cost=None))
    logging.getLogger("anybody").warning("at once")
    assert len(stream.getvalue().splitlines()) == 1
    events.flush()
    sink.write(record(request_id="req-3", list_cost=None))
    await events.close()
    sink.write(record(request_id="req-4", list_cost=None))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line.get("request_id") for line in lines] == [None, "req-0", "req-1", "req-2", "req-3", "req-4"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_log_that_nobody_reads_any_more_stops_no_request(form: str) -> None:
    """003-06: neither a pipe that was closed nor a terminal that is gone."""
    stream = io.StringIO()
    sink = sink_of(stream, log_format=form)
    stream.close()
    sink.write(record())


async def test_gathered_lines_are_written_by_themselves() -> None:
    """003-06"""
    stream = io.StringIO()
    events = configured(stream).events
    assert events is not None
    events.start()
    LogSink(catalogue(), events).write(record(list_cost=None))
    async with asyncio.timeout(30):
        while not stream.getvalue():
            await asyncio.sleep(0.01)
    assert json.loads(stream.getvalue())["request_id"] == "req-1"


def test_sampling_keeps_whole_requests_and_all_that_went_wrong() -> None:
    """003-06: of two hundred that went well about a fifth, with all their events; of those that didn't each one."""
    stream = io.StringIO()
    sink = sink_of(stream, log_sampling=0.2)
    for number in range(200):
        sink.write(record(request_id=f"good-{number}"))
        sink.write(failure(request_id=f"bad-{number}"))
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    events = {event: {line["request_id"] for line in lines if line["event"] == event} for event in EVENTS_TOLD}
    assert 15 < len(events["response_generated"]) < 75
    assert events["response_generated"] == events["cost_tracked"]
    assert len(events["request_failed"]) == 200


def test_debugging_is_of_lumni_alone() -> None:
    """003-06: libraries would tell what they were given, such as a statement's values."""
    stream = io.StringIO()
    configured(stream, log_level="DEBUG")
    logging.getLogger("aiosqlite").debug("INSERT … VALUES ('Ada Lovelace')")
    logging.getLogger("lumni.somewhere").debug("ours")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["ours"]
