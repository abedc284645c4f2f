"""Who may do what. Admins everything, teachers what belongs to their course; students and monitors nothing here."""

from lumni.errors import NotFound, PermissionDenied
from lumni.types import Principal


def manager(actor: Principal) -> None:
    """Raises :class:`PermissionDenied` unless ``actor`` is an admin or a teacher."""
    if actor.role not in ("admin", "teacher"):
        raise PermissionDenied("This needs a teacher's or an admin's key.")


def admin(actor: Principal) -> None:
    """Raises :class:`PermissionDenied` unless ``actor`` is an admin."""
    if actor.role != "admin":
        raise PermissionDenied("This needs an admin's key.")


def manages(actor: Principal, course: str | None) -> bool:
    return actor.role == "admin" or (actor.role == "teacher" and course is not None and actor.course == course)


def scope(actor: Principal, course: str | None) -> str | None:
    """Of which course ``actor`` may see lists: the one asked for; without one her own, and for admins all (``None``).

    Raises :class:`PermissionDenied` for a course of others, whether it is there or not.
    """
    manager(actor)
    course = course if course is not None or actor.role == "admin" else actor.course
    if not manages(actor, course):
        raise PermissionDenied(f"Your key is for the course {actor.course!r} only.")
    return course


def missing(kind: str, id_: str) -> NotFound:
    """What is not there, or belongs to others: nobody can tell which."""
    return NotFound(f"There is no {kind} {id_[:80]!r} here.")
