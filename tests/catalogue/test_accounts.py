"""Ids and accounts: readable names that never tell a key."""

from pathlib import Path

import pytest

from tests.catalogue.support import entry, load

SECRET = "gsk_s3cret"
GROQ = {"GROQ_API_KEY": SECRET}
KEY = "os.environ/GROQ_API_KEY"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_ids_are_stable_readable_and_unique(here: Path) -> None:
    """A derived id never takes what somebody wrote down, and a second use of an explicit one is told."""
    content = {
        "model_list": [
            entry("m", "groq/big-70b", api_key=KEY),
            entry("m", "groq/old-8b", api_key=KEY),
            entry("m", "groq/big-70b", {"id": "m@groq"}, api_key=KEY),
            entry("m", "groq/big-70b", {"id": "m@groq"}, api_key="os.environ/GROQ_API_KEY_2"),
        ]
    }
    catalogue = load(here, content, {**GROQ, "GROQ_API_KEY_2": "other"})
    assert [deployment.id for deployment in catalogue.deployments] == ["m@groq-3", "m@groq-4", "m@groq", "m@groq-2"]
    (warning,) = catalogue.warnings
    assert "`m@groq` is taken" in warning


def test_accounts_are_named_after_variables_never_after_keys(here: Path) -> None:
    """One label for each key: a key under two names is one account; two keys without a name are two."""
    content = {
        "model_list": [
            entry("a", "groq/big-70b", api_key=KEY),
            entry("b", "groq/big-70b", api_key="os.environ/GROQ_API_KEY_2"),
            entry("c", "groq/big-70b", api_key="${GROQ_BACKUP_KEY}"),
            entry("d", "groq/big-70b", api_key="literal-1"),
            entry("e", "groq/big-70b", api_key="literal-2"),
            entry("f", "groq/big-70b", {"account": "class-7b"}, api_key="literal-3"),
        ]
    }
    environ = {**GROQ, "GROQ_API_KEY_2": "second", "GROQ_BACKUP_KEY": SECRET}
    accounts = [deployment.account for deployment in load(here, content, environ).deployments]
    assert accounts == ["groq", "groq-2", "groq", "groq-3", "groq-4", "class-7b"]


def test_no_key_is_shown(here: Path) -> None:
    """003-40: not in the catalogue's text, nor in any message."""
    content = {
        "model_list": [entry("a", "groq/big-70b", api_key=SECRET), entry("a", "groq/x", {"id": "i"}, api_key=SECRET)],
        "environment_variables": {"OTHER_KEY": SECRET},
        "litellm_settings": {"cache_params": {"password": SECRET}},
    }
    assert SECRET not in repr(load(here, content))
