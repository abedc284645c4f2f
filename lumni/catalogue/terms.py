"""Whom an account may serve."""

from lumni.catalogue.model import Deployment
from lumni.types import Role

NOT_YOURS = "it belongs to somebody whose account serves nobody else"
NOBODYS = "it is a personal account whose owner nobody stated"


def is_personal(deployment: Deployment) -> bool:
    return deployment.terms.kind == "personal" or bool(deployment.info.get("personal"))


def may_use(deployment: Deployment, person: str | None, role: Role) -> str:
    """Why ``person`` may not be served by this deployment; empty if she may.

    ``person`` is a student or a label, ``None`` when nobody knows who asks. A personal account serves only its owner.
    As long as none is stated, it serves whoever runs the gateway.
    """
    if not is_personal(deployment):
        return ""
    owner = deployment.terms.owner
    if owner:
        return "" if person == owner else NOT_YOURS
    return "" if role == "admin" else NOBODYS


def is_nobodys(deployment: Deployment) -> bool:
    """Whether it is personal and nobody stated whose: then nobody is sent there who didn't ask for it by name."""
    return is_personal(deployment) and not deployment.terms.owner
