"""Which account a deployment draws on, and whether its key is there."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lumni.catalogue.providers import Provider
from lumni.files import references, substitute

_SUFFIX = re.compile(r"_?(API_)?(KEY|TOKEN)(?=_|$)")


@dataclass(frozen=True, slots=True)
class Key:
    """An API key and the variable it came from; both are empty where there is none. ``wanted`` is what to set then."""

    value: str = field(repr=False)
    variable: str = ""
    wanted: str = ""


def find_key(raw: Any, provider: Provider, configured: str, environ: Mapping[str, str]) -> Key:
    """The key of an entry: what it says itself, else ``config.json``'s, else the provider's usual variables.

    An entry that names one usual variable is content with another one of the same provider.
    """
    named = references(raw)
    written = substitute(raw, environ).value
    if isinstance(written, str) and written:
        return Key(written, named[0] if named else "")
    usual = provider.keys if raw is None or not named or named[0] in provider.keys else ()
    wanted = named[0] if named else next(iter(provider.keys), "")
    if configured:
        return Key(configured, "", wanted)
    variable = next((name for name in usual if environ.get(name)), "")
    return Key(environ.get(variable, ""), variable, wanted)


def label_of(variable: str, provider: Provider) -> str:
    """A readable name for the account of a variable: ``GROQ_API_KEY_2`` is ``groq-2``, a usual one the provider's."""
    if not variable or variable in provider.keys:
        return provider.name
    return _SUFFIX.sub("", variable).strip("_").lower().replace("_", "-") or provider.name


@dataclass
class Accounts:
    """Gives every key its label: one label for each key, one key for each label, never a part of the key."""

    _labels: dict[tuple[str, str], str] = field(default_factory=dict)

    def label(self, key: Key, provider: Provider, wish: str = "") -> str:
        """``wish`` is a label that the entry states itself. The same key under two variables is one account."""
        known = self._labels.get((provider.name, key.value))
        if known and key.value:
            return known
        base = wish or label_of(key.variable or key.wanted, provider)
        if not key.value:
            return base
        taken = set(self._labels.values())
        label = next(name for name in (base, *(f"{base}-{n}" for n in range(2, len(taken) + 3))) if name not in taken)
        self._labels[provider.name, key.value] = label
        return label
