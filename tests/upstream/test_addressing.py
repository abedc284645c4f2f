"""The deployment that was chosen is the one that is called, and nobody else is."""

from typing import Any

import pytest

from tests.upstream.wire import deployment, line, wire

pytestmark = pytest.mark.usefixtures("lane")


async def test_an_id_that_is_also_a_group_s_name_means_the_deployment() -> None:
    """The Router would take any member of the group, and with it another account's key."""
    async with wire() as one, wire() as two:
        first = deployment("llama", one.base + "/v1", group="llama")
        second = deployment("other", two.base + "/v1", group="llama", priority=1)
        async with line(first, second) as here:
            for _ in range(12):
                await here.ask(model="llama")
        assert (len(one.asked), len(two.asked)) == (12, 0)


@pytest.mark.parametrize("provider", ["ollama", "ollama_chat"])
def test_the_loop_never_waits_for_ollama_s_word_on_a_model(
    litellm: Any, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiteLLM's logging asks for it after every answer, in the loop, with a client that blocks for up to 6000 s."""
    asked = []
    monkeypatch.setattr(litellm.module_level_client, "post", lambda **request: asked.append(request["url"]))
    with pytest.raises(Exception, match="isn't mapped"):
        litellm.get_model_info("nobody-knows-it", custom_llm_provider=provider, api_base="http://127.0.0.1:9")
    assert asked == []
