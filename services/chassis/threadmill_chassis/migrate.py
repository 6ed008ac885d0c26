"""Applies a service's numbered SQL migrations, once, under an advisory lock.

Run by `threadmill migrate`, never by a replica at start. Forward only; each file is one transaction.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import asyncpg
import structlog

log = structlog.get_logger(__name__)

FILE_NAME = re.compile(r"^(\d{4})_[a-z0-9_]+\.sql$")


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `0001_initial.sql` has number 1."""

    number: int
    path: Path


def find_migrations(folder: Path) -> list[Migration]:
    """The migrations of a folder in order; ValueError for a misnamed file, a gap or a repeated number."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = FILE_NAME.match(path.name)
        if not match:
            raise ValueError(f"migration {path.name} is not named like 0001_initial.sql")
        found.append(Migration(int(match[1]), path))
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"migrations in {folder} are not numbered 1, 2, 3 … without gaps")
    return found


async def migrate(dsn: str, schema: str, folder: Path) -> int:
    """Creates `schema` if needed and applies what it lacks; answers how many files were applied.

    Safe to run from several places at once: the second waits for the first and finds nothing to do.
    """
    migrations = find_migrations(folder)
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", crc32(schema.encode()))
        await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        await connection.execute(
            f'CREATE TABLE IF NOT EXISTS "{schema}".migration'
            " (number int PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        done = await connection.fetchval(f'SELECT coalesce(max(number), 0) FROM "{schema}".migration')
        todo = [migration for migration in migrations if migration.number > done]
        for migration in todo:
            await _apply(connection, schema, migration)
        return len(todo)
    finally:
        await connection.close()


async def _apply(connection: "asyncpg.Connection[asyncpg.Record]", schema: str, migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(migration.path.read_text())
        await connection.execute(
            f'INSERT INTO "{schema}".migration (number, name) VALUES ($1, $2)', migration.number, migration.path.name
        )
    log.info("migrated", schema=schema, migration=migration.path.name)
