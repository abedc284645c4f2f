"""What the configuration and the catalogue of free tiers say of a deployment's quota and of its account's terms."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from lumni.catalogue.free_tiers import UNKNOWN, FreeTier, known_free_tiers
from lumni.catalogue.limits import Stated, read_limits
from lumni.catalogue.model import Deployment, Terms
from lumni.catalogue.pooling import Quota
from lumni.catalogue.providers import LAB, Provider
from lumni.config_keys import did_you_mean
from lumni.files import Finding
from lumni.settings import AccountSettings, ProviderSettings

NOTHING_SAID = AccountSettings()


@dataclass
class Quotas:
    """``accounts`` is what is said of accounts, by label. Limits that can't be are gathered in ``faults``."""

    accounts: Mapping[str, AccountSettings] = field(default_factory=dict)
    faults: list[Finding] = field(default_factory=list)
    _labels: set[str] = field(default_factory=set)

    def attach(
        self,
        deployment: Deployment,
        where: str,
        provider: Provider,
        written: Mapping[str, Any],
        configured: ProviderSettings,
        *,
        own_server: bool,
    ) -> Deployment:
        """``deployment`` with its pools and terms. ``written`` are its entry's limits, ``where`` names the entry."""
        base = str(deployment.params.get("api_base") or "")
        tier = tier_at(provider, base)
        wish = str(deployment.info.get("account") or "")
        label = deployment.account if deployment.account in self.accounts or not wish else wish
        self._labels |= {deployment.account, label}
        about = self.accounts.get(label, NOTHING_SAID)
        quota = Quota(
            deployment.model_id,
            about.shared or (_holder(deployment, provider, base, own_server=own_server),),
            tier,
            tier.find(deployment.model_id) if deployment.free else None,
            entry=self._read(written, where, tier),
            account=self._read(about.limits, f"accounts.{label}.limits", tier),
            provider=self._read(configured.limits, f"providers.{provider.name}.limits", tier),
            shared=_names(deployment.info.get("shared")),
        )
        local = bool(provider.default_base) or provider.name == LAB
        return replace(
            deployment,
            pools=() if local and not quota.stated else quota.pools(),
            counts_max_tokens=tier.counts_max_tokens,
            terms=_terms(about),
        )

    def _read(self, written: Mapping[str, Any], where: str, tier: FreeTier) -> Stated:
        faults: list[Finding] = []
        stated = read_limits(written, where, faults, counting=tier.counting)
        self.faults += [fault for fault in faults if fault not in self.faults]
        return stated

    def unused(self) -> list[str]:
        """A warning for each account that is spoken of, but that no deployment uses."""
        return [
            f"accounts.{label} is no account of the model list. "
            + did_you_mean(label, self._labels, "`lumni models --json` names each deployment's account.")
            for label in self.accounts
            if label not in self._labels
        ]


def tier_at(provider: Provider, base: str) -> FreeTier:
    """How the provider counts and what it gives; at an address that isn't its own, only how it counts."""
    tier = known_free_tiers().get(provider.name, UNKNOWN)
    return tier if tier.is_at(base) else tier.elsewhere()


def _holder(deployment: Deployment, provider: Provider, base: str, *, own_server: bool) -> str:
    """Whose quota it is: the account's, or a server's where no key tells accounts apart."""
    keyless = provider.keyless and not deployment.params.get("api_key")
    return f"{deployment.account}@{urlsplit(base).netloc}" if base and (own_server or keyless) else deployment.account


def _names(shared: Any) -> tuple[str, ...]:
    if not shared:
        return ()
    return tuple(map(str, shared)) if isinstance(shared, list | tuple) else (str(shared),)


def _terms(about: AccountSettings) -> Terms:
    consent = f"{about.consent.by}, {about.consent.date.isoformat()}" if about.consent else ""
    return Terms(about.terms or "", about.owner or "", consent)
