"""Records as lines of the spool: JSON, one line each, cheap to write on the request's way."""

from datetime import datetime

import orjson

from lumni.storage.rows import INT32, Row, clean_int, clean_json, request_row
from lumni.types import RequestRecord

_COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "list_cost", "billed_cost")
_BEGUN = b'{"begun":'


def encode(record: RequestRecord) -> bytes:
    """The line of a record, without its end. Raises ``ValueError`` or ``TypeError`` for what no JSON can hold."""
    if record.created_at.tzinfo is None:
        raise ValueError("created_at has no time zone")
    try:
        return orjson.dumps(record)
    except TypeError:  # half a surrogate pair, a number beyond 64 bits: mended as for the database
        return orjson.dumps(request_row(record))


def encode_begun(record: RequestRecord) -> bytes:
    """The line of a request that has begun: what to record of it if this process doesn't live to see its end."""
    return _BEGUN + encode(record) + b"}"


def is_begun(line: bytes) -> bool:
    return line.startswith(_BEGUN)


def row_of(line: bytes) -> Row:
    """The row of ``requests`` that a line stands for, as :func:`lumni.storage.rows.request_row` would make it.

    Raises ``ValueError`` for a line that is none: one that a full disk or a power cut left half written.
    """
    row: Row = orjson.loads(line)
    if b'"begun":' in line[:9]:
        row = row["begun"]
    if b"\\u0000" in line:
        row = clean_json(row)
    try:
        row["created_at"] = datetime.fromisoformat(row["created_at"])
        # NaN and infinity are null in JSON, and these columns are never empty.
        row["latency_ms"] = row["latency_ms"] or 0.0
        row["queued_ms"] = row["queued_ms"] or 0.0
        row["factors"] = {name: weight or 0.0 for name, weight in row["factors"].items()}
        for attempt in row["attempts"]:
            attempt["started_ms"] = attempt["started_ms"] or 0.0
            attempt["duration_ms"] = attempt["duration_ms"] or 0.0
        for name in _COUNTS:
            if row[name] is not None:
                row[name] = clean_int(row[name])
        row["status"] = clean_int(row["status"], INT32)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a record: {error!r}") from error
    return row
