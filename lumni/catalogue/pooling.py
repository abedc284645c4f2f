"""Which quotas a deployment draws on. Pools are told apart by name, so whoever has the same name shares one."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from lumni.catalogue.free_tiers import FreeTier, Match
from lumni.catalogue.limits import PoolLimits, Stated


@dataclass(frozen=True)
class Quota:
    """What is known of one deployment's quota.

    ``holders`` are the account, or the names of the quotas that it shares with others. ``tier`` is how the provider
    counts, ``match`` its free tier's line for the model. ``entry``, ``account`` and ``provider`` are the limits that an
    entry, its account and ``config.json`` state; ``shared`` names quotas that the entry shares with others.
    """

    model_id: str
    holders: Sequence[str]
    tier: FreeTier
    match: Match | None = None
    entry: Stated = field(default_factory=dict)
    account: Stated = field(default_factory=dict)
    provider: Stated = field(default_factory=dict)
    shared: Sequence[str] = ()

    @property
    def stated(self) -> bool:
        """Whether anybody wrote a limit down."""
        return bool(self.entry or self.account or self.provider)

    def pools(self) -> tuple[PoolLimits, ...]:
        """The narrowest first: the model's, the free tier's, the whole account's.

        * An entry's limits are its model's, or those of the quotas that it shares.
        * A provider's are those of whatever the provider counts by; they replace the catalogue's.
        * An account's hold for all its models together; they replace what the catalogue says of an account.
        """
        wide = "account" in self.tier.scope
        known = self.match.limits if self.match else {}
        model = self.entry if wide else {**known, **self.provider, **self.entry}
        pools: list[tuple[str, Stated]] = []
        if "model" in self.tier.scope or model or self.shared or not self.match:
            pools += [(name, model) for name in self.shared or [f"{holder}/{self.model_id}" for holder in self.holders]]
        for holder in self.holders:
            if wide and self.match:
                own = {name: limit for name, limit in known.items() if name not in self.account}
                pools.append((_below(holder, self.match.pattern), {**own, **self.provider}))
            if self.account or (wide and self.provider and not self.match):
                pools.append((holder, {**(self.provider if wide and not self.match else {}), **self.account}))
        merged: dict[str, Stated] = {}
        for name, limits in pools:
            merged[name] = {**merged.get(name, {}), **limits}
        return tuple(PoolLimits(name, tuple(limits.values())) for name, limits in merged.items())


def _below(holder: str, pattern: str) -> str:
    return holder if pattern == "*" else f"{holder}/{pattern}"
