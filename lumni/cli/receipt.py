"""``lumni receipt``: signed receipts, checked without any gateway."""

from pathlib import Path
from typing import Annotated, Any

import typer

from lumni.cli.people import Config

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Signed receipts of answers.")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A receipt, or the whole answer that it came with, as JSON.")],
    key: Annotated[str, typer.Option(help="The gateway's public key: `lumni receipt key`.")],
    request: Annotated[Path | None, typer.Option(help="The request's body: was just this asked?")] = None,
    answer: Annotated[Path | None, typer.Option(help="A text: was just this answered?")] = None,
) -> None:
    """Check a receipt, and that it belongs to this request and answer. Needs no gateway and no network."""
    from lumni.cli.failure import explained
    from lumni.errors import LumniError
    from lumni.receipt import hash_of, verify

    with explained():
        given = _read(file)
        receipt = given.get("lumni", {}).get("receipt") if "signature" not in given else given
        if not isinstance(receipt, dict):
            raise LumniError(f"{file} holds no receipt: ask for one with the header x-lumni-receipt: true.")
        verify(receipt, key)
        said = answer.read_text(encoding="utf-8") if answer else _said(given)
        if said is not None and hash_of(said) != receipt["answer_sha256"]:
            raise LumniError("The signature is right, but this is not the answer that was given.")
        if request and hash_of(_read(request).get("messages")) != receipt["prompt_sha256"]:
            raise LumniError("The signature is right, but this is not what was asked.")
    typer.echo(f"{receipt['model']} answered request {receipt['request_id']} at {receipt['time']}.")
    checked = [name for name, done in (("the request", request), ("the answer", said is not None)) if done]
    typer.echo(f"The signature is right{', and so are ' if checked else ''}{' and '.join(checked)}.")


@app.command()
def key(config: Config = None) -> None:
    """Print the public key that belongs to this gateway's receipts; anybody may know it."""
    from lumni.cli.failure import explained
    from lumni.services import receipt_signer
    from lumni.settings import Settings

    with explained():
        typer.echo(receipt_signer(Settings.load(config)).public_key)


def _read(file: Path) -> dict[str, Any]:
    import json

    from lumni.errors import LumniError

    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise LumniError(f"{file} can't be read: {error.strerror}.") from None
    except ValueError:
        raise LumniError(f"{file} is no JSON.") from None
    if not isinstance(found, dict):
        raise LumniError(f"{file} holds no JSON object.")
    return found


def _said(answer: dict[str, Any]) -> str | None:
    """The text of the first choice, if this is a whole answer."""
    try:
        said = answer["choices"][0]["message"]["content"]
    except (LookupError, TypeError):
        return None
    return said if isinstance(said, str) else None
