"""Records as lines of the spool: JSON, one line each, cheap to write on the request's way."""

from datetime import datetime

import orjson

from lumni.storage.rows import INT32, INT64, Row, clean_int, clean_json, request_row
from lumni.types import RequestRecord

_COUNTS = ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens", "list_cost", "billed_cost")
_BEGUN = b'{"begun":'
# Before it stands the list of ``steps``, which nothing else ends with: no text, no name of a factor can look like it.
_DECISION = b'],"decision":'
_DECISION_OF_OLD = b',"lumni.decision":'  # in lines of Lumni 0.1 before it wrote records as they are


def encode(record: RequestRecord) -> bytes:
    """The line of a record, without its end. Raises ``ValueError`` or ``TypeError`` for what no JSON can hold."""
    if record.created_at.tzinfo is None:
        raise ValueError("created_at has no time zone")
    try:
        return orjson.dumps(record)
    except TypeError:  # half a surrogate pair, a number beyond 64 bits: mended as for the database
        row = request_row(record)
        decision = row.pop("decision")
        return orjson.dumps({**row, "steps": (), "decision": decision})


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
    head, decision = _parted(line[len(_BEGUN) : -1] if is_begun(line) else line)
    row: Row = orjson.loads(head)
    row.pop("trace", None)
    row.pop("steps", None)
    if b"\\u0000" in line:
        row = clean_json(row)
        decision = orjson.dumps(clean_json(orjson.loads(decision)))
    try:
        row["decision"] = None if decision == b"null" else decision
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


def _parted(line: bytes) -> tuple[bytes, bytes]:
    """All but the decision, and the decision, which is not read again. Both are JSON."""
    head, found, decision = line.partition(_DECISION)
    if found:
        return head + b"]}", decision[:-1]
    head, _, decision = line.partition(_DECISION_OF_OLD)
    return head + b"}", decision[:-1]
