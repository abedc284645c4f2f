"""What can go wrong with the database, in words that say how to mend it and never hold a password."""

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

REFUSALS = frozenset({"22", "23", "54"})  # SQLSTATE classes: data exception, integrity violation, program limit
AWAY = frozenset({"08", "53", "57"})  # SQLSTATE classes: connection, resources, an operator's intervention
NO_PARTITION = "23514"  # check violation: we have no checks, but a partition may be made between routing and storing


class StorageError(Exception):
    """Base of the errors below; ``str(error)`` is fit for a terminal or a log."""


class BadDatabaseURL(StorageError):
    """``DATABASE_URL`` is not an address that Lumni understands."""


class StorageUnavailable(StorageError):
    """The database can't be reached or used now; the message says what to look at."""


class Unreachable(OSError):
    """No connection to the server; its cause says why."""


class SchemaTooNew(StorageError):
    """A later version of Lumni has migrated this database."""


class RecordsRefused(StorageError):
    """The database refuses the data themselves: trying the same again can't help."""


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's five-character code, if the error or what it wraps has one."""
    for candidate in (error, getattr(error, "orig", None), error.__cause__):
        code = getattr(candidate, "sqlstate", None)
        if isinstance(code, str):
            return code
    return None


def refuses_data(error: Exception) -> bool:
    """Whether the data are at fault, and not the connection, the disk or the schema."""
    code = sqlstate(error) or ""
    if code == NO_PARTITION:
        return False
    if isinstance(error, DataError | IntegrityError) or code[:2] in REFUSALS:
        return True
    if isinstance(error, DBAPIError):
        cause = error.orig.__cause__ if error.orig is not None else None
        return isinstance(cause, ValueError)
    return isinstance(error, StatementError | TypeError | ValueError | AttributeError | OverflowError)


def is_away(error: Exception) -> bool:
    """Whether the database can't be reached or used now, and the same may succeed later."""
    if isinstance(error, Unreachable | StorageUnavailable | PoolTimeout) or (sqlstate(error) or "")[:2] in AWAY:
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
    return False


def unavailable(error: Exception, where: str) -> StorageUnavailable:
    """A failed connection or statement as an error that says what to do. ``where`` is the address without secrets."""
    code = sqlstate(error)
    if where.startswith("sqlite"):
        hint = "Check that the folder exists, is on a local disk with space left, and that this user may write to it."
    elif code in {"28P01", "28000"}:
        hint = "The server refused the user or its password: check both in DATABASE_URL, and the server's pg_hba.conf."
    elif code == "3D000":
        hint = "The server has no database of that name: create it (createdb), or correct DATABASE_URL."
    elif code in {"53300", "57P03"}:
        hint = "The server is starting, stopping or has no free connection: try again, or raise its max_connections."
    elif code == "42501":
        hint = "The user lacks rights: let it own the database, or grant CREATE on its schema for the migration."
    else:
        hint = (
            "Check that the server runs and may be reached from here, and host, port and sslmode in DATABASE_URL; "
            "without DATABASE_URL Lumni keeps its data in an SQLite file."
        )
    cause = error.__cause__ if isinstance(error, Unreachable) else getattr(error, "orig", None)
    kind = type(cause or error).__name__
    return StorageUnavailable(f"The database at {where} can't be used ({kind}{f', {code}' if code else ''}). {hint}")
