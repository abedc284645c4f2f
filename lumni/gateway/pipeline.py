"""The straight line: one chat request, from who asks to what happened."""

import asyncio
from collections.abc import Sequence

from lumni.catalogue.model import Deployment
from lumni.errors import ClientDisconnected, LumniError, ShuttingDown
from lumni.gateway import timetable
from lumni.gateway.admission import Admission, Door
from lumni.gateway.budgets import Budgets
from lumni.gateway.cache import ResponseCache
from lumni.gateway.case import Case, Journal, Sink
from lumni.gateway.delivery import Delivery
from lumni.gateway.drain import Drain
from lumni.gateway.planning import Planner
from lumni.gateway.preparation import Preparation
from lumni.gateway.reply import Reply
from lumni.gateway.transcript import Keeper
from lumni.gateway.turn import Turn
from lumni.intelligence import Plan
from lumni.quota.estimate import Demand
from lumni.quota.service import Quota
from lumni.receipt import Signer
from lumni.types import ChatRequest, Principal
from lumni.upstream.client import Upstream


class Pipeline:
    """Serves chat requests of every surface. Holds nothing of a request between two of them."""

    def __init__(
        self,
        planner: Planner,
        quota: Quota,
        budgets: Budgets,
        preparation: Preparation,
        upstream: Upstream,
        sinks: Sequence[Sink],
        keeper: Keeper,
        journals: Sequence[Journal] = (),
        signer: Signer | None = None,
        cache: ResponseCache | None = None,
    ) -> None:
        self._planner = planner
        self._quota = quota
        self._preparation = preparation
        self._upstream = upstream
        self._sinks = sinks
        self._journals = journals
        self.budgets = budgets
        self.cache = cache or ResponseCache(None, b"", 0.0)
        self.drain = Drain()
        self._delivery = Delivery(keeper, signer, self.drain)

    async def complete(self, request: ChatRequest, principal: Principal) -> Reply:
        """Answer a request; a stream is returned once its first content is there. Raises :class:`LumniError`."""
        case = Case(request, principal, self._sinks, self._journals)
        try:
            door = await self._receive(case)
            await self._prepare(case)
            if kept := await self.cache.get(case.ask, request.deadline):
                return self._delivery.deliver_again(case, kept, self.cache.age(kept))
            admission = await self._admit(case, door)
            demand = self._quota.estimator.demand(case.request.body)
            plan = await self._plan(case, demand)
            candidates = await self._budget(case, plan)
            turn = await self._take_turn(case, admission, demand, candidates)
            answer = await self._upstream.send(case.request, candidates, turn, case.attempts)
            case.done("upstream")
            return await self._delivery.deliver(case, plan, answer)
        except asyncio.CancelledError:
            case.failed(self._departure())
            raise
        except BaseException as error:
            case.failed(error)
            raise

    def reject(self, request: ChatRequest, principal: Principal, error: LumniError) -> None:
        """Record a request of a known caller that can't be served, such as one whose body is wrong."""
        Case(request, principal, self._sinks, self._journals).failed(error)

    def abandon(self, request: ChatRequest, principal: Principal) -> None:
        """Record a request that is cancelled before all of it has come."""
        self.reject(request, principal, self._departure())

    async def _receive(self, case: Case) -> Door:
        """Is it time for this, and may this key ask so much at once?"""
        rules = self.budgets.rules_of(case.principal.course)
        case.request, case.principal = timetable.apply(case.request, case.principal, rules)
        door = Door(self._quota, case.request, case.principal)
        await door.knock(burst_only=self.cache.on)
        case.done("admission")
        return door

    async def _prepare(self, case: Case) -> None:
        """The request with its prompt and its variant, and what to ask the cache."""
        case.request = await self._preparation.prepare(case.request, case.principal)
        case.ask = self.cache.ask(case.request, case.principal)
        case.done("prompt")

    async def _admit(self, case: Case, door: Door) -> Admission:
        """May this student ask so much in a minute and in an hour?"""
        case.admission = await door.enter()
        return case.admission

    async def _plan(self, case: Case, demand: Demand) -> Plan:
        """Which deployments could answer, the best first?"""
        case.accounts = self.budgets.accounts(case.request, case.principal)
        case.request = self.budgets.economise(case.request, case.accounts)
        case.plan = await self._planner.plan(case.request, case.principal, demand)
        case.done("plan")
        return case.plan

    async def _budget(self, case: Case, plan: Plan) -> Sequence[Deployment]:
        """Hold the most that it can cost; those whose cost is bounded remain."""
        case.purse, candidates = await self.budgets.reserve(case.request, case.accounts, plan.deployments)
        case.request = case.purse.bound(case.request) if case.purse else case.request
        case.done("budget")
        return candidates

    async def _take_turn(
        self, case: Case, admission: Admission, demand: Demand, candidates: Sequence[Deployment]
    ) -> Turn:
        """Wait in line until one of them has quota for it."""
        case.turn = Turn(self._quota, admission.ticket, demand.bounded(case.request.body))
        await case.turn.lease(candidates, case.request.deadline)
        case.done("lease")
        return case.turn

    def _departure(self) -> LumniError:
        """Why a request is cancelled: surfaces do it when the client left, or when the time to drain is over."""
        if self.drain.over:
            return ShuttingDown("The gateway is being stopped. Ask again in a moment.")
        return ClientDisconnected("The client left.")
