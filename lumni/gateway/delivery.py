"""How an answer reaches the client: whole, event by event as it comes, or once more."""

from collections.abc import AsyncGenerator

from lumni import sse
from lumni.errors import StreamInterrupted
from lumni.gateway import metadata, replay
from lumni.gateway.cache import Kept
from lumni.gateway.case import Case
from lumni.gateway.drain import Drain
from lumni.gateway.keeping import Recording
from lumni.gateway.reply import Closing, Reply
from lumni.gateway.transcript import Keeper, Transcript
from lumni.intelligence import Plan
from lumni.receipt import Signer
from lumni.types import ChatRequest, Json, Outcome, RequestRecord
from lumni.upstream.answer import StreamedAnswer, WholeAnswer
from lumni.upstream.failures import AttemptFailed


class Delivery:
    """``keeper`` takes what may be kept of content, ``signer`` signs receipts."""

    def __init__(self, keeper: Keeper, signer: Signer | None, drain: Drain) -> None:
        self._keeper = keeper
        self._signer = signer
        self._drain = drain

    async def deliver(self, case: Case, plan: Plan, answer: WholeAnswer | StreamedAnswer) -> Reply:
        """An answer that just came. Its case is closed when it has left, however that goes."""
        headers = metadata.headers(answer, plan, case)
        if isinstance(answer, WholeAnswer):
            return Reply(headers, body=self._whole(case, plan, answer))
        events = self._stream(case, plan, answer)
        # Closing a generator that never ran runs none of it: begun, it settles even if nobody reads the answer.
        await anext(events)
        return Reply(headers, events=events)

    def deliver_again(self, case: Case, kept: Kept, age: int) -> Reply:
        """An answer that was kept ``age`` seconds ago, as a body or as a stream."""
        record = case.replayed(kept)
        said = self._transcript(case).end(kept.body)
        told = self._signed(metadata.kept_metadata(record, kept, age), case, record, said)
        return replay.reply(kept.body, case.asked, told, metadata.kept_headers(kept, age))

    def _whole(self, case: Case, plan: Plan, answer: WholeAnswer) -> Json:
        Recording(case).end(answer, plan)
        record = case.answered(answer)
        said = self._transcript(case).end(answer.body)
        if case.asked.metadata_in_body:
            return {**answer.body, "lumni": self._signed(metadata.metadata(record, plan), case, record, said)}
        return answer.body

    async def _stream(self, case: Case, plan: Plan, answer: StreamedAnswer) -> AsyncGenerator[bytes]:
        """Nothing, once; then the answer's events as they come; the last one says what was chosen and what it cost."""
        case.first_content = case.now()
        outcome, status = Outcome.DISCONNECTED, 499
        transcript, recording = self._transcript(case), Recording(case)
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
            if outcome is Outcome.DISCONNECTED and self._drain.over:
                outcome, status = Outcome.CUT, 200
            try:
                await answer.aclose()
            finally:
                record = case.answered(answer, outcome, status)
                said = transcript.end(closing=answer.closing)
        told = self._signed(metadata.metadata(record, plan), case, record, said)
        yield Closing(b"".join(map(sse.event, _closing(answer, case.asked, told))))

    def _transcript(self, case: Case) -> Transcript:
        return Transcript(self._keeper, case.asked, case.principal)

    def _signed(self, told: Json, case: Case, record: RequestRecord, said: str | None) -> Json:
        """The ``lumni`` object, with a receipt of what was ``said`` if the client asked for one."""
        if said is None or self._signer is None:
            return told
        return told | {"receipt": self._signer.sign(metadata.receipt(case.asked, record, said))}


def _closing(answer: StreamedAnswer, request: ChatRequest, told: Json) -> list[Json]:
    """The last chunks of a stream, as the client wants them."""
    chunks = list(answer.closing)
    if request.include_usage:
        chunks.append({**chunks[-1], "choices": [], "usage": answer.usage_body})
    if request.metadata_in_body:
        chunks[-1] = {**chunks[-1], "lumni": told}
    return chunks
