"""The pools of a catalogue: which quotas each deployment draws on, and where their numbers come from."""

from collections.abc import Iterable

from lumni.catalogue.limits import Limit
from lumni.catalogue.model import Catalogue
from lumni.quota.inference import cautious, is_bounded
from lumni.quota.model import Pool, Window

LEARNED = "learned from the provider"


class Pools:
    """Made once from a catalogue. A pool is the same object each time, because stores recognise it by identity.

    Where deployments that share a pool state different limits, a configured one is stronger than one of the catalogue
    of free tiers, and of two equally strong ones the smaller holds. Where nothing bounds the requests of a minute, a
    free deployment's narrowest pool gets what is needed to find that out carefully (``inference.py``). Only deployments
    that are enabled have pools.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        limits: dict[str, list[Limit]] = {}
        members: dict[str, list[str]] = {}
        for deployment in catalogue.enabled:
            for pool in deployment.pools:
                limits.setdefault(pool.name, []).extend(pool.limits)
                members.setdefault(pool.name, []).append(deployment.id)
        self._members = {name: tuple(ids) for name, ids in members.items()}
        self._sources: dict[tuple[str, str], str] = {}
        windows = {name: self._windows(name, stated) for name, stated in limits.items()}
        unknown = {
            d.pools[0].name
            for d in catalogue.enabled
            if d.free and d.pools and not any(is_bounded(windows[pool.name]) for pool in d.pools)
        }
        pools = {name: Pool(name, cautious(stated) if name in unknown else stated) for name, stated in windows.items()}
        self._of = {d.id: tuple(pools[pool.name] for pool in d.pools) for d in catalogue.enabled}
        self._counts_max_tokens = frozenset(d.id for d in catalogue.enabled if d.counts_max_tokens)
        self.all: tuple[Pool, ...] = tuple(pools.values())

    def of(self, deployment_id: str) -> tuple[Pool, ...]:
        """What calling a deployment draws on, the narrowest first. Empty for models on one's own machine."""
        return self._of.get(deployment_id, ())

    def deployments(self, pool_id: str) -> tuple[str, ...]:
        """The ids of all deployments that draw on a pool, in the catalogue's order."""
        return self._members.get(pool_id, ())

    def counts_max_tokens(self, deployment_id: str) -> bool:
        """Whether the provider takes ``max_tokens`` off a window when the request arrives."""
        return deployment_id in self._counts_max_tokens

    def source(self, pool_id: str, window_key: str) -> str:
        """Where the first number of a window came from; one that nobody wrote down was learned."""
        return self._sources.get((pool_id, window_key), LEARNED)

    def _windows(self, name: str, stated: Iterable[Limit]) -> tuple[Window, ...]:
        strongest: dict[tuple[str, int], Limit] = {}
        for limit in stated:
            place = (limit.kind, limit.period)
            strongest[place] = min(strongest.get(place, limit), limit, key=_weakness)
        windows = []
        for limit in strongest.values():
            window = Window(limit.kind, limit.period, limit.amount, limit.style, limit.provenance, limit.zone)
            windows.append(window)
            self._sources[name, window.key] = limit.origin
        return tuple(windows)


def _weakness(limit: Limit) -> tuple[bool, bool, int]:
    return limit.provenance == "catalogue", limit.amount is None, limit.amount or 0
