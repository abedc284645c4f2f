"""Records as lines of the spool: JSON, one line each, cheap to write on the request's way."""

from datetime import datetime
from typing import Any

import orjson

from lumni.storage.rows import INT32, INT64, Row, clean_int, clean_json, request_row
from lumni.storage.tables import requests
from lumni.types import RequestRecord

_COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "list_cost", "billed_cost")
# Plain strings, for orjson takes none of SQLAlchemy's own as keys; the id is the first.
_STORED = tuple(str(column.name) for column in requests.columns if column.name != "decision")
_BEGUN = b'{"begun":'
_DECISION = b',"lumni.decision":'  # stands last and is not read again: it is larger than all else together


def encode(record: RequestRecord) -> bytes:
    """The line of a record, without its end. Raises ``ValueError`` or ``TypeError`` for what no JSON can hold."""
    if record.created_at.tzinfo is None:
        raise ValueError("created_at has no time zone")
    try:
        return _line({name: getattr(record, name) for name in _STORED}, record.decision)
    except TypeError:  # half a surrogate pair, a number beyond 64 bits: mended as for the database
        row = request_row(record)
        return _line(row, row.pop("decision"))


def _line(values: Row, decision: Any) -> bytes:
    return orjson.dumps(values)[:-1] + _DECISION + orjson.dumps(decision) + b"}"


def encode_begun(record: RequestRecord) -> bytes:
    """The line of a request that has begun: what to record of it if this process doesn't live to see its end."""
    return _BEGUN + encode(record) + b"}"


def is_begun(line: bytes) -> bool:
    return line.startswith(_BEGUN)


def row_of(line: bytes) -> Row:
    """The row of ``requests`` that a line stands for, as :func:`lumni.storage.rows.request_row` would make it.

    Its ``decision`` is JSON already, as ``bytes``. Raises ``ValueError`` for a line that is none: one that a full disk
    or a power cut left half written.
    """
    head, _, decision = (line[len(_BEGUN) : -1] if is_begun(line) else line).partition(_DECISION)
    row: Row = orjson.loads(head + b"}")
    if b"\\u0000" in line:
        row = clean_json(row)
        decision = orjson.dumps(clean_json(orjson.loads(decision[:-1]))) + b"}"
    try:
        row["decision"] = None if decision == b"null}" else decision[:-1]
        row["created_at"] = datetime.fromisoformat(row["created_at"])
        # NaN and infinity are null in JSON, and these columns are never empty.
        row["latency_ms"] = row["latency_ms"] or 0.0
        row["queued_ms"] = row["queued_ms"] or 0.0
        if None in row["factors"].values():
            row["factors"] = {name: weight or 0.0 for name, weight in row["factors"].items()}
        for attempt in row["attempts"]:
            attempt["started_ms"] = attempt["started_ms"] or 0.0
            attempt["duration_ms"] = attempt["duration_ms"] or 0.0
            if not -INT64 <= (attempt["status"] or 0) <= INT64:
                attempt["status"] = clean_int(attempt["status"])
        for name in _COUNTS:
            if not -INT64 <= (row[name] or 0) <= INT64:
                row[name] = clean_int(row[name])
        if not -INT32 <= row["status"] <= INT32:
            row["status"] = clean_int(row["status"], INT32)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a record: {error!r}") from error
    return row
