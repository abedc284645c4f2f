"""Whether a model belongs to the fast or to the powerful tier, where its entry doesn't say."""

import re
from collections.abc import Mapping
from typing import Any

from lumni.money import price_per_million
from lumni.types import TaskType

POWERFUL_PARAMETERS = 40  # billions
POWERFUL_PRICE = price_per_million("0.000002")  # 2 USD per million output tokens

_SIZE = re.compile(r"(?<![a-z0-9.])(?:(?P<experts>\d+)x)?(?P<size>\d+(?:\.\d+)?)b(?![a-z0-9])")


def parameters_in_name(model: str) -> float | None:
    """Billions of parameters that a model's name states (``8x7b``: 56; ``30b-a3b``: 30, the largest); else ``None``."""
    sizes = [float(match["size"]) * int(match["experts"] or 1) for match in _SIZE.finditer(model.lower())]
    return max(sizes, default=None)


def tier_of(model: str, output_price: int | None, info: Mapping[str, Any]) -> TaskType:
    """The entry's own ``tier``; else by the size in the name (from 40 billion); else by the price (from 2 USD).

    ``output_price`` is in nano-USD per million tokens. A model of which neither is known counts as fast: a wrong
    "fast" wastes less than a wrong "powerful".
    """
    if info.get("tier") in ("fast", "powerful"):
        tier: TaskType = info["tier"]
        return tier
    size = parameters_in_name(model)
    if size is not None:
        return "powerful" if size >= POWERFUL_PARAMETERS else "fast"
    return "powerful" if output_price is not None and output_price >= POWERFUL_PRICE else "fast"
