"""The shipped table of model scores: names, provenance, and what is unknown."""

import datetime
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lumni.catalogue.load import load_catalogue
from lumni.catalogue.model import Catalogue, Deployment
from lumni.catalogue.scores import DOMAINS, Domain, Scores, key, known_scores
from lumni.settings import Settings
from lumni.sources import default_model_list
from tests.catalogue.support import TODAY

ROOT = Path(__file__).parents[2]
NAMES: dict[str, list[str]] = yaml.safe_load(
    (ROOT / "lumni" / "catalogue" / "data" / "model_names.yaml").read_text(encoding="utf-8")
)["models"]


@pytest.fixture(scope="module")
def scores() -> Scores:
    return known_scores()


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue(Settings(litellm_config=default_model_list(), enable_lab="off"), {}, today=TODAY)


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("llama-3.3-70b-versatile", "llama-3.3-70b"),
        ("groq/llama-3.3-70b-versatile", "llama-3.3-70b"),
        ("together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo", "llama-3.3-70b"),
        ("accounts/fireworks/models/llama-v3p3-70b-instruct", "llama-3.3-70b"),
        ("openrouter/meta-llama/llama-3.3-70b-instruct:free", "llama-3.3-70b"),
        ("sambanova/Meta-Llama-3.3-70B-Instruct", "llama-3.3-70b"),
        ("cloudflare/@cf/meta/llama-3.3-70b-instruct-fp8-fast", "llama-3.3-70b"),
        ("bedrock/us.meta.llama3-3-70b-instruct-v1:0", "llama-3.3-70b"),
        ("ollama/llama3.1", "llama-3.1-8b"),
        ("ollama_chat/llama3.1:70b", "llama-3.1-70b"),
        ("cerebras/qwen-3-32b", "qwen3-32b"),
        ("groq/qwen/qwen3-32b", "qwen3-32b"),
        ("fireworks_ai/glm-5p1", "glm-5.1"),
        ("openrouter/anthropic/claude-haiku-4.5", "claude-haiku-4.5"),
        ("anthropic/claude-haiku-4-5-20251001", "claude-haiku-4.5"),
        ("openai/gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("together_ai/deepseek-ai/DeepSeek-V4-Pro-0813", "deepseek-v4-pro"),
        ("openrouter/qwen/qwen3-coder:free", "qwen3-coder"),
        ("gpt-4o-audio-preview", None),
        ("gpt-4", None),
        ("llama", None),
        ("", None),
    ],
)
def test_one_model_has_many_names(scores: Scores, name: str, model: str | None) -> None:
    """001-23: what a provider calls a model doesn't matter; a name that isn't listed is no model that is."""
    assert scores.canonical(name) == model


def test_no_name_means_two_models() -> None:
    """001-23: no alias of one model reads like another model's."""
    owners: dict[str, set[str]] = {}
    for model, aliases in NAMES.items():
        for name in (model, *aliases):
            owners.setdefault(key(name), set()).add(model)
    assert {name: models for name, models in owners.items() if len(models) > 1} == {}


def test_every_model_of_the_default_list_is_known_by_name(scores: Scores, catalogue: Catalogue) -> None:
    """001-23: what Lumni ships a deployment of, the table either has figures for, or knows that it has none."""
    assert [d.id for d in catalogue.deployments if scores.model_of(d) is None] == []


def test_deployments_of_one_group_are_the_same_model(scores: Scores, catalogue: Catalogue) -> None:
    """001-23: gpt-oss-120b at Groq, Cerebras and Together is one model, with one score."""
    for group in {d.group for d in catalogue.deployments}:
        assert len({scores.model_of(d) for d in catalogue.deployments if d.group == group}) == 1, group


def test_a_base_model_says_what_a_deployment_of_ones_own_serves(scores: Scores) -> None:
    """001-23: behind a name of one's own, `base_model` names the model."""
    own = Deployment("x", "x", "azure", "a", "azure/our-deployment", {}, info={"base_model": "azure/gpt-4o-2024-08-06"})
    assert scores.model_of(own) == "gpt-4o"


def test_unlisted_models_and_missing_figures_are_unknown(scores: Scores) -> None:
    """001-09: no figure is no score: neither 0 nor an average."""
    for name in ("gpt-5.6", "qwen3.8-27b", "someone/else-7b"):
        assert scores.figures(name) == {}
        assert [scores.score(name, domain) for domain in DOMAINS] == [None] * len(DOMAINS)
    assert scores.score("gpt-oss-120b", "vision") is None


def test_every_figure_says_where_it_comes_from(scores: Scores) -> None:
    """001-09: source, address, date, licence and number of ranked models of every figure."""
    found = 0
    for model in NAMES:
        for figure in scores.figures(model).values():
            found += 1
            column = figure.column
            assert column.source
            assert column.licence
            assert column.url.startswith("https://")
            assert datetime.date(2024, 1, 1) < column.date <= TODAY
            assert column.models >= 2
            assert figure.row
            assert 0 < figure.rank < 1
            assert figure.value is None or 0 <= figure.value <= 1
    assert found > 500


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_domain_has_columns_of_its_own_and_no_unused_ones(scores: Scores, domain: Domain) -> None:
    """001-09: a score of a domain comes from a test that may serve it, and says if only general strength is known."""
    own = [score for model in NAMES if (score := scores.score(model, domain)) and not score.general]
    assert len(own) >= 10
    assert all(not score.figure.column.unused for score in own)
    assert all(score.domain == domain and score.n == score.figure.column.models for score in own)


def test_seeing_is_not_inferred_from_strength_in_text(scores: Scores) -> None:
    """001-09: a strong text model without a vision figure is unknown there, everywhere else its strength stands in."""
    coding = scores.score("gemini-3.5-flash", "coding")
    assert coding is not None
    assert coding.general
    assert scores.score("gemini-3.5-flash", "vision") is None


@pytest.mark.parametrize(
    ("stronger", "weaker"),
    [
        ("gpt-oss-120b", "gpt-oss-20b"),
        ("llama-3.3-70b", "llama-3.1-8b"),
        ("llama-3.1-8b", "llama-3.2-1b"),
        ("gpt-4o", "gpt-4o-mini"),
        ("gpt-5-mini", "gpt-4o-mini"),
        ("gemini-3.5-flash", "gpt-oss-120b"),
        ("deepseek-v4-pro", "deepseek-v4-flash"),
        ("claude-opus-4.5", "claude-haiku-4.5"),
    ],
)
@pytest.mark.parametrize("domain", ["reasoning", "coding", "maths"])
def test_the_table_orders_models_that_nobody_confuses(
    scores: Scores, stronger: str, weaker: str, domain: Domain
) -> None:
    """001-09: across sources of different years and crowds, the larger or later sibling still comes first."""
    high, low = scores.score(stronger, domain), scores.score(weaker, domain)
    assert high is not None
    assert low is not None
    assert high.value > low.value


def test_what_speaks_against_a_figure_lowers_its_confidence(scores: Scores) -> None:
    """001-09: measured by others, in the default setting, in a test of the domain: high; each lack costs a step."""
    found = [s for model in NAMES for domain in DOMAINS if (s := scores.score(model, domain))]
    for score in found:
        figure = score.figure
        clean = not (score.general or figure.self_reported or figure.other_setting)
        assert (score.confidence == "high") == (clean and (figure.column.agreement or 0) >= 0.8)
        if score.general and figure.other_setting:
            assert score.confidence == "low"
    assert {score.confidence for score in found} == {"high", "medium", "low"}


def test_the_classic_benchmarks_are_there_as_published(scores: Scores) -> None:
    """001-36: what was published of MMLU, HellaSwag and GSM8K, in percent; what wasn't is absent."""
    small = {name: figure.percent for name, figure in scores.classics("meta-llama/Llama-3.2-3B-Instruct").items()}
    assert (small["mmlu"], small["hellaswag"], small["gsm8k"]) == (63.4, 69.8, 77.7)
    assert scores.classics("gpt-4o-mini")["mmlu"].column.date == datetime.date(2025, 10, 16)
    assert "hellaswag" not in scores.classics("gpt-oss-120b")
    assert scores.classics("gpt-5.6") == {}
    assert scores.columns["hellaswag"].unused  # too few common models to compare by


def test_percent_and_share_are_told_apart(scores: Scores) -> None:
    """001-36: two sources' MMLU of one model are near each other in percent, whatever they print; ratings have none."""
    figures = scores.figures("gpt-4o-mini")
    reported, measured = figures["mmlu"].percent, figures["mmlu-simple-evals"].percent
    assert reported is not None
    assert measured == pytest.approx(reported, abs=2)
    assert figures["arena"].percent is None
    everything = [figure for model in NAMES for figure in scores.figures(model).values()]
    assert all(0 < f.percent <= 100 for f in everything if f.percent is not None)


def test_the_table_loads_without_the_network_or_litellm() -> None:
    """001-09: a data file and two parsers, nothing else."""
    program = (
        "import sys, socket\n"
        "socket.socket = None\n"
        "from lumni.catalogue.scores import known_scores\n"
        "assert known_scores().score('gpt-oss-120b', 'coding')\n"
        "heavy = {'litellm', 'fastapi', 'sqlalchemy', 'httpx', 'pydantic', 'numpy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_documented_coverage_is_the_real_one(scores: Scores, catalogue: Catalogue) -> None:
    """003-37: docs/scores.md counts what is known and names what is unknown, and is right."""
    document = " ".join((ROOT / "docs" / "scores.md").read_text(encoding="utf-8").split())
    table = json.loads((ROOT / "lumni" / "catalogue" / "data" / "scores.json").read_text(encoding="utf-8"))
    listed = sorted({model for d in catalogue.deployments if (model := scores.model_of(d))})
    known = {domain: [s for model in listed if (s := scores.score(model, domain))] for domain in DOMAINS}
    own = {domain: sum(not score.general for score in found) for domain, found in known.items()}
    assert f"{len(table['models'])} models, {len(table['columns'])} columns" in document
    assert {len(found) for domain, found in known.items() if domain != "vision"} == {17}
    assert f"Of the {len(listed)} models in the default model list, 17 have" in document
    assert f"but vision, where {len(known['vision'])} has" in document
    assert f"coding {own['coding']}, tool use {own['tool_use']}, vision {own['vision']}, the others 9" in document
    assert {own[domain] for domain in DOMAINS if domain not in ("coding", "tool_use", "vision")} == {9}
    unknown = [model for model in listed if not scores.figures(model)]
    sentence = document.split("Without any figure:", 1)[1].split("all newer", 1)[0]
    assert [model for model in unknown if model not in sentence] == []
