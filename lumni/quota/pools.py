"""Which pools a deployment draws on (interim)."""

from lumni.catalogue.model import Catalogue, Deployment
from lumni.quota.model import KINDS, Pool, Window

_PERIODS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "month": 31 * 86400}


class Pools:
    def __init__(self, catalogue: Catalogue) -> None:
        self._by_id: dict[str, tuple[Pool, ...]] = {}
        pools: dict[str, Pool] = {}
        for d in catalogue.enabled:
            if d.provider == "lumni-lab":
                self._by_id[d.id] = ()
                continue
            name = f"{d.account}/{d.model_id}"
            pool = pools.setdefault(name, Pool(name, _windows(d)))
            self._by_id[d.id] = (pool,)
        self.all = tuple(pools.values())

    def of(self, id_: str) -> tuple[Pool, ...]:
        return self._by_id.get(id_, ())

    def source(self, pool_id: str, window_key: str) -> str:
        return "configured"

    def counts_max_tokens(self, id_: str) -> bool:
        return False


def _windows(d: Deployment) -> tuple[Window, ...]:
    found = []
    for unit in ("r", "t"):
        for span, period in _PERIODS.items():
            if (limit := d.info.get(f"{unit}p{span}")) is not None:
                found.append(Window(KINDS[unit], period, int(limit)))
    return tuple(found)
