"""Money as integers, so that sums are exact whatever their order.

The unit is the nano-dollar (1e-9 USD). Prices are nano-dollars per million tokens: the cheapest models of 2026 cost
about 0.02 USD per million tokens, that is 20_000_000 here, and one such token costs 20 nano-dollars.
"""

from decimal import Decimal
from typing import NewType

NanoUSD = NewType("NanoUSD", int)

NANO_PER_USD = 1_000_000_000
TOKENS_PER_PRICE = 1_000_000


def from_usd(usd: Decimal | str | int) -> NanoUSD:
    """Nano-dollars for an amount in US dollars, rounded half to even. Floats are refused: they are not amounts."""
    return NanoUSD(int((Decimal(usd) * NANO_PER_USD).to_integral_value()))


def to_usd(amount: int) -> Decimal:
    """US dollars for an amount in nano-dollars, exact."""
    return Decimal(amount).scaleb(-9)


def price_per_million(usd_per_token: float | str | Decimal) -> NanoUSD:
    """A price list's USD per token as nano-dollars per million tokens.

    Price lists are JSON, whose floats (``5.9e-07``) stand for the decimal they print as: ``str`` recovers it.
    """
    return from_usd(Decimal(str(usd_per_token)) * TOKENS_PER_PRICE)


def cost(tokens: int, nano_per_million: int) -> NanoUSD:
    """What ``tokens`` cost at a price in nano-dollars per million tokens, rounded up: nothing is free by rounding."""
    return NanoUSD(-(-tokens * nano_per_million // TOKENS_PER_PRICE))
