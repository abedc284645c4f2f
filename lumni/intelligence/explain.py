"""The one sentence that says why a deployment was chosen."""

from collections.abc import Mapping, Sequence

from lumni.intelligence.classify import ASKED
from lumni.intelligence.groups import START
from lumni.intelligence.model import UNCLASSIFIED, Availability, Candidate, Classification, Task
from lumni.intelligence.rank import is_saved


def reason(
    requested: str,
    classification: Classification,
    task: Task,
    candidates: Sequence[Candidate],
    provider: str | None,
    known: Mapping[str, Availability],
    *,
    automatic: bool,
) -> str:
    """Such as ``powerful (82 %): asks for a proof; groq-llama-3.3-70b is the best available of 3 candidates``.

    ``candidates`` are all that were ranked, also those that aren't kept; ``known`` is how they stand.
    """
    first = candidates[0]
    winner, tier = first.deployment, task.tier
    parts = [_task(classification) if automatic else f"you asked for {requested}"]
    if automatic and winner.tier != tier:
        if tier and all(c.deployment.tier != tier for c in candidates):
            parts.append(f"no {tier} model can serve it now")
        elif any(is_saved(c.facts, task) for c in candidates):
            parts.append("what is left of the powerful models is kept for tasks that gain more from them")
    if provider and winner.provider != provider:
        parts.append(f"{provider}, which you prefer, can't serve it now")
    if (how := known[winner.id]).blocked:
        when = "may be free first" if how.until is None else f"is free first, in {max(0.0, how.until):,.0f} s"
        parts.append(f"every candidate is blocked, {winner.id} {when} ({how.blocked})")
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
    names = []
    for name, weight in classification.factors:
        if name == ASKED:
            return f"{classification.task_type} ({ASKED})"
        if name != START and (weight > 0) == powerful:
            names.append(name)
    why = " and ".join(names[:2]) or "nothing suggests a hard task"
    if classification.abstained:
        why = f"undecided, and the strong models' quota is {'plentiful' if powerful else 'scarce'}"
    return f"{classification.task_type} ({min(99, round(100 * classification.confidence))} %): {why}"
