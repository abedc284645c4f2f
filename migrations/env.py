"""How Alembic reaches the database: by the connection that `lumni.storage.migrate` gives, or by itself on the CLI."""

import asyncio

from alembic import context
from sqlalchemy import Connection

from lumni.settings import Settings
from lumni.storage import months
from lumni.storage.engine import make_engine, make_sqlite_file
from lumni.storage.tables import metadata


def run(connection: Connection) -> None:
    """Run the migrations in the connection's transaction, on SQLite too, where Alembic would not by itself."""
    sqlite = connection.dialect.name == "sqlite"
    context.configure(
        connection=connection,
        target_metadata=metadata,
        include_name=months.is_table,
        render_as_batch=sqlite,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_alone() -> None:
    """`alembic …` on the command line: DATABASE_URL and DATA_DIR say where, as for the server."""
    engine = make_engine(Settings.load())
    if engine.dialect.name == "sqlite":
        await asyncio.to_thread(make_sqlite_file, engine)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(run)
    finally:
        await engine.dispose()


def print_sql() -> None:
    """`alembic upgrade --sql`: the statements for a person to read and run."""
    dialect = make_engine(Settings.load()).dialect.name
    context.configure(dialect_name=dialect, target_metadata=metadata, literal_binds=True, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    print_sql()
elif (given := context.config.attributes.get("connection")) is not None:
    run(given)
else:
    asyncio.run(run_alone())
