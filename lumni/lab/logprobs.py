"""Log probabilities in OpenAI's shape: made up, but sorted, below zero and summing to less than one."""

import math
import random
from typing import Any

_OTHERS = (" the", " a", " and", " of", " to", " in", ".", ",", " it", " as", " for", " on", " by", " at", " or", "\n")
_MORE = (" so", " but", " if", " is", " an", " no", " we", ":")


def token_logprobs(tokens: list[str], top: int, rng: random.Random) -> list[dict[str, Any]]:
    """One entry a token, each with its ``top`` likeliest tokens (the chosen one among them when ``top`` > 0)."""
    return [_entry(token, top, rng) for token in tokens]


def _entry(token: str, top: int, rng: random.Random) -> dict[str, Any]:
    probability = 0.5 + rng.random() * 0.49
    chosen = _one(token, probability)
    ranked = [chosen]
    left = 1 - probability
    for other in (other for other in (*_OTHERS, *_MORE) if other != token):
        if len(ranked) >= top:
            break
        left /= 2
        ranked.append(_one(other, left))
    return {**chosen, "top_logprobs": ranked if top else []}


def _one(token: str, probability: float) -> dict[str, Any]:
    return {"token": token, "logprob": round(math.log(probability), 6), "bytes": list(token.encode())}
