"""The one sentence that says why a deployment was chosen."""

from collections.abc import Mapping, Sequence

from lumni.catalogue.model import Catalogue
from lumni.intelligence.classify import ASKED
from lumni.intelligence.groups import START
from lumni.intelligence.model import UNCLASSIFIED, Availability, Candidate, Classification, Task
from lumni.intelligence.names import is_automatic
from lumni.intelligence.rank import is_saved
from lumni.intelligence.sieve import is_blocked


def reason(
    requested: str,
    classification: Classification,
    task: Task,
    candidates: Sequence[Candidate],
    provider: str | None,
    availability: Mapping[str, Availability],
    catalogue: Catalogue,
) -> str:
    """Such as ``powerful (82 %): asks for a proof; groq-llama-3.3-70b is the best available of 3 candidates``.

    ``candidates`` are all that were ranked, also those that aren't kept.
    """
    first = candidates[0]
    winner, tier = first.deployment, task.tier
    automatic = is_automatic(requested, catalogue)
    parts = [_task(classification) if automatic else f"you asked for {requested}"]
    if automatic and tier and all(c.deployment.tier != tier for c in candidates):
        parts.append(f"no {tier} model can serve it now")
    elif automatic and winner.tier != tier and any(is_saved(c.facts, task) for c in candidates):
        parts.append("what is left of the powerful models is kept for tasks that gain more from them")
    if provider and winner.provider != provider:
        parts.append(f"{provider}, which you prefer, can't serve it now")
    if is_blocked(winner, availability):
        blocked = availability[winner.id]
        when = "may be free first" if blocked.until is None else f"is free first, in {max(0.0, blocked.until):,.0f} s"
        parts.append(f"every candidate is blocked, {winner.id} {when} ({blocked.blocked})")
    elif len(candidates) == 1:
        parts.append(f"{winner.id} is the only candidate")
    else:
        which = "first" if first.strict else "best"
        parts.append(f"{winner.id} is the {which} available of {len(candidates)} candidates")
    return "; ".join(parts)


def _task(classification: Classification) -> str:
    if classification is UNCLASSIFIED:
        return "the task was not classified"
    powerful = classification.task_type == "powerful"
    if any(factor.name == ASKED for factor in classification.factors):
        return f"{classification.task_type} ({ASKED})"
    factors = (factor for factor in classification.factors if factor.name != START)
    names = [factor.name for factor in factors if (factor.weight > 0) == powerful][:2]
    why = " and ".join(names) or "nothing suggests a hard task"
    if classification.abstained:
        why = f"undecided, and the strong models' quota is {'plentiful' if powerful else 'scarce'}"
    return f"{classification.task_type} ({min(99, round(100 * classification.confidence))} %): {why}"
