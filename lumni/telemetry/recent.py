"""What happened of late, by provider: counts and percentiles over any window of up to a day."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from lumni.telemetry.names import NONE
from lumni.telemetry.sketch import Sketch
from lumni.types import Attempt, RequestRecord

MINUTE, QUARTER = 60, 900  # seconds: what is kept of the last hour, and of the last day
FINE = 60  # minutes that are kept one by one
LONGEST = 24 * 60  # minutes


@dataclass(slots=True)
class Tally:
    """Requests that one provider answered (``none``: that nobody did), and the calls that were made of it.

    Times are in milliseconds, costs in nano-USD.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    latency: Sketch = field(default_factory=Sketch)
    first_token: Sketch = field(default_factory=Sketch)
    calls: Counter[str] = field(default_factory=Counter)
    call_latency: Sketch = field(default_factory=Sketch)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    list_cost: int = 0
    billed_cost: int = 0

    def add(self, record: RequestRecord) -> None:
        self.outcomes[record.outcome] += 1
        self.latency.add(record.latency_ms)
        if record.ttft_ms is not None:
            self.first_token.add(record.ttft_ms)
        self.prompt_tokens += record.prompt_tokens
        self.completion_tokens += record.completion_tokens
        self.list_cost += record.list_cost or 0
        self.billed_cost += record.billed_cost or 0

    def called(self, attempt: Attempt) -> None:
        self.calls[attempt.outcome] += 1
        self.call_latency.add(attempt.duration_ms)

    @classmethod
    def merged(cls, tallies: "Iterable[Tally]") -> "Tally":
        parts = list(tallies)
        whole = cls(
            latency=Sketch.merged(part.latency for part in parts),
            first_token=Sketch.merged(part.first_token for part in parts),
            call_latency=Sketch.merged(part.call_latency for part in parts),
        )
        for part in parts:
            whole.outcomes.update(part.outcomes)
            whole.calls.update(part.calls)
            whole.prompt_tokens += part.prompt_tokens
            whole.completion_tokens += part.completion_tokens
            whole.list_cost += part.list_cost
            whole.billed_cost += part.billed_cost
        return whole


Tallies = dict[str, Tally]


@dataclass(frozen=True, slots=True)
class Window:
    """``tallies`` by provider of what ended from ``since`` to ``until`` (Unix time)."""

    since: float
    until: float
    tallies: Tallies


@dataclass(slots=True)
class _Slice:
    start: float
    tallies: Tallies = field(default_factory=dict)

    def of(self, provider: str) -> Tally:
        if (tally := self.tallies.get(provider)) is None:
            tally = self.tallies[provider] = Tally()
        return tally


class Recent:
    """A sink of records that remembers the last hour by the minute and the last day by the quarter of an hour.

    ``clock`` returns Unix time in seconds. Memory is bounded by the number of providers.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._began = clock()
        self._minutes: deque[_Slice] = deque(maxlen=FINE + 1)
        self._quarters: deque[_Slice] = deque(maxlen=LONGEST * MINUTE // QUARTER + 1)

    def write(self, record: RequestRecord) -> None:
        now = self._now()
        now.of(record.provider or NONE).add(record)
        for attempt in record.attempts:
            now.of(attempt.provider).called(attempt)

    def window(self, minutes: int) -> Window:
        """The last ``minutes`` (1 to ``LONGEST``) in whole slices: a part of one more than asked."""
        now = self._clock()
        since = now - minutes * MINUTE
        slices = [self._now()] if minutes > FINE else []
        kept, width = (self._quarters, QUARTER) if minutes > FINE else (self._minutes, MINUTE)
        first = since // width * width
        slices += [one for one in kept if one.start >= first]
        return Window(max(self._began, first), now, _together(slices))

    def _now(self) -> _Slice:
        """The running minute's slice; the one before is then also part of its quarter of an hour."""
        start = self._clock() // MINUTE * MINUTE
        if self._minutes and self._minutes[-1].start >= start:  # also if the clock was set back
            return self._minutes[-1]
        if self._minutes:
            self._fold(self._minutes[-1])
        self._minutes.append(_Slice(start))
        return self._minutes[-1]

    def _fold(self, minute: _Slice) -> None:
        start = minute.start // QUARTER * QUARTER
        if not self._quarters or self._quarters[-1].start < start:
            self._quarters.append(_Slice(start))
        quarter = self._quarters[-1]
        quarter.tallies = _together([quarter, minute])


def _together(slices: list[_Slice]) -> Tallies:
    names = dict.fromkeys(name for one in slices for name in one.tallies)
    return {name: Tally.merged(_of(slices, name)) for name in names}


def _of(slices: list[_Slice], name: str) -> Iterator[Tally]:
    return (one.tallies[name] for one in slices if name in one.tallies)
