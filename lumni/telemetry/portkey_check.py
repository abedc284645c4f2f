"""Whether Portkey takes a log of ours, and what it says if not."""

import secrets
from datetime import UTC, datetime
from typing import NamedTuple

import httpx
import orjson

from lumni.catalogue.model import Catalogue
from lumni.settings import Settings
from lumni.telemetry.outbox import Outbox
from lumni.telemetry.portkey import PortkeySink, headers_of, is_wanted, logs_url
from lumni.types import Outcome, RequestRecord

SECONDS = 15.0
SHOWN = 300  # characters of an answer


class Report(NamedTuple):
    """``lines`` tell what was sent, what came back and what to do; none holds the key."""

    taken: bool
    lines: tuple[str, ...]


async def send_one(settings: Settings, catalogue: Catalogue) -> Report:
    """Send one log, marked as a test, by the address and key of ``settings``."""
    if not headers_of(settings)["x-portkey-api-key"]:
        return Report(False, ("No key: set PORTKEY_API_KEY, in .env for example.",))
    url, record = logs_url(settings), _record()
    outbox = Outbox("Portkey", url, {}, settings.data_dir / "portkey.spill")
    sink = PortkeySink(outbox, catalogue, secrets.token_bytes(32), settings.portkey_environment)
    try:
        async with httpx.AsyncClient(timeout=SECONDS) as client:
            content = orjson.dumps(sink.entries(record))
            headers = {"content-type": "application/json", **headers_of(settings)}
            answer = await client.post(url, content=content, headers=headers)
    except httpx.HTTPError as error:
        return Report(False, (f"{url} could not be reached: {type(error).__name__}.",))
    lines = [f"{url} answered with status {answer.status_code}: {' '.join(answer.text.split())[:SHOWN]}"]
    if answer.status_code in (401, 403):
        lines.append("The key is wrong, or may not write logs.")
    if not answer.is_success:
        return Report(False, tuple(lines))
    lines.append(f"The log is there under the trace id {record.request_id}.")
    if not is_wanted(settings, catalogue):
        lines.append('Requests are not sent yet: add success_callback: ["portkey"], or set PORTKEY_ENABLED=true.')
    return Report(True, tuple(lines))


def _record() -> RequestRecord:
    return RequestRecord(
        request_id=f"check_{secrets.token_hex(8)}",
        created_at=datetime.now(UTC),
        surface="portkey check",
        key_id="lumni portkey check",
        requested_model="auto",
        outcome=Outcome.OK,
        status=200,
        stream=False,
        deployment="none",
        provider="openai",
        model="openai/lumni-check",
        latency_ms=1.0,
    )
