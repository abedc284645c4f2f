"""LiteLLM for the tests that send through the whole line; the warnings of its first answers are none of ours."""

import asyncio
import warnings
from typing import Any

import pytest

from lumni.catalogue.model import Catalogue
from lumni.settings import Settings
from lumni.upstream.client import Upstream
from tests.upstream.conftest import hang_up, litellm

__all__ = ["hang_up", "litellm"]


@pytest.fixture(scope="session", autouse=True)
def warm(litellm: Any) -> None:
    async def start_and_stop() -> None:
        upstream = Upstream(Catalogue(()), Settings())
        await upstream.start()
        await upstream.close()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asyncio.run(start_and_stop())
