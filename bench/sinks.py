"""CPU time of seeing what happens, in microseconds for one request: ``uv run python -m bench.sinks``.

Each sink's own; and that of sending, by a process that gets batches: both are the gateway's.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lumni.catalogue.model import Catalogue, Deployment
from lumni.gateway.case import Sink
from lumni.settings import Settings
from lumni.storage.spool import Spool
from lumni.storage.writer import RecordWriter
from lumni.telemetry import log
from lumni.telemetry.log import LogSink
from lumni.telemetry.metrics import Metrics
from lumni.telemetry.outbox import Outbox
from lumni.telemetry.portkey import make_portkey
from lumni.telemetry.recent import Recent
from lumni.telemetry.traces import begin, make_traces
from lumni.types import Attempt, ChatRequest, Outcome, RequestRecord

ROUNDS, RECORDS = 15, 2000
DEPLOYMENTS, PROVIDERS = 50, 10
STEPS = (
    ("read", 0.2), ("admission", 0.4), ("prompt", 0.41), ("plan", 0.9), ("budget", 1.0), ("lease", 2.5),
    ("upstream", 300.0),
)  # fmt: skip
OPTIONS = [[f"d{n}", "p0", "p0/m0", [0.5] * 9, [0.25] * 5, True, n, None, None] for n in range(10)]


def records() -> Iterator[RequestRecord]:
    """A class's traffic: streams, one in ten with a failed call before the answer."""
    for number in range(RECORDS):
        one = number % DEPLOYMENTS
        provider, model = f"p{one % PROVIDERS}", f"p{one % PROVIDERS}/m{one}"
        good = Attempt(f"d{one}", provider, model, Outcome.OK, 2.0, 300.0 + number % 700, 200)
        bad = Attempt("d0", "p0", "p0/m0", Outcome.UNAVAILABLE, 1.0, 50.0, 503)
        yield RequestRecord(
            request_id=f"req_{number:032x}", created_at=datetime(2026, 9, 1, 12, tzinfo=UTC), surface="chat",
            key_id="key-1", requested_model="auto", outcome=Outcome.OK, status=200, stream=True, student="ada",
            course="course", task_type="fast", confidence=0.87, deployment=f"d{one}", provider=provider, model=model,
            finish_reason="stop", prompt_tokens=200, completion_tokens=150, list_cost=90_000, billed_cost=0,
            latency_ms=900.0 + number % 900, queued_ms=1.5, ttft_ms=300.0 + number % 700,
            trace=begin(None, 1.0), steps=STEPS,
            decision={"requested": "auto", "options": OPTIONS}, attempts=(bad, good) if number % 10 == 0 else (good,),
        )  # fmt: skip


def microseconds(sink: Sink) -> float:
    """The median over the rounds of the CPU time a record."""
    some = list(records())
    found = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for record in some:
            sink.write(record)
        found.append((time.process_time() - began) / len(some) * 1e6)
    return statistics.median(found)


async def sending(outbox: Outbox) -> float:
    """CPU time an entry, of all that wait in an outbox."""
    entries, began = outbox.pending, time.process_time()
    outbox.start()
    while outbox.sent.delivered < entries:
        await asyncio.sleep(0.01)
    return (time.process_time() - began) / entries * 1e6


# Takes whatever it is sent, and says so.
TAKER = """
import http.server
class Taker(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taker)
print(server.server_port, flush=True)
server.serve_forever()
"""


class Told:
    """The log's events of one request, from its arrival on."""

    def __init__(self, sink: LogSink) -> None:
        self._sink = sink

    def write(self, record: RequestRecord) -> None:
        self._sink.begin(ChatRequest(record.request_id, {}, "auto", record.created_at, 0.0, 60.0, stream=True))
        self._sink.write(record)


class Begin:
    """What the spool does with requests that have begun and go on, a hundred at a time."""

    def __init__(self, writer: RecordWriter) -> None:
        self._writer = writer
        self._number = 0

    def write(self, record: RequestRecord) -> None:
        self._writer.begin(ChatRequest(record.request_id, {}, "auto", record.created_at, 0.0, 60.0), lambda: record)
        self._number += 1
        if self._number % 100 == 0:
            self._writer.note_begun()


async def nowhere_to(_: object) -> None:
    """The database is not measured: that is not on the request's way."""


async def main() -> None:
    taker = subprocess.Popen([sys.executable, "-c", TAKER], stdout=subprocess.PIPE, text=True)
    try:
        assert taker.stdout is not None
        await measure(f"http://127.0.0.1:{taker.stdout.readline().strip()}")
    finally:
        taker.kill()
        taker.wait()


async def measure(address: str) -> None:
    catalogue = Catalogue(
        tuple(
            Deployment(f"d{n}", f"g{n}", f"p{n % PROVIDERS}", "main", f"p{n % PROVIDERS}/m{n}", params={})
            for n in range(DEPLOYMENTS)
        )
    )
    with tempfile.TemporaryDirectory() as folder, Path("/dev/null").open("w", encoding="utf-8") as nowhere:
        given = {
            "data_dir": Path(folder), "portkey_api_key": "k", "portkey_enabled": True, "portkey_base_url": address,
            "otel_exporter_otlp_endpoint": address, "log_format": "json",
        }  # fmt: skip
        settings = Settings.model_validate(given)
        events = log.configure(settings, stream=nowhere).events
        assert events is not None
        events.start()
        portkey, traces = make_portkey(settings, catalogue), make_traces(settings, catalogue)
        assert portkey is not None
        assert traces is not None
        writer = RecordWriter(nowhere_to, queue=Spool(Path(folder) / "spool"))
        sinks: dict[str, Sink] = {
            "spool, begin": Begin(writer),
            "spool, end": writer,
            "Prometheus": Metrics(catalogue),
            "JSON figures": Recent(),
            "Portkey": portkey,
            "traces": traces,
            "log": Told(LogSink(catalogue, events)),
        }
        taken = {name: microseconds(sink) for name, sink in sinks.items()}
        # One request in ten has a second log, of the call that failed.
        taken["Portkey, sent"] = 1.1 * await sending(portkey.outbox)
        taken["traces, sent"] = await sending(traces.outbox)
        for name, cost in (*taken.items(), ("all", sum(taken.values()))):
            print(f"{name:14}{cost:7.1f} µs")
        for outbox in (portkey.outbox, traces.outbox):
            await outbox.close()


if __name__ == "__main__":
    asyncio.run(main())
