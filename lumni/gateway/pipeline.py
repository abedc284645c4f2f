"""The straight line: one chat request, from who asks to what happened."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from lumni import sse
from lumni.errors import ClientDisconnected, LumniError, ShuttingDown, StreamInterrupted
from lumni.gateway import replay, settlement, timetable
from lumni.gateway.admission import Door
from lumni.gateway.budgets import Budgets
from lumni.gateway.cache import Kept, ResponseCache
from lumni.gateway.drain import Drain
from lumni.gateway.keeping import Recording
from lumni.gateway.planning import Planner
from lumni.gateway.preparation import Preparation
from lumni.gateway.reply import Reply
from lumni.gateway.settlement import Case, Journal, Sink
from lumni.gateway.transcript import Keeper, Transcript
from lumni.gateway.turn import Turn
from lumni.intelligence import Plan
from lumni.quota.service import Quota
from lumni.receipt import Signer
from lumni.types import ChatRequest, Json, Outcome, Principal, RequestRecord
from lumni.upstream.answer import StreamedAnswer, WholeAnswer
from lumni.upstream.client import Upstream
from lumni.upstream.failures import AttemptFailed


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
        journal: Journal | None = None,
        signer: Signer | None = None,
        cache: ResponseCache | None = None,
    ) -> None:
        self._planner = planner
        self.budgets = budgets
        self._quota = quota
        self._preparation = preparation
        self._upstream = upstream
        self._sinks = sinks
        self._keeper = keeper
        self._journal = journal
        self._signer = signer
        self.cache = cache or ResponseCache(None, b"", 0.0)
        self.drain = Drain()

    def reject(self, request: ChatRequest, principal: Principal, error: LumniError) -> None:
        """Record a request of a known caller that can't be served, such as one whose body is wrong."""
        Case(request, principal, self._sinks).failed(error)

    async def complete(self, request: ChatRequest, principal: Principal) -> Reply:
        """Answer a request; a stream is returned once its first content is there. Raises :class:`LumniError`."""
        case = Case(request, principal, self._sinks, self._journal)
        try:
            request, principal = timetable.apply(request, principal, self.budgets.rules_of(principal.course))
            door = Door(self._quota, request, principal)
            await door.knock(burst_only=self.cache.on)
            case.done("admission")
            case.prepared = request = await self._preparation.prepare(request, principal)
            case.done("prompt")
            case.ask = self.cache.ask(request, principal)
            if hit := await self.cache.get(case.ask, request.deadline):
                return self._replay(hit, case)
            case.admission = await door.enter()
            request = self.budgets.economise(request, principal)
            case.plan = plan = await self._planner.plan(request, principal)
            case.done("plan")
            case.purse, candidates = await self.budgets.reserve(request, principal, plan.deployments)
            request = case.purse.bound(request) if case.purse else request
            case.done("budget")
            case.turn = turn = Turn(self._quota, case.admission.ticket, request.body)
            await turn.lease(candidates, request.deadline)
            case.done("lease")
            answer = await self._upstream.send(request, candidates, turn, case.attempts)
            case.done("upstream")
            headers = settlement.headers(answer, plan, case)
            if isinstance(answer, WholeAnswer):
                return Reply(headers, body=self._settle(answer, case, plan))
            events = self._stream(answer, case, plan)
            # Closing a generator that never ran runs none of it: begun, it settles even if nobody reads the answer.
            await anext(events)
            return Reply(headers, events=events)
        except asyncio.CancelledError:
            case.failed(self._departure())
            raise
        except BaseException as error:
            case.failed(error)
            raise

    def _departure(self) -> LumniError:
        """Why a request is cancelled: surfaces do it when the client left, or when the time to drain is over."""
        if self.drain.over:
            return ShuttingDown("The gateway is being stopped. Ask again in a moment.")
        return ClientDisconnected("The client left.")

    def _settle(self, answer: WholeAnswer, case: Case, plan: Plan) -> Json:
        Recording(case).end(answer, plan)
        record = case.answered(answer)
        said = Transcript(self._keeper, case.request, case.principal).end(answer.body)
        if case.request.metadata_in_body:
            return {**answer.body, "lumni": self._signed(settlement.metadata(record, plan), case, record, said)}
        return answer.body

    def _replay(self, kept: Kept, case: Case) -> Reply:
        """An answer that was kept, as a body or as a stream."""
        record, age = case.replayed(kept), self.cache.age(kept)
        said = Transcript(self._keeper, case.request, case.principal).end(kept.body)
        metadata = self._signed(settlement.kept_metadata(record, kept, age), case, record, said)
        return replay.reply(kept.body, case.request, metadata, settlement.kept_headers(kept, case, age))

    async def _stream(self, answer: StreamedAnswer, case: Case, plan: Plan) -> AsyncGenerator[bytes]:
        """Nothing, once; then the answer's events as they come; the last one says what was chosen and what it cost."""
        case.first_content = asyncio.get_running_loop().time()
        outcome, status = Outcome.DISCONNECTED, 499
        transcript, recording = Transcript(self._keeper, case.request, case.principal), Recording(case)
        try:
            yield b""
            async for events in answer:
                transcript.hear(events)
                recording.hear(events)
                yield events
            recording.end(answer, plan)
            outcome, status = Outcome.OK, 200
        except AttemptFailed as failed:
            outcome, status = Outcome.CUT, 200
            raise StreamInterrupted(
                f"{answer.deployment.provider} broke off in mid-answer: {failed.failure.detail}. Ask again.",
                extra={"attempts": [attempt.public() for attempt in case.attempts]},
            ) from failed
        except Exception:
            outcome, status = Outcome.ERROR, 500
            raise
        finally:
            if outcome is Outcome.DISCONNECTED and self.drain.over:
                outcome, status = Outcome.CUT, 200
            try:
                await answer.aclose()
            finally:
                record = case.answered(answer, outcome, status)
                said = transcript.end(closing=answer.closing)
        metadata = self._signed(settlement.metadata(record, plan), case, record, said)
        yield b"".join(map(sse.event, self._closing(answer, case.request, metadata)))

    def _signed(self, shown: Json, case: Case, record: RequestRecord, said: str | None) -> Json:
        """The ``lumni`` object, with a receipt of what was ``said`` if the client asked for one."""
        if said is None or self._signer is None:
            return shown
        return shown | {"receipt": self._signer.sign(settlement.receipt(case.request, record, said))}

    @staticmethod
    def _closing(answer: StreamedAnswer, request: ChatRequest, metadata: Json) -> list[Json]:
        chunks = list(answer.closing)
        if request.include_usage:
            chunks.append({**chunks[-1], "choices": [], "usage": answer.usage_body})
        if request.metadata_in_body:
            chunks[-1] = {**chunks[-1], "lumni": metadata}
        return chunks
