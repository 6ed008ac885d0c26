"""Connections and named queries, with the errors that a request's own content can cause made InvalidArgument."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from threadmill_chassis import postgres
from threadmill_chassis.errors import InvalidArgument
from threadmill_chassis.postgres import Connection, Pool, PostgresSettings

from threadmill_threads.schema import QUERIES

# Broken JSON, characters that Postgres cannot hold, a document that is not the object it must be.
CONTENT_ERRORS = (asyncpg.DataError, asyncpg.CheckViolationError, asyncpg.ProgramLimitExceededError)


class Database:
    """What repositories share."""

    def __init__(self, pool: Pool, settings: PostgresSettings) -> None:
        self._pool = pool
        self._settings = settings
        self.queries: Any = postgres.load_queries(QUERIES)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection on which each statement commits by itself."""
        async with postgres.connection(self._pool, self._settings) as connection:
            try:
                yield connection
            except CONTENT_ERRORS as error:
                raise InvalidArgument(f"the database refuses a value: {error}") from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection on which statements commit together, when the block ends well."""
        async with self.connection() as connection, connection.transaction():
            yield connection
