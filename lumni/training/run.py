"""``lumni train``: from files of rows to the weight file and its card."""

import hashlib
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from threadpoolctl import threadpool_limits

from lumni.errors import InvalidRequest
from lumni.intelligence.weights import LARGEST, dump, parse
from lumni.training import figures
from lumni.training.card import Facts, card
from lumni.training.examples import CLASSROOM, Source, load
from lumni.training.fit import Settings, fit, table
from lumni.training.judge import Figure, judge_benchmarks, judge_classroom, leave_one_group_out, predict

MADE_WITH = ("numpy", "scikit-learn", "scipy")

FORBIDDEN = ("mmlu", "gsm8k", "gsm", "mt_bench", "mt-bench", "mtbench", "routerarena", "alpacaeval", "alpaca_eval")
"""Groups that judge the classifier, or whose outcomes are unusable. MMLU-Pro (``mmlupro_…``) is another benchmark."""


def train(files: Sequence[Path], judges: Sequence[Path], settings: Settings) -> tuple[bytes, str]:
    """The weight file's bytes and the card's text. The same files and settings give the same of both.

    Raises:
        InvalidRequest: a row can't be read or must not be trained on, or the weights would be too large.
    """
    trained_on = [load(path) for path in sorted(files, key=lambda path: path.name)]
    judged_on = [load(path) for path in sorted(judges, key=lambda path: path.name)]
    examples = [example for source in trained_on for example in source.examples]
    _permitted(trained_on)
    # Threads add up in any order: with one, the sums and so the bytes are the same every time.
    with threadpool_limits(limits=1):
        content = dump(fit(table(examples), settings))
        weights = parse(content)
        trained: list[Figure] = []
        if any(example.group == CLASSROOM for example in examples):
            trained += judge_classroom(weights, examples, settings)
        if len({example.group for example in examples if example.gain is not None}) > 1:
            trained.append(leave_one_group_out(examples, settings))
        held = [example for source in judged_on for example in source.examples]
        judged = judge_benchmarks(weights, held, settings) if held else []
        rows = table(held) if held else None
        covered = figures.coverage(predict(weights, rows).fails, rows.fails > 0.5) if rows is not None else []
    if len(content) > LARGEST:
        message = f"The weights take {len(content):,} bytes, more than {LARGEST:,}."
        raise InvalidRequest(message)
    versions = {name: version(name) for name in MADE_WITH} | {"Python": platform.python_version()}
    facts = Facts(
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        versions=versions,
        settings=settings,
        trained_on=trained_on,
        judged_on=judged_on,
        trained=trained,
        judged=judged,
        coverage=covered,
    )
    return content, card(facts)


def _permitted(sources: Sequence[Source]) -> None:
    for source in sources:
        for example in source.examples:
            name = example.group.casefold()
            if any(name == word or name.startswith((f"{word}_", f"{word}-")) for word in FORBIDDEN):
                message = f"{source.name}: rows of {example.group} judge the classifier and must not train it."
                raise InvalidRequest(message)
