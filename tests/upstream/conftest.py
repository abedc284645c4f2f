"""LiteLLM, imported once for all of these tests: it takes seconds."""

from typing import Any

import pytest

from lumni.upstream.runtime import load_litellm


@pytest.fixture(scope="session")
def litellm() -> Any:
    return load_litellm()
