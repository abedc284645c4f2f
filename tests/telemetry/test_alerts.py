"""What is wrong is found, told once, by every channel, and its end too."""

import asyncio
import email.policy
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from typer.testing import CliRunner

from lumni.__main__ import app
from lumni.settings import Settings
from lumni.telemetry.alerts import OVER
from lumni.telemetry.alerts.bell import Bell, Book
from lumni.telemetry.alerts.channels import Channel, Email, Refused, Slack, Webhook, make_channels
from lumni.telemetry.alerts.locks import Role
from lumni.telemetry.alerts.readings import Readings, Span
from lumni.telemetry.alerts.rules import RULES, Found, Thresholds
from lumni.telemetry.alerts.watch import CALM, MEMORY, Watch
from lumni.types import Alert
from tests.telemetry.mailbox import mailbox

DOCUMENT = Path(__file__).parents[2] / "docs" / "observability.md"
POOL = {"pool": "main", "kind": "requests", "period": "86400"}
CALL = {"provider": "groq", "deployment": "d0"}
Sample = tuple[str, dict[str, str], float]


def readings(*samples: Sample) -> Readings:
    families: list[Metric] = []
    for name, labels, value in samples:
        kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
        family = kind(name, "-", labels=list(labels))
        family.add_metric(list(labels.values()), value)
        families.append(family)
    return Readings(families)


def found(name: str, now: Sequence[Sample], before: Sequence[Sample] = ()) -> list[Found]:
    [rule] = [rule for rule in RULES if rule.name == name]
    return list(rule.find(Span(readings(*now), readings(*before)), Thresholds()))


def responses(**outcomes: float) -> list[Sample]:
    return [("lumni_client_responses_total", {"surface": "c", "outcome": name}, n) for name, n in outcomes.items()]


def calls(**outcomes: float) -> list[Sample]:
    return [("lumni_upstream_attempts_total", {**CALL, "outcome": name}, n) for name, n in outcomes.items()]


def quota(left: float, period: str = "86400") -> list[Sample]:
    labels = {**POOL, "period": period}
    return [("lumni_quota_limit", labels, 1000.0), ("lumni_quota_remaining", labels, left)]


def deployments(available: float) -> list[Sample]:
    states = {"available": available, "broken": 2.0}
    return [("lumni_deployments", {"provider": "p", "state": state}, n) for state, n in states.items()]


CASES: list[tuple[str, list[Sample], list[Sample], str]] = [  # rule, what finds nothing, what finds, its words
    ("quota_low", [*quota(201), *quota(0, "60")], quota(200), "80% of the quota of main is used: 1,000 requests"),
    ("quota_overrun", [("lumni_quota_overrun_requests", POOL, 0)], [("lumni_quota_overrun_requests", POOL, 2)],
     "main was asked 2 times more"),
    ("errors", responses(ok=91, rate_limited=90, disconnected=50, unavailable=9), responses(ok=90, timeout=10),
     "10% of requests fail: 10 of the last 100."),
    ("provider_fails", calls(ok=50, unavailable=50, rate_limited=99), calls(ok=4, unavailable=6, skipped=99),
     "60% of the calls of groq fail"),
    ("key_refused", calls(unavailable=3), calls(auth=1), "groq refuses the key of d0"),
    ("breaker_open", [("lumni_breaker_state", CALL, 1)], [("lumni_breaker_state", CALL, 2)], "d0 failed too often"),
    ("nothing_left", deployments(1), deployments(0), "No deployment can be called now"),
    ("store_down", [("lumni_store_up", {"store": "redis"}, 1)], [("lumni_store_up", {"store": "redis"}, 0)],
     "The redis doesn't answer."),
    ("records_wait", [("lumni_records_pending", {}, 1000)], [("lumni_records_pending", {}, 1001)], "1,001 records"),
    ("records_lost", [("lumni_records_lost_total", {"reason": "refused"}, 0)],
     [("lumni_records_lost_total", {"reason": "refused"}, 1)], "1 records are lost (refused)"),
    ("exports_wait", [("lumni_export_pending", {"to": "portkey"}, 9)],
     [("lumni_export_pending", {"to": "portkey"}, 1500)], "1,500 entries wait for portkey"),
    ("exports_refused", [("lumni_exports_total", {"to": "portkey", "outcome": "delivered"}, 9)],
     [("lumni_exports_total", {"to": "portkey", "outcome": "refused"}, 2)], "2 entries for portkey were refused"),
    ("plans_fail", [("lumni_plan_faults_total", {"step": "selection"}, 0)],
     [("lumni_plan_faults_total", {"step": "selection"}, 1)], "Selection fails"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "calm", "wrong", "words"), CASES, ids=lambda value: str(value)[:20])
def test_rules_find_what_is_wrong(name: str, calm: list[Sample], wrong: list[Sample], words: str) -> None:
    """003-49, 000-53: quota, errors, breakers, backlogs and stores, each at its threshold and not before."""
    assert found(name, calm) == []
    [one] = found(name, wrong)
    assert words in one.message
    if any(sample.endswith("_total") for sample, _, _ in wrong):
        assert found(name, wrong, before=wrong) == []  # what was counted before is no news


def test_slow_requests_are_found() -> None:
    """000-44: by the P95 of what ended since."""

    def span(slow: float) -> Span:
        family = HistogramMetricFamily("gen_ai_server_request_duration_seconds", "-")
        family.add_metric([], [("20.48", 100 - slow), ("40.96", 100), ("+Inf", 100)], 0)
        ended = readings(*responses(ok=100))
        looks = Readings([family, *(CounterMetricFamily("nothing", "-"),)])
        looks._samples |= ended._samples
        return Span(looks, readings())

    [rule] = [rule for rule in RULES if rule.name == "slow"]
    assert list(rule.find(span(4), Thresholds())) == []
    [one] = rule.find(span(50), Thresholds())
    assert one.facts == {"p95_ms": round(1000 * (20.48 + 20.48 * 0.9))}


def test_every_rule_is_tested_and_documented() -> None:
    """001-57"""
    names = {rule.name for rule in RULES}
    assert names == {case[0] for case in CASES} | {"slow"}
    assert not {name for name in names if f"`{name}`" not in DOCUMENT.read_text(encoding="utf-8")}


@dataclass
class Heard:
    """A sink and a channel that keeps what it gets; ``faults`` are raised first."""

    alerts: list[Alert] = field(default_factory=list)
    faults: int = 0

    def notify(self, alert: Alert) -> None:
        self.alerts.append(alert)

    async def send(self, alert: Alert) -> None:
        if self.faults:
            self.faults -= 1
            raise Refused("status 503")
        self.alerts.append(alert)


@dataclass
class Clock:
    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def watch(sink: Heard, clock: Clock, look: Callable[[], Readings], role: Path) -> Watch:
    async def read() -> Readings:
        return look()

    return Watch(read, sink, Thresholds(), Role(role), clock)


async def test_what_lasts_is_told_and_its_end_too(tmp_path: Path) -> None:
    """003-49: a breaker that is open for a minute; five calm minutes are its end."""
    heard, clock, state = Heard(), Clock(), [2.0]
    watching = watch(heard, clock, lambda: readings(("lumni_breaker_state", CALL, state[0])), tmp_path / "lock")
    await watching.look()
    clock.now += 59
    await watching.look()
    assert heard.alerts == []
    clock.now += 1
    await watching.look()
    assert [(alert.name, alert.subject, alert.severity) for alert in heard.alerts] == [
        ("breaker_open", "d0", "warning")
    ]
    state[0] = 0.0
    clock.now += CALM - 1
    await watching.look()
    assert len(heard.alerts) == 1
    clock.now += 1
    await watching.look()
    assert heard.alerts[1].facts == {OVER: True}
    await watching.look()
    assert len(heard.alerts) == 2


async def test_counters_are_compared_over_five_minutes(tmp_path: Path) -> None:
    """003-49: a key that was refused a while ago is no alert now."""
    heard, clock, refused = Heard(), Clock(), [0.0]
    watching = watch(heard, clock, lambda: readings(*calls(auth=refused[0])), tmp_path / "lock")
    await watching.look()
    assert heard.alerts == []
    refused[0] = 1.0
    for _ in range(4):
        clock.now += MEMORY / 4
        await watching.look()
    told = len(heard.alerts)
    assert told > 0
    clock.now += MEMORY
    await watching.look()
    clock.now += 1
    await watching.look()
    assert not [alert for alert in heard.alerts[told:] if OVER not in alert.facts]


async def test_one_of_several_processes_watches(tmp_path: Path) -> None:
    """003-49: the next one when it ends."""
    first, second = Role(tmp_path / "lock"), Role(tmp_path / "lock")
    assert (first.is_mine(), second.is_mine(), first.is_mine()) == (True, False, True)
    first.leave()
    assert second.is_mine()
    second.leave()


def alert(subject: str = "d0", **facts: Any) -> Alert:
    return Alert("breaker_open", subject, f"{subject} is <left> alone", datetime(2026, 9, 1, tzinfo=UTC), facts=facts)


@asynccontextmanager
async def bell(channels: dict[str, Channel], folder: Path, clock: Clock, repeat: float = 100) -> AsyncIterator[Bell]:
    made = Bell(channels, Book(folder / "alerts.json", repeat, clock), pauses=(0.01, 0.02))
    made.start()
    try:
        yield made
    finally:
        await made.close(60)


async def test_alerts_are_told_once(tmp_path: Path) -> None:
    """003-49: by all processes together, before and after a restart, until it is time to repeat."""
    heard, clock = Heard(), Clock()
    for _ in range(2):
        async with bell({"one": heard}, tmp_path, clock) as first, bell({"one": heard}, tmp_path, clock) as second:
            for ringing in (first, second, first):
                ringing.notify(alert())
        clock.now += 99
    assert len(heard.alerts) == 1
    async with bell({"one": heard}, tmp_path, clock) as again:
        again.notify(alert("d1"))
        clock.now += 1
        again.notify(alert())
    assert [one.subject for one in heard.alerts] == ["d0", "d1", "d0"]


async def test_an_end_is_told_if_its_beginning_was(tmp_path: Path) -> None:
    """003-49: and what begins again after it is new."""
    heard, clock = Heard(), Clock()
    async with bell({"one": heard}, tmp_path, clock) as ringing:
        for one in (alert("d1", over=True), alert(), alert(over=True), alert(over=True), alert()):
            ringing.notify(one)
    assert [OVER in one.facts for one in heard.alerts] == [False, True, False]


async def test_a_channel_that_fails_is_tried_again(tmp_path: Path) -> None:
    """003-49: and holds up no other."""
    broken, sound = Heard(faults=3), Heard()
    async with bell({"broken": broken, "sound": sound}, tmp_path, Clock()) as ringing:
        ringing.notify(alert())
    assert (len(broken.alerts), len(sound.alerts)) == (1, 1)


@pytest.mark.parametrize("content", [b"{", b"[1]", b'{"breaker_open d0": "yesterday"}'])
async def test_a_torn_file_is_no_reason_for_silence(tmp_path: Path, content: bytes) -> None:
    """003-49"""
    heard = Heard()
    (tmp_path / "alerts.json").write_bytes(content)
    async with bell({"one": heard}, tmp_path, Clock()) as ringing:
        ringing.notify(alert())
    assert len(heard.alerts) == 1


@dataclass
class Hook:
    """A web hook that keeps bodies; ``status`` is answered."""

    status: int = 200
    bodies: list[Any] = field(default_factory=list)
    url: str = ""

    async def take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        return web.Response(status=self.status, text="ok")


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    made = Hook()
    application = web.Application()
    application.router.add_post("/hook", made.take)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield made
    await runner.cleanup()


async def test_web_hooks_get_objects_and_slack_a_line(hook: Hook) -> None:
    """003-49, 001-57"""
    await Webhook(hook.url, "autumn").send(alert(used=0.9))
    await Slack(hook.url).send(alert())
    told, line = hook.bodies
    assert told == {
        "source": "lumni", "environment": "autumn", "name": "breaker_open", "subject": "d0", "severity": "warning",
        "over": False, "message": "d0 is <left> alone", "course": None, "raised_at": "2026-09-01T00:00:00+00:00",
        "facts": {"used": 0.9},
    }  # fmt: skip
    assert line == {"text": ":warning: *Lumni* d0 is &lt;left&gt; alone"}
    hook.status = 403
    with pytest.raises(Refused, match="status 403"):
        await Slack(hook.url).send(alert())


async def test_mail_arrives() -> None:
    """003-49, 001-57: one message to all; line ends in a name make no header."""
    async with mailbox() as box:
        await Email(f"smtp://{box.address}", "lumni@school.example", ("a@school.example", "b@x.example")).send(
            alert("d0\r\nBcc: all@school.example")
        )
    message = email.message_from_string(box.messages[0], policy=email.policy.default)
    assert message["To"] == "a@school.example, b@x.example"
    assert message["Subject"] == "[Lumni] warning: d0 Bcc: all@school.example is <left> alone"
    assert message["Bcc"] is None
    assert "breaker_open" in message.get_content()


async def test_a_password_goes_over_no_open_line() -> None:
    """003-49: a server that offers no encryption isn't given one."""
    async with mailbox("AUTH PLAIN") as box:
        with pytest.raises(Refused, match="no encryption"):
            await Email(f"smtp://me:secret@{box.address}", "a@b.example", ("c@d.example",)).send(alert())
    assert not [line for line in box.said if "AUTH" in line]
    assert box.messages == []


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, []),
        ({"alert_webhook_url": "https://x.example/a", "alert_slack_url": "https://y.example/b"}, ["webhook", "slack"]),
        ({"alert_smtp_url": "smtps://m.example", "alert_email_to": "a@b.example, c@d.example"}, ["e-mail"]),
        ({"alert_smtp_url": "smtps://m.example"}, []),
    ],
)
def test_channels_are_those_of_the_settings(given: dict[str, Any], names: list[str]) -> None:
    """001-57"""
    assert list(make_channels(Settings.model_validate(given))) == names


@pytest.mark.parametrize(
    ("status", "code", "words"), [(200, 0, "slack: sent"), (404, 1, "slack: not sent: status 404")]
)
async def test_the_test_says_what_came_back(
    hook: Hook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, code: int, words: str
) -> None:
    """003-49: `lumni alerts test`, without telling the address."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALERT_SLACK_URL", hook.url)
    hook.status = status
    result = await asyncio.to_thread(CliRunner().invoke, app, ["alerts", "test"])
    assert result.exit_code == code, result.output
    assert words in result.output
    assert hook.url not in result.output
    assert len(hook.bodies) == 1


def test_the_test_needs_a_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """003-49"""
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["alerts", "test"])
    assert (result.exit_code, "ALERT_SLACK_URL" in result.output) == (1, True)
