"""What plans have in common, found out once. Bounded, and without a word of what anybody asked."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from lumni.intelligence.classify import Opinion
    from lumni.intelligence.slate import Question, Slate

K = TypeVar("K")
V = TypeVar("V")

MOST_SLATES = 256
MOST_OPINIONS = 1024


class Bounded(dict[K, V]):
    """At most ``most`` things: once it is full, it begins anew."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def recall(self, key: K, make: Callable[[], V]) -> V:
        """What is known under ``key``; made, and kept, if nothing is."""
        known = self.get(key)
        if known is None:
            known = make()
            if len(self) >= self._most:
                self.clear()
            self[key] = known
        return known


@dataclass(frozen=True, slots=True)
class Memory:
    """For plans over one catalogue and one table of scores, neither of which ever changes.

    ``slates`` are by all that they depend on; ``opinions`` by a hash of it, since it includes what was said.
    """

    slates: "Bounded[Question, Slate]" = field(default_factory=lambda: Bounded(MOST_SLATES))
    opinions: "Bounded[int, Opinion]" = field(default_factory=lambda: Bounded(MOST_OPINIONS))
