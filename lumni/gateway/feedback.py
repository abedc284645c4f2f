"""What people think of answers, in both places: the database, and Portkey."""

from collections.abc import Callable
from datetime import datetime

import orjson

from lumni.errors import NotFound
from lumni.gateway.explaining import may_see
from lumni.storage.experiments import ExperimentRepository
from lumni.storage.records import RecordRepository
from lumni.telemetry.outbox import Outbox
from lumni.types import Principal, RequestRecord


class Feedback:
    """``outbox`` takes it to Portkey, ``None``: nothing goes there."""

    def __init__(
        self,
        records: RecordRepository,
        experiments: ExperimentRepository,
        outbox: Outbox | None,
        now: Callable[[], datetime],
    ) -> None:
        self._records = records
        self._experiments = experiments
        self._outbox = outbox
        self._now = now

    async def give(self, principal: Principal, request_id: str, value: int, weight: float) -> None:
        """Keep feedback on a request, in place of an earlier one. Raises :class:`NotFound` for one of somebody else."""
        record = await self._records.get(request_id)
        if record is None or not may_judge(record, principal):
            raise NotFound("There is no such request of yours. Its id is in the answer's header x-lumni-request-id.")
        await self._experiments.give(request_id, value, weight, self._now())
        if self._outbox is not None:
            self._outbox.put(orjson.dumps({"trace_id": request_id, "value": value, "weight": weight}))


def may_judge(record: RequestRecord, principal: Principal) -> bool:
    """One's own requests, and a teacher those of the course."""
    return may_see(record, principal) or (
        principal.role == "teacher" and principal.course is not None and record.course == principal.course
    )
