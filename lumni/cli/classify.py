"""``lumni classify``: one line of JSON for each text, to look at the classifier or to measure it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path


def classify(
    text: Annotated[str, typer.Argument(metavar="[TEXT | FILE.jsonl]", help="A text, or rows to classify.")],
) -> None:
    """Classify a text, or each row of a JSONL file that has a `prompt` or `messages`: one line of JSON each."""
    import json
    import time
    from pathlib import Path

    from lumni.cli.failure import explained
    from lumni.intelligence import classify as judge

    path = Path(text) if text.endswith(".jsonl") else None
    with explained():
        for body in _bodies(path) if path else [_body(text)]:
            began = time.perf_counter()
            found = judge(body)
            row = {
                "task_type": found.task_type,
                "confidence": round(found.confidence, 4),
                "weak_fails": _rounded(getattr(found, "weak_fails", None)),
                "gain": _rounded(getattr(found, "gain", None)),
                "factors": {factor.name: round(factor.weight, 4) for factor in found.factors},
                "milliseconds": round(1000 * (time.perf_counter() - began), 3),
            }
            typer.echo(json.dumps(row, ensure_ascii=False))


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 4)


def _body(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def _bodies(path: "Path") -> Iterator[dict[str, Any]]:
    """The rows of a file as chat bodies. Raises ``InvalidRequest``, which names the line that is none."""
    import json

    from lumni.errors import InvalidRequest

    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if isinstance(row, dict) and isinstance(row.get("messages"), list):
                    yield row
                elif isinstance(row, dict) and isinstance(row.get("prompt"), str):
                    yield _body(row["prompt"])
                else:
                    raise InvalidRequest(f"{path}, line {number}: needs a `prompt` or `messages`.")
    except OSError as error:
        raise InvalidRequest(f"{path} can't be read: {error.strerror}.") from None
    except ValueError as error:
        raise InvalidRequest(f"{path}, line {number}: {error}.") from None
