"""Real services for tests. Each starts when the first test asks for it and ends with the session."""

import gc
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.services import databases
from tests.services.databases import PostgresDatabases
from tests.services.gateway import Gateway
from tests.services.postgres import Postgres
from tests.services.server import Unavailable
from tests.services.valkey import Valkey

# No time limits: a busy machine is no fault of the code. In CI the same examples every time.
settings.register_profile(
    "lumni", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("lumni")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The session's PostgreSQL server."""
    try:
        server = Postgres()
    except Unavailable as reason:
        pytest.skip(str(reason))
    with server:
        yield server


@pytest.fixture(scope="session")
def postgres_url(postgres: Postgres) -> str:
    """The address of the server's maintenance database."""
    return postgres.url()


@pytest.fixture(scope="session")
def postgres_databases(postgres: Postgres) -> PostgresDatabases:
    """Makes databases on the session's server."""
    return PostgresDatabases(postgres)


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """The session's Valkey server."""
    try:
        server = Valkey()
    except Unavailable as reason:
        pytest.skip(str(reason))
    with server:
        yield server


@pytest.fixture(scope="session")
def valkey_url(valkey: Valkey) -> str:
    """The address of the server's database 0, shared by the session: use key prefixes of your own."""
    return valkey.url()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file, migrated once."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    databases.migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A migrated database of the module's own, on each kind of database in turn."""
    if request.param == "sqlite":
        path = tmp_path_factory.mktemp("database") / "lumni.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    maker: PostgresDatabases = request.getfixturevalue("postgres_databases")
    url = maker.create()
    yield url
    maker.drop(url)


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the test's own, without any tables, on each kind of database in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    maker: PostgresDatabases = request.getfixturevalue("postgres_databases")
    url = maker.empty()
    yield url
    maker.drop(url)


@pytest.fixture(scope="session")
def lab_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """The session's gateway without any provider's key: the lab answers. Leave it as you found it."""
    with Gateway(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


def pytest_sessionfinish() -> None:
    """Collect what is left after the last test without complaint: a whole run once ended with an open connection.

    Whose it was isn't known. What the collector meets while tests run still fails them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        for _ in range(5):
            gc.collect()
