"""``lumni train``: makes the classifier's weights anew."""

from pathlib import Path
from typing import Annotated

import typer

MISSING = (
    "Training needs scikit-learn, which serving doesn't. In a checkout: uv sync --group train; "
    "elsewhere: pip install scikit-learn"
)


def train(
    files: Annotated[
        list[Path],
        typer.Argument(exists=True, dir_okay=False, help="JSONL: `prompt` or `messages`, and `level` or `weak`."),
    ],
    judge: Annotated[
        list[Path] | None,
        typer.Option("--judge", exists=True, dir_okay=False, help="JSONL rows that only judge. Repeatable."),
    ] = None,
    output: Annotated[Path, typer.Option(help="Where the weights go.")] = Path("weights.npz"),
    card: Annotated[Path, typer.Option(help="Where the model card goes.")] = Path("model-card.md"),
    seed: Annotated[int | None, typer.Option(help="Shuffles the folds and the bootstrap.")] = None,
) -> None:
    """Train the classifier: weights and a model card with data, settings and figures. Needs scikit-learn."""
    from importlib.util import find_spec

    from lumni.cli.failure import explained

    if find_spec("sklearn") is None:
        typer.echo(MISSING, err=True)
        raise typer.Exit(1)
    from lumni.training.fit import Settings
    from lumni.training.run import train as run

    with explained():
        settings = Settings() if seed is None else Settings(seed=seed)
        content, text = run(files, judge or [], settings)
        output.write_bytes(content)
        card.write_text(text, encoding="utf-8")
    typer.echo(f"Wrote {output} ({len(content):,} bytes) and {card}.")
