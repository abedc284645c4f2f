"""Another order of a plan's candidates, where the operator or the client wishes one."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import groupby

from lumni.intelligence import Candidate, Plan, Rank
from lumni.quota.model import Amounts
from lumni.quota.service import Quota
from lumni.quota.standing import Standing, Standings
from lumni.quota.strategies import Contender, Strategy, order
from lumni.types import Usage

TYPICAL = Usage(prompt_tokens=750, completion_tokens=250)  # to compare prices by: three prompt tokens to one of answer
NOTHING = Standing()
RELIEF = "relief"  # as a plan's strategy: its order is that of :func:`relieve`


def reorder(
    plan: Plan, strategy: Strategy, quota: Quota, standings: Mapping[str, Standing], *, dry: bool = False
) -> Plan:
    """The plan with candidates of equal rank in the order of ``strategy``: what the client asked for stays first.

    ``dry``: only looked at, so that round robin doesn't count it as a turn.
    """
    ordered: list[Candidate] = []
    take = quota.traffic.next_turn if dry else quota.traffic.turn
    for _, group in groupby(sorted(plan.candidates, key=_rank), key=_rank):
        members = list(group)
        contenders = [_contender(candidate, quota, standings) for candidate in members]
        turn = take(tuple(sorted(c.deployment for c in contenders)))
        if strategy == "round_robin":
            members.sort(key=lambda candidate: candidate.deployment.id)
            contenders.sort(key=lambda contender: contender.deployment)
        gain = plan.task.gain
        ordered += [members[place] for place in order(strategy, contenders, turn=turn, gain=gain)]
    winner = ordered[0].deployment
    reason = f"{winner.id} is first by the strategy {strategy}. {plan.reason}"
    return replace(plan, candidates=tuple(ordered), reason=reason, strategy=strategy)


def _rank(candidate: Candidate) -> Rank:
    return candidate.rank


def relieve(plan: Plan, quota: Quota, standings: Standings) -> Plan:
    """The plan as it is; while more is asked for than the accounts can sustain, what would be lost is used first.

    What the client asked for stays first, and so do a named group's priorities. Whoever is served by a neighbour now
    leaves quota of the best for the next.
    """
    need = Amounts(1, TYPICAL.prompt_tokens, TYPICAL.completion_tokens)
    if len(plan.candidates) < 2 or not quota.pressed(standings, need):
        return plan
    ordered: list[Candidate] = []
    for _, group in groupby(plan.candidates, key=_equal):
        ordered += sorted(group, key=lambda c: -standings.perishing(c.deployment.id))
    if ordered == list(plan.candidates):
        return plan
    relieved = replace(plan, candidates=tuple(ordered), strategy=RELIEF)
    if ordered[0] is plan.candidates[0]:
        return relieved
    reason = f"{ordered[0].deployment.id} has most quota left to lose while the accounts are in demand. {plan.reason}"
    return replace(relieved, reason=reason)


def _equal(candidate: Candidate) -> tuple[Rank, int | None]:
    """What candidates must have in common for one to be as good as the other in place of it."""
    return candidate.rank, candidate.facts.priority if candidate.strict else None


def _contender(candidate: Candidate, quota: Quota, standings: Mapping[str, Standing]) -> Contender:
    deployment = candidate.deployment
    return Contender(
        deployment.id,
        priority=deployment.priority,
        used=quota.traffic.calls(deployment.id, quota.clock()),
        latency=quota.traffic.latency(deployment.id),
        cost=0 if deployment.free else deployment.price.of(TYPICAL) if deployment.price else None,
        quality=candidate.benchmark.value if candidate.benchmark else 0.0,
        windows=standings.get(deployment.id, NOTHING).windows,
    )
