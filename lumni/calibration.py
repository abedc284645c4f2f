"""What a class has taught the classifier: votes and outcomes on record, and the correction made from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from lumni.types import TaskType

Choice = Literal["a", "b", "tie", "neither"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """A course's correction of the log-odds that the weak tier fails: ``shift`` + ``slope`` × what the weights say.

    It holds for the ``weights`` it was made with, named by their id, and for no others. ``figures`` say what it was
    made from and how good it was. A course's versions count from 1, the last one holds, and none is ever changed.
    """

    course: str
    version: int
    created_at: datetime
    actor: str
    weights: str
    slope: float = 1.0
    shift: float = 0.0
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def line(self) -> tuple[str, int, str, float, float]:
        """All of it that a classification shows or depends on."""
        return self.course, self.version, self.weights, self.slope, self.shift

    def corrected(self, log_odds: float) -> float:
        return self.shift + self.slope * log_odds


@dataclass(frozen=True, slots=True)
class BlindPair:
    """Two answers to one question, one of each tier, shown as ``a`` and ``b`` without saying which is which.

    ``first`` is the tier of ``a``. Whose it is, and of which course, its requests' records say.
    """

    id: str
    created_at: datetime
    fast_request: str
    powerful_request: str
    first: TaskType
    choice: Choice | None = None
    voted_at: datetime | None = None

    def tier_of(self, label: Literal["a", "b"]) -> TaskType:
        other: TaskType = "powerful" if self.first == "fast" else "fast"
        return self.first if label == "a" else other


class Told(NamedTuple):
    """One answered request, as far as it can teach: ``person`` asked, ``tier`` answered.

    ``weights`` judged it and said ``weak_fails`` and ``gain``, before any correction: all that is known of what was
    asked. ``thumb`` is -1, 0 or 1 with its ``sureness`` in [0, 1]. ``choice`` is the tier that was better in a blind
    pair, if it was part of one; ``tie`` and ``neither`` if none was.
    """

    request_id: str
    at: datetime
    person: str
    tier: TaskType
    weights: str
    weak_fails: float
    gain: float
    thumb: int = 0
    sureness: float = 1.0
    paired: bool = False
    choice: TaskType | Literal["tie", "neither"] | None = None
