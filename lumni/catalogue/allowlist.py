"""Allowlists: which deployments a course, a key or an assignment lets its students use.

An entry is any name that a request may use for a model, ``fast`` or ``powerful`` for a whole tier, ``provider/*`` for
all of a provider, or ``*`` for everything.
"""

from collections.abc import Iterable, Sequence

from lumni.catalogue.model import Catalogue, Deployment


def allowed(allowlists: Sequence[Sequence[str]], catalogue: Catalogue) -> frozenset[str] | None:
    """Ids of the enabled deployments that are on every list; ``None`` without any list: all."""
    if not allowlists:
        return None
    sets = ({d.id for name in names for d in _meant(name, catalogue)} for names in allowlists)
    return frozenset.intersection(*map(frozenset, sets))


def unknown(names: Iterable[str], catalogue: Catalogue) -> tuple[str, ...]:
    """The entries that mean no deployment of this catalogue, enabled or not."""
    known = {spelling for d in catalogue.deployments for spelling in _spellings(d)} | set(catalogue.aliases)
    return tuple(name for name in names if name not in known and not _meant(name, catalogue))


def _meant(name: str, catalogue: Catalogue) -> tuple[Deployment, ...]:
    if found := catalogue.resolve(name):
        return found
    if name in ("*", "auto"):
        return catalogue.enabled
    return tuple(d for d in catalogue.enabled if name in (d.tier, f"{d.provider}/*"))


def _spellings(deployment: Deployment) -> tuple[str, ...]:
    d = deployment
    return (d.group, d.id, d.model, d.model_id, f"{d.provider}/{d.model_id}", f"{d.provider}/*")
