"""What is not on the list serves nobody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni.catalogue.allowlist import allowed, unknown
from lumni.catalogue.model import Catalogue
from lumni.errors import PermissionDenied
from lumni.intelligence import Plan, plan
from lumni.intelligence.sieve import NOT_LISTED
from tests.intelligence.catalogues import chat, deployment, ids, why

SMALL = deployment("groq-8b", tier="fast")
LARGE = deployment("big-70b", tier="powerful")
OFF = deployment("off-9b", disabled="no key")
CATALOGUE = Catalogue((SMALL, LARGE, OFF), aliases={"gpt": LARGE.group}, fallbacks={SMALL.group: (LARGE.group,)})
NAMES = (SMALL.id, LARGE.id, SMALL.group, "gpt", f"{LARGE.provider}/*", "fast", "powerful", "*", "nonsense")


def ask(requested: str, *allowlists: tuple[str, ...]) -> Plan:
    return plan(
        requested=requested,
        body=chat("Hi!"),
        hint=None,
        provider=None,
        fallback=True,
        catalogue=CATALOGUE,
        availability={},
        allowlists=allowlists,
    )


@given(lists=st.lists(st.lists(st.sampled_from(NAMES), min_size=1).map(tuple), max_size=3))
def test_no_candidate_is_off_any_list(lists: list[tuple[str, ...]]) -> None:
    """000-60: every candidate is on every list, and what is not is told with the reason."""
    ids_ = allowed(lists, CATALOGUE)
    if ids_ == frozenset():
        with pytest.raises(PermissionDenied, match="doesn't allow"):
            ask("auto", *lists)
        return
    found = ask("auto", *lists)
    assert set(ids(found)) == {SMALL.id, LARGE.id} & (ids_ if ids_ is not None else {SMALL.id, LARGE.id})
    for out in found.excluded:
        if out.deployment.enabled:
            assert out.reason == NOT_LISTED


def test_a_model_off_the_list_is_refused_by_name() -> None:
    """000-60: with what is allowed in its place, even if a fallback would be allowed."""
    with pytest.raises(PermissionDenied, match="It allows: gpt") as caught:
        ask(SMALL.group, ("gpt",))
    assert (caught.value.code, caught.value.param) == ("model_not_allowed", "model")
    assert ids(ask("gpt", ("gpt",))) == [LARGE.id]


def test_fallbacks_keep_to_the_list() -> None:
    """000-60."""
    assert set(ids(ask(SMALL.group))) == {SMALL.id, LARGE.id}
    found = ask(SMALL.group, (SMALL.group,))
    assert ids(found) == [SMALL.id]
    assert why(found)[LARGE.id] == NOT_LISTED


def test_without_a_list_everything_is_allowed() -> None:
    assert allowed((), CATALOGUE) is None
    assert allowed((("*",),), CATALOGUE) == frozenset({SMALL.id, LARGE.id})
    assert allowed((("*",), ("nonsense",)), CATALOGUE) == frozenset()


def test_names_that_mean_nothing_are_told() -> None:
    """000-60: what is merely switched off now means something."""
    assert unknown((*NAMES, OFF.id, "other/*"), CATALOGUE) == ("nonsense", "other/*")
