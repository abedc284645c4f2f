"""How a command ends that can't do what it was asked: one clear line, no traceback, exit code 1."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer


@contextmanager
def explained() -> Iterator[None]:
    """Turns the errors that a user can mend into a message on standard error."""
    from lumni.errors import LumniError
    from lumni.files import ConfigurationError
    from lumni.storage.errors import StorageError

    try:
        yield
    except (ConfigurationError, LumniError, StorageError) as error:
        typer.secho(str(error), fg="red", err=True)
        raise typer.Exit(1) from None
