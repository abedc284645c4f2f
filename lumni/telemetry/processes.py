"""What several processes have each for itself, such as a queue, put together by files, one a process."""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import orjson
from prometheus_client.core import Metric
from prometheus_client.samples import Sample

SHARED_FOLDER = "LUMNI_METRICS_FOLDER"  # in the environment of processes that are to be seen together
SECONDS = 2.0  # between two looks of a process at itself
# Of these the worst process's value tells; all else is added up.
WORST = {
    "lumni_breaker_state": max,
    "lumni_store_up": min,
    "lumni_course_budget_used": max,
    "lumni_course_budget_limit": max,
}

# What samples of counters and histograms end with.
COUNTED = ("_total", "_bucket", "_count", "_sum")

Key = tuple[str, tuple[tuple[str, str], ...]]
Values = dict[Key, float]


def shared_folder() -> Path | None:
    """Where processes count together; ``None`` if there is but this one."""
    return Path(found) if (found := os.environ.get(SHARED_FOLDER)) else None


class Processes:
    """Writes what ``own`` returns into ``folder`` every few seconds, and reads what the others wrote.

    Counters and histograms of a process that is gone still count, so that sums never fall; its gauges don't.
    """

    def __init__(self, folder: Path, own: Callable[[], Sequence[Metric]], pid: int | None = None) -> None:
        self._folder = folder
        self._own = own
        self._pid = pid or os.getpid()
        self._path = folder / f"{self._pid}.json"
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.publish()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="processes")

    async def close(self) -> None:
        """Leave the last figures."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self.publish()

    def publish(self) -> None:
        """Write this process's figures now."""
        samples = [[s.name, s.labels, s.value] for family in self._own() for s in family.samples]
        made = self._path.with_suffix(f".{self._pid}.new")
        made.write_bytes(orjson.dumps(samples))
        made.replace(self._path)

    def together(self, own: Sequence[Metric]) -> list[Metric]:
        """``own`` with what the others published in them. This process publishes too: sums that were told don't fall,
        even if it dies in this moment."""
        with suppress(OSError):
            self.publish()
        values: Values = {}
        for sample in _samples(own):
            _merge(values, sample)
        for sample in self._others():
            _merge(values, sample)
        by_name: dict[str, list[Sample]] = {}
        for (name, labels), value in values.items():
            by_name.setdefault(_family_of(name), []).append(Sample(name, dict(labels), value))
        for family in own:
            family.samples = by_name.get(family.name, [])
        return list(own)

    def _others(self) -> Iterator[tuple[str, dict[str, str], float]]:
        for path in self._folder.glob("*.json"):
            if path == self._path:
                continue
            alive = _is_alive(int(path.stem))
            with suppress(OSError, ValueError):
                for name, labels, value in orjson.loads(path.read_bytes()):
                    if alive or name.endswith(COUNTED):
                        yield name, labels, value

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(SECONDS)
            with suppress(OSError):  # a full disk is no reason to stop
                self.publish()


def _samples(families: Iterable[Metric]) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in families:
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def _family_of(name: str) -> str:
    """The name of the family that a sample belongs to."""
    return name[: name.rindex("_")] if name.endswith(COUNTED) else name


def _merge(values: Values, sample: tuple[str, dict[str, str], float]) -> None:
    name, labels, value = sample
    key = (name, tuple(labels.items()))
    if key in values:
        worst = WORST.get(name)
        value = worst(values[key], value) if worst else values[key] + value
    values[key] = value


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
