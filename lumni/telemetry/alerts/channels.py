"""The ways by which alerts reach people: any web hook, Slack and what speaks its language, e-mail."""

import asyncio
import smtplib
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Protocol
from urllib.parse import unquote, urlsplit

import httpx

from lumni.settings import Settings
from lumni.telemetry.alerts import OVER
from lumni.types import Alert, Json

SECONDS = 15.0  # for one delivery
SIGNS = {"critical": ":rotating_light:", "warning": ":warning:", "info": ":white_check_mark:"}
SMTP_PORTS = {"smtp": 587, "smtps": 465}


class Refused(Exception):
    """The other side didn't take an alert; the message names no address and no secret."""


class Channel(Protocol):
    """Delivers one alert, or raises."""

    async def send(self, alert: Alert) -> None: ...


class Webhook:
    """Posts the alert as a JSON object."""

    def __init__(self, url: str, environment: str) -> None:
        self._url = url
        self._environment = environment

    async def send(self, alert: Alert) -> None:
        await _post(self._url, self._body(alert))

    def _body(self, alert: Alert) -> Json:
        return {
            "source": "lumni",
            "environment": self._environment,
            "name": alert.name,
            "subject": alert.subject,
            "severity": alert.severity,
            "over": OVER in alert.facts,
            "message": alert.message,
            "course": alert.course,
            "raised_at": alert.raised_at.isoformat(),
            "facts": dict(alert.facts),
        }


class Slack:
    """Posts a line to an incoming web hook, as Slack, Mattermost, Rocket.Chat and Discord (``/slack``) take it."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def send(self, alert: Alert) -> None:
        text = alert.message.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        await _post(self._url, {"text": f"{SIGNS[alert.severity]} *Lumni* {text}"})


class Email:
    """Sends a plain message by an ``smtp://`` (with STARTTLS, if offered) or ``smtps://`` server.

    A password is never sent over a connection that isn't encrypted.
    """

    def __init__(self, url: str, sender: str, recipients: tuple[str, ...]) -> None:
        self._server = urlsplit(url)
        self._sender = sender
        self._recipients = recipients

    async def send(self, alert: Alert) -> None:
        await asyncio.to_thread(self._send, self._message(alert))

    def _message(self, alert: Alert) -> EmailMessage:
        message = EmailMessage()
        message["Subject"] = " ".join(f"[Lumni] {alert.severity}: {alert.message}".split())
        message["From"], message["To"] = self._sender, ", ".join(self._recipients)
        facts = "".join(f"{name}: {value}\n" for name, value in alert.facts.items())
        about = f"{alert.name}: {alert.subject}\nsince {alert.raised_at.isoformat(timespec='seconds')}"
        message.set_content(f"{alert.message}\n\n{about}\n{facts}")
        return message

    def _send(self, message: EmailMessage) -> None:
        server, safe = self._server, ssl.create_default_context()
        host, port = server.hostname or "", server.port or SMTP_PORTS[server.scheme]
        if server.scheme == "smtps":
            client: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=SECONDS, context=safe)
        else:
            client = smtplib.SMTP(host, port, timeout=SECONDS)
        with client:
            client.ehlo()
            encrypted = server.scheme == "smtps"
            if not encrypted and client.has_extn("starttls"):
                client.starttls(context=safe)
                encrypted = True
            if server.username:
                if not encrypted:
                    raise Refused("the mail server offers no encryption, so the password wasn't sent")
                client.login(unquote(server.username), unquote(server.password or ""))
            client.send_message(message)


async def _post(url: str, body: Json) -> None:
    try:
        async with httpx.AsyncClient(timeout=SECONDS) as client:
            answer = await client.post(url, json=body)
    except httpx.HTTPError as error:
        raise Refused(f"no answer ({type(error).__name__})") from None
    if not answer.is_success:
        raise Refused(f"status {answer.status_code}")


def make_channels(settings: Settings) -> Mapping[str, Channel]:
    """Those that the settings name, by their names."""
    channels: dict[str, Channel] = {}
    if settings.alert_webhook_url:
        channels["webhook"] = Webhook(settings.alert_webhook_url.get_secret_value(), settings.portkey_environment)
    if settings.alert_slack_url:
        channels["slack"] = Slack(settings.alert_slack_url.get_secret_value())
    if settings.alert_smtp_url and settings.alert_email_to:
        url = settings.alert_smtp_url.get_secret_value()
        channels["e-mail"] = Email(url, settings.alert_email_from, settings.alert_email_to)
    return channels


async def try_each(channels: Mapping[str, Channel]) -> dict[str, str]:
    """Send a test by each; what went wrong, by channel."""
    alert = Alert("test", "lumni alerts test", "This is a test: alerts arrive here.", datetime.now(UTC), "info")
    failed = {}
    for name, channel in channels.items():
        try:
            await channel.send(alert)
        except (Refused, OSError, smtplib.SMTPException, httpx.InvalidURL) as error:
            failed[name] = f"not sent: {error}" if isinstance(error, Refused) else f"not sent: {type(error).__name__}"
    return failed
