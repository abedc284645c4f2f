"""The lab provider steps in where nothing else can be called."""

from pathlib import Path

import pytest

from lumni.catalogue.model import Price
from lumni.money import NanoUSD
from tests.catalogue.support import entry, load

CONTENT = {"model_list": [entry("a", "groq/big-70b")]}
KEY = {"GROQ_API_KEY": "k"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("switch", "environ", "enabled"),
    [
        ("auto", {}, ["lab-fast", "lab-powerful"]),
        ("auto", KEY, ["a@groq"]),
        ("on", KEY, ["a@groq", "lab-fast", "lab-powerful"]),
        ("off", {}, []),
    ],
)
def test_the_lab_is_there_when_it_should_be(
    here: Path, switch: str, environ: dict[str, str], enabled: list[str]
) -> None:
    """Without any key the built-in lab provider serves (`auto`); `on` always, `off` never."""
    assert [deployment.id for deployment in load(here, CONTENT, environ, enable_lab=switch).enabled] == enabled


def test_the_lab_can_everything_for_nothing(here: Path) -> None:
    fast, powerful = load(here, CONTENT, enable_lab="auto").enabled
    assert (fast.model, fast.group, fast.tier) == ("lumni-lab/fast", "lab-fast", "fast")
    assert (powerful.model, powerful.group, powerful.tier) == ("lumni-lab/powerful", "lab-powerful", "powerful")
    for deployment in (fast, powerful):
        can = deployment.capabilities
        assert deployment.provider == "lumni-lab"
        assert deployment.free
        assert deployment.price == Price(NanoUSD(0), NanoUSD(0))
        assert (can.tools, can.vision, can.json_schema, can.streaming) == (True, True, True, True)
        assert can.context_window == 128_000


def test_a_gateway_without_anything_says_what_to_do(here: Path) -> None:
    catalogue = load(here, CONTENT, enable_lab="off")
    (warning,) = catalogue.warnings
    assert "GROQ_API_KEY" in warning
    assert "ENABLE_LAB=on" in warning
