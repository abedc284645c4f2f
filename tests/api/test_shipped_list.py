"""The model list that comes with Lumni, in a real gateway: what a user gets who only exports a provider's key."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from openai import OpenAI

from lumni.catalogue.providers import KNOWN
from tests.faults.lab import LabServer
from tests.services.gateway import Gateway

ALL_KEYS = {name: "k" for provider in KNOWN for name in provider.keys}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAI]:
    """Of a gateway that has a key for every provider, and the lab in place of Groq."""
    with LabServer(tmp_path_factory.mktemp("lab")) as lab:
        keys = {**ALL_KEYS, "ENABLE_OLLAMA": "true", "GROQ_API_BASE": lab.url + "/groq/openai/v1"}
        directory: Path = tmp_path_factory.mktemp("shipped")
        with (
            Gateway(directory, HEALTH_CHECK_INTERVAL="0", **keys) as gateway,
            OpenAI(base_url=gateway.base_url, api_key=gateway.key, max_retries=0) as client,
        ):
            yield client


def test_every_shipped_deployment_is_taken_by_litellm(client: OpenAI) -> None:
    """000-06: a key switches its provider's deployments on, and the gateway starts with all of them."""
    names = {model.id for model in client.models.list()}
    assert {"auto", "fast", "powerful", "gpt-oss-120b", "gpt-oss-20b"} <= names


def test_a_provider_whose_key_is_exported_answers(client: OpenAI) -> None:
    """000-07: over HTTP as Groq, streaming."""
    with client.chat.completions.create(
        model="groq/openai/gpt-oss-20b", messages=[{"role": "user", "content": "What is an embedding?"}], stream=True
    ) as stream:
        assert stream.response.headers["x-lumni-provider"] == "groq"
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
