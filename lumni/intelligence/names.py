"""What a client's model name means: deployments in stages, and a helpful refusal of names that mean nothing."""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from lumni.catalogue.model import Catalogue, Deployment
from lumni.errors import ModelNotFound
from lumni.types import TaskType

AUTO = "auto"
TIERS: tuple[TaskType, ...] = ("fast", "powerful")
_TIERS: Mapping[str, TaskType] = {tier: tier for tier in TIERS}

SHOWN_CHARACTERS = 80
"""Of an unknown name, in messages."""


class Stage(NamedTuple):
    """Deployments that are tried before those of the next stage; ``strict`` keeps their order, else scores do it."""

    deployments: tuple[Deployment, ...]
    strict: bool


def is_automatic(requested: str, catalogue: Catalogue) -> bool:
    """Whether ``requested`` leaves the model to Lumni. A model group that the catalogue calls so has precedence."""
    name = catalogue.aliases.get(requested, requested)
    return name in (AUTO, *TIERS) and name not in catalogue.groups


def tier_of(requested: str, catalogue: Catalogue) -> TaskType | None:
    """``fast`` or ``powerful`` if that is what was requested by name."""
    name = catalogue.aliases.get(requested, requested)
    return None if name in catalogue.groups else _TIERS.get(name)


def stages(
    requested: str, task_type: TaskType | None, catalogue: Catalogue, *, fallback: bool, by_score: bool = True
) -> tuple[Stage, ...]:
    """The deployments, enabled or not, that may serve ``requested``, each in the first stage that names it.

    Under ``auto`` the score chooses among both tiers. Not ``by_score``, the tier of ``task_type`` comes first instead,
    and every stage keeps the model list's order.

    Raises:
        ModelNotFound: the name means nothing here, or only what is disabled.
    """
    if is_automatic(requested, catalogue):
        mixed = task_type is None or (by_score and tier_of(requested, catalogue) is None)
        found = [Stage(catalogue.deployments, False)] if mixed else list(_tiers(task_type, catalogue))
        return tuple(Stage(members, not by_score) for members, _ in found)
    members = catalogue.resolve(requested)
    if not members:
        raise not_found(requested, catalogue)
    name = catalogue.aliases.get(requested, requested)
    disabled = tuple(d for d in catalogue.deployments if not d.enabled and _is_called(d, name))
    found = [Stage(members + disabled, strict=True)]
    if fallback:
        groups = tuple(dict.fromkeys(member.group for member in members))
        found += [Stage(catalogue.groups.get(group, ()), strict=True) for group in groups]
        for target in _fallbacks((requested, name, *groups), catalogue):
            found += _target(target, catalogue)
    return tuple(Stage(members, strict or not by_score) for members, strict in _first_only(found))


def _tiers(task_type: TaskType | None, catalogue: Catalogue) -> Iterator[Stage]:
    for tier in sorted(TIERS, key=lambda tier: tier != task_type):
        yield Stage(tuple(d for d in catalogue.deployments if d.tier == tier), strict=False)


def _fallbacks(names: Iterable[str], catalogue: Catalogue) -> tuple[str, ...]:
    """As LiteLLM does it: the entry of the name itself, else the default entry ``*``."""
    return next((catalogue.fallbacks[name] for name in (*names, "*") if name in catalogue.fallbacks), ())


def _target(target: str, catalogue: Catalogue) -> Iterator[Stage]:
    tier = tier_of(target, catalogue)
    if tier is not None:
        yield Stage(tuple(d for d in catalogue.enabled if d.tier == tier), strict=False)
    elif is_automatic(target, catalogue):
        yield Stage(catalogue.enabled, strict=False)
    else:
        yield Stage(catalogue.resolve(target), strict=True)


def _first_only(found: Iterable[Stage]) -> Iterator[Stage]:
    seen: set[str] = set()
    for stage in found:
        fresh = tuple(d for d in stage.deployments if d.id not in seen)
        seen.update(d.id for d in fresh)
        yield Stage(fresh, stage.strict)


def _names(deployment: Deployment) -> tuple[str, ...]:
    d = deployment
    return (d.group, d.id, d.model, d.model_id, f"{d.provider}/{d.model_id}")


def _is_called(deployment: Deployment, name: str) -> bool:
    return name in _names(deployment)


def not_found(requested: str, catalogue: Catalogue) -> ModelNotFound:
    """The error for a name without enabled deployments: why it is disabled, or which names come near."""
    name = catalogue.aliases.get(requested, requested)
    shown = requested if len(requested) <= SHOWN_CHARACTERS else f"{requested[:SHOWN_CHARACTERS]}…"
    reasons = dict.fromkeys(d.disabled for d in catalogue.deployments if d.disabled and _is_called(d, name))
    if reasons:
        why = "; ".join(reason.rstrip(".") for reason in reasons)
        return ModelNotFound(f"The model '{shown}' exists, but can't be called: {why}.", param="model")
    known = [AUTO, *TIERS, *catalogue.aliases, *(known for d in catalogue.enabled for known in _names(d))]
    near = difflib.get_close_matches(requested[:SHOWN_CHARACTERS], list(dict.fromkeys(known)), n=3, cutoff=0.5)
    meant = f" Did you mean {' or '.join(repr(known) for known in near)}?" if near else ""
    return ModelNotFound(
        f"The model '{shown}' does not exist here.{meant} GET /v1/models lists all of them; 'auto' lets Lumni choose.",
        param="model",
    )
