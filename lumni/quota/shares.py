"""Who has received how much of late."""

from dataclasses import dataclass, field

from lumni.quota.model import Amounts

HALF_LIFE = 120.0  # seconds in which what was received counts half
TYPICAL_TOKENS = 1000  # a call of more tokens counts as so many calls of this size


def cost(need: Amounts) -> float:
    """What a call counts for: one, or more if it is larger than a typical one."""
    return max(1.0, (need.input_tokens + need.output_tokens) / TYPICAL_TOKENS)


@dataclass(slots=True)
class Shares:
    """Received capacity a student, forgotten exponentially. Times are seconds of any one clock."""

    half_life: float = HALF_LIFE
    _received: dict[str, tuple[float, float]] = field(default_factory=dict)

    def add(self, student: str, amount: float, now: float) -> None:
        self._received[student] = (self.of(student, now) + amount, now)
        if len(self._received) > 10_000:
            self._received = {who: entry for who, entry in self._received.items() if self.of(who, now) > 0.01}

    def of(self, student: str, now: float) -> float:
        amount, at = self._received.get(student, (0.0, now))
        return float(amount * 0.5 ** ((now - at) / self.half_life))

    def part(self, student: str, now: float) -> float:
        """The student's part of what all received, in [0, 1]."""
        total = sum(self.of(who, now) for who in self._received)
        return self.of(student, now) / total if total else 0.0
