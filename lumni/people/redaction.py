"""Texts with what is personal blacked out: addresses, numbers, keys by their shape, and the names on a roster.

It is a help, not a proof: who describes herself without a name or a number is not noticed.
"""

import re
from collections.abc import Iterable

_SHAPES = (
    ("address", re.compile(r"\b\w+://[^/\s:@]+:[^/\s@]+@\S+")),  # a URL with a password
    # Keys as providers write them (a prefix and a long random word), JSON Web Tokens, PEM blocks.
    ("key", re.compile(r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)", re.DOTALL)),
    ("key", re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*")),
    ("key", re.compile(r"\b(?:sk|pk|rk|gsk|xai|ghp|gho|ghs|glpat|lumni|hf|nvapi|csk|key)[-_][\w-]{16,}")),
    ("key", re.compile(r"\b(?:AIza[\w-]{30,}|AKIA[A-Z0-9]{16}|github_pat_\w{20,})")),
    ("key", re.compile(r"(?i)\b(?:password|passwort|api[-_ ]?key|secret|token)\b\s*[:=]\s*\S+")),
    ("address", re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b")),
    ("address", re.compile(r"(?i)(?<![\w:])(?:[0-9a-f]{1,4}:){3,7}[0-9a-f]{1,4}(?![\w:])")),
    ("email", re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(?:\.[\w-]+)+")),
    ("account", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b")),  # IBAN, ISO 13616
    ("number", re.compile(r"(?<![\w.])(?:\d[ -]?){13,19}(?![\w.])")),  # payment cards, ISO/IEC 7812
    ("phone", re.compile(r"(?<![\w.+])(?:\+\d{1,3}|\(?0\d{1,5}\)?)[ ./-]?(?:\(?\d{1,5}\)?[ ./-]?){2,6}\d{2,}(?![\w])")),
)
SHORTEST_NAME = 3  # letters: shorter parts of names are words of too many languages


def redact(text: str, names: Iterable[str] = ()) -> str:
    """``text`` with each find as ``[email]``, ``[key]``, ``[name]``, … in its place.

    ``names`` are full names, with or without a comma; each of their parts is blacked out too, whatever its case.
    """
    for kind, shape in _SHAPES:
        text = shape.sub(f"[{kind}]", text)
    parts = {part for name in names for part in re.split(r"[\s,;]+", name) if len(part) >= SHORTEST_NAME}
    if parts:
        words = "|".join(re.escape(part) for part in sorted(parts, key=len, reverse=True))
        text = re.sub(rf"(?i)(?<!\w)(?:{words})(?!\w)", "[name]", text)
    return text
