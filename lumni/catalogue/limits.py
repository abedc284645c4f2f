"""A limit as somebody wrote it down: its names, its check, and where it comes from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, NamedTuple

from lumni.config_keys import did_you_mean
from lumni.files import Finding

Kind = Literal["requests", "tokens", "input_tokens", "output_tokens"]
Style = Literal["fixed", "sliding", "refilling"]
Provenance = Literal["configured", "catalogue"]

DAY = 86400
# A month that slides has 31 days: the longest, so that no calendar month can be exceeded.
PERIODS: Mapping[str, int] = {"second": 1, "minute": 60, "hour": 3600, "day": DAY, "month": 31 * DAY}
_PREFIXES: Mapping[Kind, str] = {"requests": "rp", "tokens": "tp", "input_tokens": "itp", "output_tokens": "otp"}


def _short(kind: Kind, period: str) -> str:
    return _PREFIXES[kind] + (period if period == "month" else period[0])


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


# ``rpm``, ``requests_per_minute`` and ``requestsPerMinute`` are one limit, named ``rpm`` here.
SHORT_NAMES: Mapping[str, tuple[Kind, int]] = {
    _short(kind, period): (kind, seconds) for kind in _PREFIXES for period, seconds in PERIODS.items()
}
_LONG_NAMES = {f"{kind}_per_{period}": _short(kind, period) for kind in _PREFIXES for period in PERIODS}
SPELLINGS: Mapping[str, str] = {
    **{name: name for name in SHORT_NAMES},
    **_LONG_NAMES,
    **{_camel(name): short for name, short in _LONG_NAMES.items()},
}
STYLES: Mapping[str, Style] = {"fixed": "fixed", "sliding": "sliding", "refilling": "refilling"}
STYLE = "style"  # stands among the limits that it is about
MEND = "Write how many are allowed, or remove it: what nobody states is learned from the provider"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``amount`` of ``kind`` in ``period`` seconds; ``None`` is unknown: counted, but nothing is refused.

    ``sliding`` holds in any such period, ``fixed`` from one reset of the clock to the next, a day from one midnight of
    ``zone`` to the next; a ``refilling`` one is a bucket. ``source`` says in words where it was written, ``as_of`` when
    that was true.
    """

    kind: Kind
    period: int
    amount: int | None
    style: Style = "sliding"
    zone: str = ""
    provenance: Provenance = "configured"
    source: str = ""
    as_of: date | None = None

    @property
    def name(self) -> str:
        """Its short name, such as ``rpm``."""
        return next(name for name, meant in SHORT_NAMES.items() if meant == (self.kind, self.period))

    @property
    def origin(self) -> str:
        """Where the number comes from, for people."""
        if self.provenance == "catalogue":
            return f"free tier catalogue {self.as_of}: {self.source}"
        return f"configured: {self.source}"


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """One quota that a deployment draws on. Whoever names the same pool draws on the same quota."""

    name: str
    limits: tuple[Limit, ...] = ()


class Counting(NamedTuple):
    """How a provider counts: the zone at whose midnight its days begin, whether only prompts are tokens, and how its
    windows move."""

    zone: str = ""
    input_only: bool = False
    style: Style = "sliding"

    def of(self, period: int, written: Style | None, *, known: bool) -> tuple[Style, str]:
        """Style and zone of a window; ``written`` is stronger. A bucket of unknown size can't be refilled."""
        zone = self.zone if period == DAY and written in (None, "fixed") else ""
        style = written or ("fixed" if zone else self.style)
        return style if known or style != "refilling" else "sliding", zone


PLAIN = Counting()
Stated = dict[str, Limit]
"""Limits by their short names."""


def read_limits(
    written: Mapping[str, Any],
    source: str,
    faults: list[Finding],
    *,
    counting: Counting = PLAIN,
    provenance: Provenance = "configured",
    as_of: date | None = None,
) -> Stated:
    """Limits by short name, from any spelling of their names. ``source`` names the place.

    What can't be a limit, an unknown name and one that is there twice are added to ``faults``. In a configuration
    ``None`` states nothing.
    """
    stated: Stated = {}
    chosen = _style(written, source, faults)
    for spelling, value in written.items():
        if spelling == STYLE:
            continue
        name = SPELLINGS.get(str(spelling))
        amount = _amount(value)
        if name is None:
            mend = did_you_mean(
                str(spelling), (*SHORT_NAMES, *_LONG_NAMES), "Use rps, rpm, rph, rpd, rpmonth, tpm, tph, tpd or tpmonth"
            )
            faults.append(Finding("error", f"{source}: `{spelling}` is no limit", mend))
        elif name in stated:
            faults.append(Finding("error", f"{source}: `{spelling}` states {name} a second time", "Remove one of them"))
        elif value is None and provenance == "configured":
            continue
        elif amount is None and value is not None:
            shown = value if isinstance(value, int | float) else "no number"
            faults.append(Finding("error", f"{source}: {spelling} is {shown}: no whole number above 0", MEND))
        else:
            kind, period = SHORT_NAMES[name]
            style, zone = counting.of(period, chosen, known=amount is not None)
            kind = "input_tokens" if counting.input_only and kind == "tokens" else kind
            stated[name] = Limit(kind, period, amount, style, zone, provenance, source, as_of)
    return stated


def _style(written: Mapping[str, Any], source: str, faults: list[Finding]) -> Style | None:
    style = written.get(STYLE)
    if style is not None and style not in STYLES:
        mend = did_you_mean(str(style), tuple(STYLES), f"Use {', '.join(STYLES)}")
        faults.append(Finding("error", f"{source}: {STYLE} `{style}` is no way for a window to move", mend))
    return STYLES.get(str(style))


def _amount(value: Any) -> int | None:
    """The whole number from 1 that ``value`` is or, coming from a variable, spells; else ``None``."""
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def limits_in(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """What of ``mapping``, which may hold other keys too, are limits, by short name."""
    return {SPELLINGS[name]: value for name, value in mapping.items() if name in SPELLINGS and value is not None}
