"""``lumni classify``: how hard tasks are, without asking any model."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer

ROW = "a row is a JSON object with a text as `prompt` or a list as `messages`, in UTF-8"


def classify(
    task: Annotated[str, typer.Argument(help="A text, or a JSONL file of rows with `prompt` or `messages`.")] = "",
) -> None:
    """Say how hard a task is, and why: one JSON line for each row. Without TASK it reads standard input."""
    from lumni.cli.failure import explained

    row({})  # so that no row's time holds the reading of the weights
    with explained():
        for body in bodies(task):
            # Bytes, so that neither the terminal's encoding nor a lone surrogate of the input can break a line.
            sys.stdout.buffer.write((json.dumps(row(body)) + "\n").encode())
    sys.stdout.buffer.flush()


def row(body: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a chat body. ``milliseconds`` is the time that the classification took."""
    from lumni.intelligence import classify as judged

    before = perf_counter()
    found = judged(body)
    spent = perf_counter() - before
    return {
        "task_type": found.task_type,
        "confidence": round(found.confidence, 4),
        "weak_fails": round(found.weak_fails, 6),
        "gain": round(found.gain, 6),
        "abstained": found.abstained,
        "factors": {factor.name: round(factor.weight, 4) for factor in found.factors},
        "milliseconds": round(1000 * spent, 3),
    }


def bodies(task: str) -> Iterator[Mapping[str, Any]]:
    """The chat bodies that ``task`` stands for.

    Raises:
        InvalidRequest: a line of the file is no row; the message says which.
    """
    from lumni.errors import InvalidRequest

    if not task.endswith(".jsonl"):
        yield {"messages": [{"role": "user", "content": task or sys.stdin.read()}]}
        return
    try:
        with Path(task).open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _body(line, f"{task}, line {number}", first=number == 1)
    except OSError as error:
        message = f"{task} can't be read: {error}."
        raise InvalidRequest(message) from error


def _body(line: bytes, where: str, *, first: bool) -> Mapping[str, Any]:
    from lumni.errors import InvalidRequest

    try:
        found = json.loads(line.decode("utf-8-sig" if first else "utf-8"))
        if isinstance(found.get("messages"), list) and found["messages"]:
            return dict(found)
        if isinstance(found["prompt"], str):
            return {**found, "messages": [{"role": "user", "content": found["prompt"]}]}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidRequest(f"{where}: {ROW} ({type(error).__name__}).") from error
    raise InvalidRequest(f"{where}: {ROW}.")
