"""CPU time that each sink takes for one record, in microseconds: ``uv run python -m bench.sinks``."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lumni.catalogue.model import Catalogue, Deployment
from lumni.gateway.settlement import Sink
from lumni.settings import Settings
from lumni.storage.spool import Spool
from lumni.storage.writer import RecordWriter
from lumni.telemetry import log
from lumni.telemetry.log import LogSink
from lumni.telemetry.metrics import Metrics
from lumni.telemetry.portkey import make_portkey
from lumni.telemetry.recent import Recent
from lumni.types import Attempt, Outcome, RequestRecord

ROUNDS, RECORDS = 15, 2000
DEPLOYMENTS, PROVIDERS = 50, 10
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


class Begin:
    """What the spool does when a request begins."""

    def __init__(self, writer: RecordWriter) -> None:
        self.write = writer.begin


async def nowhere_to(_: object) -> None:
    """The database is not measured: that is not on the request's way."""


async def main() -> None:
    catalogue = Catalogue(
        tuple(
            Deployment(f"d{n}", f"g{n}", f"p{n % PROVIDERS}", "main", f"p{n % PROVIDERS}/m{n}", params={})
            for n in range(DEPLOYMENTS)
        )
    )
    with tempfile.TemporaryDirectory() as folder, Path("/dev/null").open("w", encoding="utf-8") as nowhere:
        given = {"data_dir": Path(folder), "portkey_api_key": "k", "portkey_enabled": True, "log_format": "json"}
        settings = Settings.model_validate(given)
        log.configure(settings, stream=nowhere)
        portkey = make_portkey(settings, catalogue)
        assert portkey is not None
        writer = RecordWriter(nowhere_to, queue=Spool(Path(folder) / "spool"))
        sinks: dict[str, Sink] = {
            "spool, begin": Begin(writer),
            "spool, end": writer,
            "Prometheus": Metrics(catalogue),
            "JSON figures": Recent(),
            "Portkey": portkey,
            "log": LogSink(catalogue),
        }
        for name, sink in sinks.items():
            print(f"{name:14}{microseconds(sink):7.1f} µs")


if __name__ == "__main__":
    asyncio.run(main())
