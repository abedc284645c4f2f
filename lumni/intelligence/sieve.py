"""Who may serve a request: everybody else is excluded, with the reason."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from lumni.catalogue.allowlist import allowed
from lumni.catalogue.model import Catalogue, Deployment
from lumni.catalogue.terms import NOBODYS, is_nobodys, may_use
from lumni.errors import InvalidRequest, LumniError, ModelNotFound, PermissionDenied, UnsupportedFeature
from lumni.intelligence.model import Availability, Exclusion
from lumni.intelligence.needs import Misfit, Needs, is_chat, misfit, nobody_fits
from lumni.types import Role

REASONS_SHOWN = 3
NOT_LISTED = "it is not on the list of models of this course or key"


@dataclass(frozen=True, slots=True)
class Sieve:
    """Deployments that are left, in order, and those that were taken out."""

    left: tuple[Deployment, ...]
    excluded: tuple[Exclusion, ...] = field(default=())

    def without(self, reasons: Mapping[str, str]) -> "Sieve":
        """The sieve after excluding deployments by id, each for its reason."""
        if not reasons:
            return self
        out = tuple(Exclusion(d, reasons[d.id]) for d in self.left if d.id in reasons)
        return Sieve(tuple(d for d in self.left if d.id not in reasons), self.excluded + out)


def of_catalogue(deployments: Iterable[Deployment], requested: str) -> Sieve:
    """Without what is disabled or no chat model.

    Raises:
        ModelNotFound: nothing here is enabled.
        UnsupportedFeature: only models for other things than chat are left.
    """
    enabled = Sieve(tuple(deployments))
    enabled = enabled.without({d.id: d.disabled for d in enabled.left if not d.enabled})
    if not enabled.left:
        why = "; ".join(list(dict.fromkeys(out.reason for out in enabled.excluded))[:REASONS_SHOWN])
        message = f"No model is enabled that could serve '{requested}'{f': {why}' if why else '.'}"
        raise ModelNotFound(message, param="model")
    chat = enabled.without(
        {d.id: f"it is a model for {d.info['mode']}, not for chat" for d in enabled.left if not is_chat(d)}
    )
    if not chat.left:
        message = (
            f"'{requested}' is a model for {enabled.left[0].info['mode']}, not for chat. GET /v1/models lists all."
        )
        raise UnsupportedFeature(message, param="model")
    return chat


def listed(
    sieve: Sieve, requested: str, named: Container[str], allowlists: Sequence[Sequence[str]], catalogue: Catalogue
) -> Sieve:
    """Without what is not on each of the ``allowlists``.

    Raises:
        PermissionDenied: nothing is left, or nothing of what was asked for by name (``named``): that a fallback would
            be allowed doesn't count.
    """
    ids = allowed(allowlists, catalogue)
    if ids is None:
        return sieve
    left = sieve.without({d.id: NOT_LISTED for d in sieve.left if d.id not in ids})
    asked = [d for d in sieve.left if d.id in named] or sieve.left
    if not any(d.id in ids for d in asked):
        names = ", ".join(dict.fromkeys(name for names in allowlists for name in names))
        message = f"Your course doesn't allow '{requested[:80]}'. It allows: {names[:500]}. GET /v1/models lists them."
        raise PermissionDenied(message, code="model_not_allowed", param="model")
    return left


def permitted(sieve: Sieve, requested: str, named: Container[str], person: str | None, role: Role) -> Sieve:
    """Without personal accounts of others, and without those of nobody known whose ids are not among ``named``.

    Raises:
        PermissionDenied: nothing else is left.
    """
    reasons = {d.id: may_use(d, person, role) for d in sieve.left}
    reasons |= {d.id: NOBODYS for d in sieve.left if is_nobodys(d) and d.id not in named}
    left = sieve.without({id_: reason for id_, reason in reasons.items() if reason})
    if not left.left:
        message = f"Only personal accounts could serve '{requested}', and they serve nobody but their owners."
        raise PermissionDenied(message, param="model")
    return left


def known_provider(provider: str | None, catalogue: Catalogue) -> str | None:
    """The catalogue's spelling of ``provider``, ``None`` for none.

    Raises:
        InvalidRequest: no deployment has such a provider.
    """
    if not provider:
        return None
    known = tuple(dict.fromkeys(d.provider for d in catalogue.deployments))
    for name in known:
        if name.casefold() == provider.casefold():
            return name
    message = f"The provider '{provider[:80]}' is not known here. Known are: {', '.join(sorted(known))}."
    raise InvalidRequest(message, param="provider")


def only_provider(sieve: Sieve, provider: str, requested: str) -> Sieve:
    """Without all other providers, for a request that allows no fallback.

    Raises:
        InvalidRequest: that provider has nothing for it.
    """
    left = sieve.without(
        {d.id: f"it is not from {provider}, and fallback is off" for d in sieve.left if d.provider != provider}
    )
    if left.left:
        return left
    why = next((f" ({out.reason})" for out in sieve.excluded if out.deployment.provider == provider), "")
    others = ", ".join(dict.fromkeys(d.provider for d in sieve.left))
    message = f"The provider '{provider}' can't serve '{requested}' now{why}, and fallback is off. These can: {others}."
    raise InvalidRequest(message, param="provider")


def fitting(sieve: Sieve, needs: Needs) -> Sieve:
    """Without those that can't do what the request needs.

    Raises:
        UnsupportedFeature, ContextLengthExceeded, InvalidRequest: nobody can.
    """
    misfits: dict[str, Misfit] = {d.id: found for d in sieve.left if (found := misfit(d, needs))}
    left = sieve.without({id_: found.reason for id_, found in misfits.items()})
    if not left.left:
        error: LumniError = nobody_fits(needs, misfits.values())
        raise error
    return left


def within_limits(sieve: Sieve, known: Mapping[str, Availability]) -> Sieve:
    """Without those whose quota is smaller than the request. If all are, all stay, for the quota to say so."""
    unfit = {d.id: why for d in sieve.left if (why := known[d.id].unfit)}
    return sieve if len(unfit) == len(sieve.left) else sieve.without(unfit)


def available(sieve: Sieve, known: Mapping[str, Availability]) -> Sieve:
    """Without those that are blocked now. If all are, all stay: one may be free again before the deadline."""
    blocked = {d.id: _blocked(known[d.id]) for d in sieve.left if known[d.id].blocked}
    return sieve if len(blocked) == len(sieve.left) else sieve.without(blocked)


def _blocked(availability: Availability) -> str:
    until = availability.until
    return availability.blocked if until is None else f"{availability.blocked} (for another {until:,.0f} s)"
