"""Everything the lab server remembers: accounts, their pools, what it counted, and how fast it answers."""

import hashlib
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from .faults import Fault, FaultQueue
from .limits import Limit, Pool, parse_limits
from .model import LabModel
from .profiles import Profile, default_profiles

LimitsMode = Literal["off", "default"] | Mapping[str, Mapping[str, Mapping[str, Any]]]
_LONGEST_NAME = 24


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds before the first token, seconds between tokens, and the share of both that chance may add."""

    latency: float = 0.0
    pace: float = 0.0
    jitter: float = 0.0


@dataclass(slots=True)
class Counts:
    """What happened to one account's calls to one model. ``over_limit`` calls and faults are part of ``refused``."""

    calls: int = 0
    ok: int = 0
    refused: int = 0
    over_limit: int = 0
    faults: int = 0
    disconnected: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(slots=True)
class Lab:
    """The server's state. ``clock`` is in seconds since the epoch."""

    seed: int = 0
    timing: Timing = field(default_factory=Timing)
    limits: LimitsMode = "default"
    any_model: bool = False
    profiles: dict[str, Profile] = field(default_factory=default_profiles)
    clock: Callable[[], float] = time.time
    model: LabModel = field(init=False)
    faults: FaultQueue = field(init=False)
    counts: dict[tuple[str, str, str], Counts] = field(default_factory=dict, init=False)
    calls: int = field(default=0, init=False)
    _pools: dict[tuple[str, str, str], Pool] = field(default_factory=dict, init=False)
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.limits = check_limits(self.limits)
        self.model = LabModel(self.seed, self.clock)
        self.faults = FaultQueue(self.seed)
        self._rng = random.Random(self.seed)

    def count(self, profile: str, account: str, model: str) -> Counts:
        return self.counts.setdefault((profile, account, model), Counts())

    def pools(self, profile: Profile, account: str, model: str) -> Pool:
        """The windows that this call draws on; models with a shared quota have one pool for all of them."""
        limits, shared = self._limits_for(profile, model)
        key = (profile.name, account, "*" if shared else model)
        if key not in self._pools:
            self._pools[key] = Pool(limits)
        return self._pools[key]

    def _limits_for(self, profile: Profile, model: str) -> tuple[Iterable[Limit], bool]:
        if self.limits == "off":
            return (), False
        if self.limits == "default":
            if profile.shared:
                return profile.shared, True
            return profile.models.get(model, ()), False
        given = self.limits.get(profile.name, {})
        if model in given:
            return parse_limits(dict(given[model])), False
        if "shared" in given:
            return parse_limits(dict(given["shared"])), True
        return parse_limits(dict(given.get("*", {}))), False

    def pause(self, seconds: float) -> float:
        """``seconds`` with the jitter that the seed gives."""
        return seconds * (1 + self.timing.jitter * self._rng.random()) if self.timing.jitter else seconds

    def configure(self, changes: dict[str, Any]) -> None:
        """Change limits (which empties the windows), timing or ``any_model``; ``ValueError`` changes nothing."""
        unknown = changes.keys() - {"limits", "latency", "pace", "jitter", "any_model"}
        if unknown:
            raise ValueError(f"unknown settings {', '.join(sorted(unknown))}")
        times = {name: changes[name] for name in ("latency", "pace", "jitter") if name in changes}
        for name, value in times.items():
            if not isinstance(value, int | float) or isinstance(value, bool) or value < 0:
                raise ValueError(f"{name} must be a number that is not negative, not {value!r}")
        limits = check_limits(changes["limits"]) if "limits" in changes else None
        self.timing = replace(self.timing, **times)
        self.any_model = bool(changes.get("any_model", self.any_model))
        if limits is not None:
            self.limits = limits
            self._pools.clear()

    def reset(self) -> None:
        """Forget all counts, windows and faults."""
        self.counts.clear()
        self._pools.clear()
        self.faults.clear()
        self.calls = 0

    def add_fault(self, fault: Fault) -> None:
        if fault.profile is not None and fault.profile not in self.profiles:
            raise ValueError(f"no profile {fault.profile!r}: there are {', '.join(self.profiles)}")
        self.faults.add(fault)

    def snapshot(self) -> dict[str, Any]:
        """The state as JSON: totals, then per profile, account and model, with the windows of each pool."""
        now = self.clock()
        profiles: dict[str, Any] = {}
        for (profile, account, model), counts in self.counts.items():
            accounts = profiles.setdefault(profile, {})
            accounts.setdefault(account, {"models": {}, "pools": {}})["models"][model] = asdict(counts)
        for (profile, account, pool_name), pool in self._pools.items():
            windows = [
                {
                    "limit": reading.limit.short,
                    "kind": reading.limit.kind,
                    "amount": reading.limit.amount,
                    "used": round(reading.used, 3),
                    "remaining": reading.remaining,
                    "reset_in": round(reading.reset_in, 3),
                }
                for reading in pool.readings(now)
            ]
            if windows and account in profiles.get(profile, {}):
                profiles[profile][account]["pools"][pool_name] = windows
        totals = asdict(sum_counts(self.counts.values()))
        settings = {**asdict(self.timing), "any_model": self.any_model, "seed": self.seed}
        return {"totals": totals, "profiles": profiles, "faults": self.faults.shown(), "settings": settings}


def sum_counts(counts: Iterable[Counts]) -> Counts:
    total = Counts()
    for one in counts:
        for name, value in asdict(one).items():
            setattr(total, name, getattr(total, name) + value)
    return total


def check_limits(given: Any) -> LimitsMode:
    """``off``, ``default`` or ``{profile: {model | "*" | "shared": {"rpm": …}}}``. Raises ``ValueError``."""
    if given == "off":
        return "off"
    if given == "default":
        return "default"
    if not isinstance(given, Mapping):
        raise ValueError("limits must be off, default or an object of profiles")
    known = default_profiles()
    for profile, models in given.items():
        if profile not in known:
            raise ValueError(f"no profile {profile!r}: there are {', '.join(known)}")
        if not isinstance(models, Mapping) or not all(isinstance(spec, Mapping) for spec in models.values()):
            raise ValueError(f"the limits of {profile} must be an object of models with their limits")
        for spec in models.values():
            parse_limits(dict(spec))
    return given


def account_of(key: str) -> str:
    """The account that a key belongs to: what stands before its first ``:``; long ones are shortened, as secrets."""
    account = key.partition(":")[0]
    if len(account) <= _LONGEST_NAME:
        return account
    return f"{account[:6]}…{hashlib.blake2b(account.encode(), digest_size=3).hexdigest()}"
