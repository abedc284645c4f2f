"""Embeddings of the lab: feature hashing, so that texts that share words point in similar directions.

Words and character trigrams are hashed to signed coordinates (Weinberger et al., "Feature Hashing for Large Scale
Multitask Learning", ICML 2009), then the vector is scaled to length one.
"""

import base64
import hashlib
import math
import re
import struct
from collections.abc import Iterator
from typing import Any

from lumni.errors import InvalidRequest

from .tokens import count_tokens

DEFAULT_DIMENSIONS = 256
_MAX_DIMENSIONS = 4096
_MAX_INPUTS = 2048
_WORD = re.compile(r"\w+")


def embed(body: dict[str, Any], seed: int) -> dict[str, Any]:
    """OpenAI's embeddings answer for ``input`` (text, texts, tokens, token lists), ``dimensions``, ``encoding_format``.

    Raises ``InvalidRequest`` for empty or oversized inputs.
    """
    inputs = _inputs(body.get("input"))
    dimensions = body.get("dimensions") or DEFAULT_DIMENSIONS
    if not isinstance(dimensions, int) or not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise InvalidRequest(f"`dimensions` must be between 1 and {_MAX_DIMENSIONS}.", param="dimensions")
    vectors = [vector(text, dimensions, seed) for text, _ in inputs]
    as_base64 = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _base64(values) if as_base64 else values}
        for index, values in enumerate(vectors)
    ]
    tokens = sum(count for _, count in inputs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": body.get("model", "embed"), "usage": usage}


def vector(text: str, dimensions: int, seed: int) -> list[float]:
    """A unit vector of ``text``, the same for the same text, size and seed."""
    values = [0.0] * dimensions
    key = seed.to_bytes(16, "big", signed=True)
    for feature, weight in _features(text):
        digest = hashlib.blake2b(feature.encode(), digest_size=8, key=key).digest()
        number = int.from_bytes(digest, "big")
        values[(number >> 1) % dimensions] += weight if number & 1 else -weight
    length = math.sqrt(sum(value * value for value in values))
    if length < 1e-9:  # nothing to say, or features that cancel out
        values[0] = length = 1.0
    return [value / length for value in values]


def _features(text: str) -> Iterator[tuple[str, float]]:
    for word in _WORD.findall(text.lower()):
        yield word, 1.0
        padded = f"^{word}$"
        for start in range(len(padded) - 2):
            yield "3:" + padded[start : start + 3], 0.4


def _inputs(given: Any) -> list[tuple[str, int]]:
    """Each input as text and its token count; token arrays are their own count."""
    if isinstance(given, str):
        given = [given]
    if isinstance(given, list) and given and all(isinstance(item, int) for item in given):
        given = [given]
    if not isinstance(given, list) or not 0 < len(given) <= _MAX_INPUTS:
        raise InvalidRequest(f"`input` must be a text or a list of 1 to {_MAX_INPUTS} texts.", param="input")
    inputs = []
    for item in given:
        if isinstance(item, str) and item:
            inputs.append((item, count_tokens(item)))
        elif isinstance(item, list) and item and all(isinstance(token, int) for token in item):
            inputs.append((" ".join(f"t{token}" for token in item), len(item)))
        else:
            raise InvalidRequest("Each `input` must be a text or a list of tokens, not empty.", param="input")
    return inputs


def _base64(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()
