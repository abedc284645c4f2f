"""A personal account serves nobody but its owner, whatever is asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lumni.catalogue.model import Catalogue, Deployment, Terms
from lumni.catalogue.terms import NOBODYS, NOT_YOURS, may_use
from lumni.errors import PermissionDenied
from lumni.intelligence import Plan, plan
from lumni.types import Role
from tests.intelligence.catalogues import chat, deployment, ids, why

ADA = Terms("personal", "ada")
ROLES: tuple[Role, ...] = ("student", "teacher", "admin", "monitor")
SHARED = deployment("groq-8b")
OWN = deployment("ada-8b", terms=ADA)
COPILOT = deployment("copilot-8b", info={"personal": True})

terms = st.builds(
    Terms, st.sampled_from(("", "personal", "class", "organization")), st.sampled_from(("", "ada", "ben"))
)
people = st.sampled_from((None, "ada", "ben", "Ada", ""))


def ask(
    *deployments: Deployment,
    requested: str = "auto",
    person: str | None = None,
    role: Role = "student",
    fallback: bool = True,
    fallbacks: dict[str, tuple[str, ...]] | None = None,
) -> Plan:
    return plan(
        requested=requested,
        body=chat("Hi!"),
        hint=None,
        provider=None,
        fallback=fallback,
        catalogue=Catalogue(deployments, fallbacks=fallbacks or {}),
        availability={},
        person=person,
        role=role,
    )


@given(terms=terms, person=people, role=st.sampled_from(ROLES))
def test_may_use(terms: Terms, person: str | None, role: Role) -> None:
    """000-05: the owner alone; without an owner, whoever runs the gateway; everybody where it isn't personal."""
    reason = may_use(deployment("x", terms=terms), person, role)
    if terms.kind != "personal":
        assert reason == ""
    elif terms.owner:
        assert reason == ("" if person == terms.owner else NOT_YOURS)
    else:
        assert reason == ("" if role == "admin" else NOBODYS)


@given(
    owners=st.lists(terms, min_size=1, max_size=4),
    person=people,
    role=st.sampled_from(ROLES),
    requested=st.sampled_from(("auto", "fast", "powerful", "d-0")),
    fallback=st.booleans(),
)
def test_no_plan_holds_a_personal_account_of_somebody_else(
    owners: list[Terms], person: str | None, role: Role, requested: str, fallback: bool
) -> None:
    """000-05: neither as a candidate nor, for what was not named, as a surprise."""
    deployments = [deployment(f"d-{n}", terms=each) for n, each in enumerate(owners)]
    try:
        made = ask(*deployments, requested=requested, person=person, role=role, fallback=fallback)
    except PermissionDenied:
        assert all(d.terms.kind == "personal" for d in deployments if requested in ("auto", "fast", "powerful", d.id))
        return
    for candidate in made.candidates:
        assert may_use(candidate.deployment, person, role) == ""
        if candidate.deployment.terms == Terms("personal"):
            assert candidate.deployment.id == requested


def test_the_owner_is_served_and_others_are_told_why_not() -> None:
    assert ids(ask(SHARED, OWN, person="ada")) == ["groq-8b", "ada-8b"]
    made = ask(SHARED, OWN, person="ben")
    assert (ids(made), why(made)) == (["groq-8b"], {"ada-8b": NOT_YOURS})
    assert "ada" not in NOT_YOURS


def test_copilot_is_chosen_by_name_only() -> None:
    """000-05: a personal subscription is never selected for anybody, and never a fallback for others."""
    made = ask(SHARED, COPILOT, role="admin")
    assert (ids(made), why(made)) == (["groq-8b"], {"copilot-8b": NOBODYS})
    assert ids(ask(SHARED, COPILOT, role="admin", requested="copilot-8b")) == ["copilot-8b"]
    fallen = ask(SHARED, COPILOT, role="admin", requested="groq-8b", fallbacks={"groq-8b": ("copilot-8b",)})
    assert ids(fallen) == ["groq-8b"]


def test_copilot_is_its_stated_owner_s_choice_too() -> None:
    own = deployment("copilot-8b", info={"personal": True}, terms=ADA)
    assert ids(ask(own, person="ada")) == ["copilot-8b"]
    with pytest.raises(PermissionDenied, match="serve nobody but their owners"):
        ask(own, person="ben", role="admin")


def test_a_request_that_only_others_accounts_could_serve_is_refused() -> None:
    """000-05: with a 403, not with a model of somebody else."""
    with pytest.raises(PermissionDenied) as caught:
        ask(COPILOT, requested="copilot-8b")
    assert (caught.value.status, caught.value.param) == (403, "model")
