"""Providers written as one class."""

from pathlib import Path

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from lumni.files import ConfigurationError
from lumni.upstream.plugins import register_plugins
from lumni.upstream.runtime import load_litellm
from tests.services.gateway import Gateway

DOCUMENT = Path(__file__).parents[2] / "docs" / "plugins.md"


def block(language: str) -> str:
    """The first code block of a language in the document: what it shows is what is tested."""
    return DOCUMENT.read_text(encoding="utf-8").split(f"```{language}\n", 1)[1].split("```", 1)[0]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin")
    (path / "shouting_provider.py").write_text(block("python"), encoding="utf-8")
    return path


def test_the_documented_plugin_serves(directory: Path) -> None:
    """000-10, 004-21: a new provider is one class and one entry; its answers, streams and errors are any provider's."""
    with (
        Gateway(directory, block("yaml")) as gateway,
        OpenAI(base_url=gateway.base_url, api_key=gateway.key, max_retries=0) as client,
    ):
        hello: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]
        answer = client.chat.completions.create(model="shouting", messages=hello)
        assert answer.choices[0].message.content == "HELLO"
        stream = client.chat.completions.create(model="shouting", messages=hello, stream=True)
        chunks = list(stream)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "HELLO"
        assert chunks[-1].choices[0].finish_reason == "stop"
        with pytest.raises(openai.RateLimitError):
            client.with_options(timeout=90).chat.completions.create(
                model="shouting", messages=[{"role": "user", "content": "too loud"}]
            )


def test_a_handler_that_does_not_exist_is_explained(tmp_path: Path) -> None:
    """004-21: bad input says what to do."""
    with pytest.raises(ConfigurationError, match=r"nowhere\.Provider can't be loaded"):
        register_plugins(load_litellm(), [{"provider": "x", "custom_handler": "nowhere.Provider"}], tmp_path)
