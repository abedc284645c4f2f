"""Scripted faults: what goes wrong, for whom, how often."""

import random
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

FaultKind = Literal["status", "slow_first_token", "stall", "cut", "truncate", "malformed", "dead_key"]
KINDS: tuple[str, ...] = get_args(FaultKind)
_NUMBERS = {"status": int, "after": int, "times": int, "retry_after": float, "seconds": float, "probability": float}


@dataclass(slots=True)
class Fault:
    """One scripted fault.

    ``profile``, ``model`` and ``account`` narrow whom it meets (``None``: anyone), ``times`` how often (``None``:
    without end); ``probability`` is drawn from the lab's seed. ``status``, ``retry_after`` (seconds) and ``body``
    belong to ``status`` faults, ``seconds`` to the slow ones; ``after`` is how many deltas of a stream still arrive.
    """

    kind: FaultKind
    profile: str | None = None
    model: str | None = None
    account: str | None = None
    times: int | None = 1
    probability: float = 1.0
    status: int = 503
    retry_after: float | None = None
    body: Any = None
    seconds: float = 30.0
    after: int = 3
    hits: int = 0

    def meets(self, profile: str, model: str, account: str) -> bool:
        wanted = ((self.profile, profile), (self.model, model), (self.account, account))
        return self.times != 0 and all(asked is None or asked == given for asked, given in wanted)

    def shown(self) -> dict[str, Any]:
        return asdict(self)


_FIELDS = {field.name for field in fields(Fault)} - {"hits"}


def parse_fault(spec: dict[str, Any]) -> Fault:
    """A fault from its JSON form. Raises ``ValueError`` with what is wrong."""
    if spec.get("kind") not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {spec.get('kind')!r}")
    unknown = spec.keys() - _FIELDS
    if unknown:
        raise ValueError(f"unknown fields {', '.join(sorted(unknown))}: a fault has {', '.join(sorted(_FIELDS))}")
    for name, kind in _NUMBERS.items():
        value = spec.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kind | int) or value < 0):  # type: ignore[operator]
            raise ValueError(f"{name} must be a number that is not negative, not {value!r}")
    if not 200 <= spec.get("status", 503) <= 599:
        raise ValueError("status must be between 200 and 599")
    return Fault(**spec)


def parse_fault_option(text: str) -> Fault:
    """A fault from the command line: ``status:status=503,profile=groq,times=3``; ``times=forever`` never ends."""
    kind, _, rest = text.partition(":")
    spec: dict[str, Any] = {"kind": kind}
    for pair in filter(None, rest.split(",")):
        name, sign, value = pair.partition("=")
        if not sign:
            raise ValueError(f"{pair!r} is not name=value")
        if name == "times" and value == "forever":
            spec[name] = None
            continue
        try:
            spec[name] = _NUMBERS.get(name, str)(value)
        except ValueError:
            raise ValueError(f"{name} must be a number, not {value!r}") from None
    return parse_fault(spec)


class FaultQueue:
    """Faults in the order they were added; each call meets at most one."""

    def __init__(self, seed: int = 0) -> None:
        self._rng = random.Random(seed)
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()

    def take(self, profile: str, model: str, account: str) -> Fault | None:
        """The first fault that meets this call, counted as used; ``None`` when the call goes well."""
        for fault in self._faults:
            if not fault.meets(profile, model, account):
                continue
            if fault.probability < 1 and self._rng.random() >= fault.probability:
                continue
            fault.hits += 1
            if fault.times is not None:
                fault.times -= 1
            return fault
        return None

    def shown(self) -> list[dict[str, Any]]:
        """All faults, used up ones too, with their ``hits``."""
        return [fault.shown() for fault in self._faults]
