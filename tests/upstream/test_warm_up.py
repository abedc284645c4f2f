"""What of LiteLLM a gateway loads before it serves."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import asyncio, sys
from pathlib import Path
from lumni.catalogue.load import load_catalogue
from lumni.settings import Settings
from lumni.upstream.client import Upstream

async def loaded(model):
    path = Path("list.yaml")
    path.write_text("model_list: [{model_name: m, litellm_params: {model: %s, api_key: k}}]" % model)
    settings = Settings(litellm_config=path, data_dir=Path("."))
    upstream = Upstream(load_catalogue(settings, {}), settings)
    await upstream.start()
    await upstream.close()
    return "openai.resources" in sys.modules, "litellm.litellm_core_utils.default_encoding" in sys.modules

print(asyncio.run(loaded("openai/m")), asyncio.run(loaded("gemini/gemini-2.5-flash")))
"""


def test_only_who_translates_loads_what_translating_needs(tmp_path: Path) -> None:
    """A gateway that only relays spares OpenAI's SDK and, where LiteLLM's rehearsals don't ask for it, the tokenizer.

    One that translates has both before its first student asks.
    """
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[-2:] == ["(False, False) (True, True)", ""], done.stderr
