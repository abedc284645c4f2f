"""What of LiteLLM a gateway loads before it serves."""

import importlib.util
import re
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


TOKENIZERS = """
import json, os
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm
from lumni.upstream.runtime import load_litellm

print(litellm.utils.json_data == json.loads(litellm.utils.claude_json_str))
load_litellm()
print(hasattr(litellm.utils, "json_data"), litellm.token_counter(model="claude-3-haiku-20240307", text="Hello there"))
"""


def test_of_a_tokenizer_that_litellm_keeps_twice_once_is_enough(tmp_path: Path) -> None:
    """Claude's, as text and parsed: without the latter (14 MiB) it counts as before. Told if a LiteLLM changes that."""
    command = [sys.executable, "-c", TOKENIZERS]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "True\nFalse 2\n", done.stderr


def test_nothing_of_litellm_asks_for_the_parsed_tokenizer() -> None:
    """But the three lines that read it and make its text."""
    package = importlib.util.find_spec("litellm")
    assert package is not None
    assert package.submodule_search_locations
    directory = Path(package.submodule_search_locations[0])
    sources = {path: path.read_text(encoding="utf-8") for path in directory.rglob("*.py")}
    assert len(re.findall(r"\bjson_data\b", sources[directory / "utils.py"])) == 3
    assert [path for path, text in sources.items() if re.search(r"\butils(\.| import [^\n]*)json_data\b", text)] == []
