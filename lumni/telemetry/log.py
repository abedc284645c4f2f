"""One line in the log for every request: what was asked, what was chosen, how it ended. No content, no key."""

import logging

from lumni.types import RequestRecord

logger = logging.getLogger("lumni.requests")


class LogSink:
    """A sink of records."""

    def write(self, record: RequestRecord) -> None:
        logger.info(
            "%s %s %r -> %s, %s %s, %d+%d tokens, %.0f ms, %d attempts",
            record.request_id,
            record.surface,
            record.requested_model,
            record.deployment or "-",
            record.status,
            record.outcome,
            record.prompt_tokens,
            record.completion_tokens,
            record.latency_ms,
            len(record.attempts),
        )
