"""Looks at the metrics every few seconds, tells what rules find, and when it is over."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

from lumni.telemetry.alerts import OVER
from lumni.telemetry.alerts.locks import Role
from lumni.telemetry.alerts.readings import Readings, Span
from lumni.telemetry.alerts.rules import RULES, Found, Rule, Thresholds
from lumni.types import Alert, AlertSink

logger = logging.getLogger(__name__)

SECONDS = 15.0  # between two looks
MEMORY = 300.0  # seconds over which counters are compared
CALM = 300.0  # seconds without a finding after which an alert is over

Key = tuple[str, str]


class Watch:
    """Evaluates ``rules`` over what ``read`` returns. ``clock`` returns Unix time in seconds.

    Of several processes the one whose ``role`` it is watches; another takes over when it ends.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Readings]],
        sink: AlertSink,
        thresholds: Thresholds,
        role: Role,
        clock: Callable[[], float],
        rules: Sequence[Rule] = RULES,
    ) -> None:
        self._read = read
        self._sink = sink
        self._thresholds = thresholds
        self._role = role
        self._clock = clock
        self._rules = rules
        self._looks: deque[tuple[float, Readings]] = deque()
        self._since: dict[Key, float] = {}
        self._told: dict[Key, tuple[float, Rule, Found]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="alerts-watch")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
        self._role.leave()

    async def look(self) -> None:
        """One round, now."""
        now = self._clock()
        self._looks.append((now, await self._read()))
        while len(self._looks) > 1 and self._looks[1][0] <= now - MEMORY:
            self._looks.popleft()
        span = Span(self._looks[-1][1], self._looks[0][1])
        found = {
            (rule.name, one.subject): (rule, one) for rule in self._rules for one in rule.find(span, self._thresholds)
        }
        self._since = {key: self._since.get(key, now) for key in found}
        for key, (rule, one) in found.items():
            if now - self._since[key] >= rule.seconds:
                self._told[key] = (now, rule, one)
                self._sink.notify(self._alert(rule, one, now))
        for key, (last, rule, one) in list(self._told.items()):
            if now - last >= CALM:
                del self._told[key]
                self._sink.notify(self._end(rule, one, now))

    @staticmethod
    def _alert(rule: Rule, one: Found, now: float) -> Alert:
        moment = datetime.fromtimestamp(now, UTC)
        return Alert(rule.name, one.subject, one.message, moment, rule.severity, facts=one.facts)

    @staticmethod
    def _end(rule: Rule, one: Found, now: float) -> Alert:
        message = f"Over: {one.message}"
        return Alert(rule.name, one.subject, message, datetime.fromtimestamp(now, UTC), "info", facts={OVER: True})

    async def _run(self) -> None:
        while True:
            if self._role.is_mine():
                try:
                    await self.look()
                except Exception:
                    logger.exception("the metrics could not be watched")
            await asyncio.sleep(SECONDS)
