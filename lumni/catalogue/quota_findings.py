"""What a check of the configuration sees of limits, shared quotas and the terms of accounts."""

from collections.abc import Iterator, Mapping

from lumni.catalogue.limits import Limit
from lumni.catalogue.model import Catalogue, Deployment
from lumni.catalogue.providers import provider_named
from lumni.catalogue.quotas import tier_at
from lumni.files import Finding

CONSENT_SHOWN = "Once its owner agrees, write `consent: {date: …, by: …}` below lumni_settings.accounts"


def quota_findings(catalogue: Catalogue) -> Iterator[Finding]:
    """Of enabled deployments only; in the order of the accounts."""
    accounts: dict[str, list[Deployment]] = {}
    for deployment in catalogue.enabled:
        accounts.setdefault(deployment.account, []).append(deployment)
    for account, members in accounts.items():
        yield from _terms(account, members[0])
        yield from _origins(account, members)
    yield from _holders(accounts)
    yield from _conflicts(catalogue)


def _terms(account: str, member: Deployment) -> Iterator[Finding]:
    terms = member.terms
    mend = f"Write `owner:` below lumni_settings.accounts.{account}: a student or a label"
    if terms.kind == "personal" and not terms.owner:
        yield Finding("warning", f"{account}: a personal account needs an owner, whom alone it serves", mend)
    elif member.info.get("personal") and not terms.owner:
        yield Finding("ok", f"{account} is personal: it answers the unified key when asked for by name", mend)
    if terms.kind in ("class", "organization") and not terms.consent:
        why = tier_at(
            provider_named(member.model.split("/")[0]), str(member.params.get("api_base") or "")
        ).needs_consent
        if why:
            yield Finding("warning", f"{account} serves a {terms.kind} without consent: {why}", CONSENT_SHOWN)


def _origins(account: str, members: list[Deployment]) -> Iterator[Finding]:
    """Where an account's limits come from, and whose are unknown."""
    pooled = [member for member in members if member.pools]
    origins = sorted({limit.origin for member in pooled for limit in member.limits if limit.amount is not None})
    unknown = [member.id for member in pooled if not any(limit.amount for limit in member.limits)]
    parts = [*origins, *([f"learned from answers for {', '.join(unknown)}"] if unknown else [])]
    if parts:
        yield Finding("ok", f"Limits of {account}: {'; '.join(parts)}")


def _holders(accounts: Mapping[str, list[Deployment]]) -> Iterator[Finding]:
    """Several keys of one provider may be one account to it."""
    keys: dict[tuple[str, str], list[str]] = {}
    for account, members in accounts.items():
        name = members[0].model.split("/")[0]
        holder = tier_at(provider_named(name), str(members[0].params.get("api_base") or "")).holder
        own = any(f"{pool.name}/".startswith(f"{account}/") for pool in members[0].pools)
        if holder != "account" and own:
            keys.setdefault((name, holder), []).append(account)
    for (name, counted), several in keys.items():
        if len(several) > 1:
            what = f"{provider_named(name).label} counts by {counted}, and there are {len(several)} accounts"
            mend = f"If some are of one {counted}, give them the same `shared:` name: {', '.join(several)}"
            yield Finding("ok", what, mend)


def _conflicts(catalogue: Catalogue) -> Iterator[Finding]:
    """Different numbers for one window of a shared quota: the smallest holds, which may not be what was meant."""
    stated: dict[tuple[str, str], list[Limit]] = {}
    for deployment in catalogue.enabled:
        for pool in deployment.pools:
            for limit in pool.limits:
                if limit.provenance == "configured":
                    stated.setdefault((pool.name, limit.name), []).append(limit)
    for (pool_name, name), limits in stated.items():
        amounts = sorted({limit.amount for limit in limits if limit.amount is not None})
        if len(amounts) > 1:
            places = ", ".join(dict.fromkeys(limit.source for limit in limits))
            what = f"{pool_name} has {' and '.join(map(str, amounts))} as its {name}: {amounts[0]} holds"
            yield Finding("warning", what, f"They draw on one quota: state it once, or alike ({places})")
