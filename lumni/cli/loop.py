"""What servers run on: uvloop, which takes a fifth less of the CPU, where there is one, and a tuned collector."""

import asyncio
import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T]) -> T:
    """As :func:`asyncio.run`. On Windows, for which there is no uvloop, it is that."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


YOUNGEST, MIDDLE, OLDEST = 20_000, 20, 20
"""Objects made, and collections of the younger ones, before the collector looks again: after Python's 700 it would find
little but requests that still run."""


def settle() -> None:
    """Call once everything is loaded: LiteLLM's million objects stay for ever, so the collector need not visit them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNGEST, MIDDLE, OLDEST)
