"""The Postgres pool of a service: bounded, with JSON as text and driver errors translated in one place."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiosql
import asyncpg
import structlog
from pydantic import Field, SecretStr
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_exponential

from threadmill_chassis.errors import Unavailable
from threadmill_chassis.settings import ProcessSettings

log = structlog.get_logger(__name__)

# asyncpg's classes are generic in its stubs only.
if TYPE_CHECKING:
    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:
    Pool = asyncpg.Pool
    Connection = asyncpg.Connection

# What says that the server, or the way to it, is gone for the moment. Operator intervention: shutdown and crash.
CONNECTION_ERRORS = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)
# What succeeds when it is tried again.
TRANSIENT_ERRORS = (TimeoutError, asyncpg.TooManyConnectionsError, asyncpg.TransactionRollbackError)


class _Connection(asyncpg.Connection):
    """Comes back to the pool as it is: no service changes its session, and resetting it costs a round trip."""

    def get_reset_query(self) -> str:
        """Nothing to run."""
        return ""


class PostgresSettings(ProcessSettings):
    """Settings of a process that owns a schema. Every service has its own DSN, even on one server."""

    postgres_dsn: SecretStr
    postgres_pool_max: int = Field(default=10, gt=0)
    postgres_connect_timeout_seconds: float = Field(default=30.0, gt=0)
    postgres_statement_timeout_seconds: float = Field(default=60.0, gt=0)
    postgres_acquire_timeout_seconds: float = Field(default=30.0, gt=0)


@asynccontextmanager
async def open_pool(settings: PostgresSettings, service: str) -> AsyncIterator[Pool]:
    """A pool for the block. Waits for a server that is still starting; then raises Unavailable."""
    try:
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(CONNECTION_ERRORS),
            wait=wait_exponential(0.1, max=2),
            stop=stop_after_delay(settings.postgres_connect_timeout_seconds),
            reraise=True,
        ):
            with attempt:
                pool = await asyncpg.create_pool(
                    settings.postgres_dsn.get_secret_value(),
                    min_size=1,
                    max_size=settings.postgres_pool_max,
                    connection_class=_Connection,
                    timeout=5,
                    command_timeout=settings.postgres_statement_timeout_seconds,
                    server_settings={"application_name": f"threadmill-{service}"},
                )
    except CONNECTION_ERRORS as error:
        raise Unavailable(
            f"Postgres does not answer ({type(error).__name__}: {error}); is it running, and is the DSN right?"
        ) from error
    try:
        yield pool
    finally:
        pool.terminate()


@contextmanager
def translated() -> Iterator[None]:
    """Turns errors of the connection, as opposed to those of a statement, into Unavailable."""
    try:
        yield
    except (*CONNECTION_ERRORS, *TRANSIENT_ERRORS) as error:
        log.warning("postgres_unavailable", error=repr(error))
        raise Unavailable("the database does not answer at the moment") from error


@asynccontextmanager
async def connection(pool: Pool, settings: PostgresSettings) -> AsyncIterator[Connection]:
    """A pooled connection for the block; Unavailable when none is free in time or the server is gone."""
    with translated():
        async with _Acquired(pool, settings) as acquired:
            yield acquired


class _Acquired:
    """A connection of the pool; while the server restarts, connecting is tried again until the time is up."""

    def __init__(self, pool: Pool, settings: PostgresSettings) -> None:
        self._pool = pool
        self._seconds = settings.postgres_acquire_timeout_seconds
        self._connection: Any = None

    async def __aenter__(self) -> Any:
        try:
            self._connection = await self._pool.acquire(timeout=self._seconds)
        except CONNECTION_ERRORS:
            self._connection = await self._acquire_patiently()
        return self._connection

    async def _acquire_patiently(self) -> Any:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(CONNECTION_ERRORS),
            wait=wait_exponential(0.05, max=0.5),
            stop=stop_after_delay(self._seconds),
            reraise=True,
        )

        async def acquire() -> Any:
            return await self._pool.acquire(timeout=self._seconds)

        return await retrying(acquire)

    async def __aexit__(self, *_: object) -> None:
        await self._pool.release(self._connection)


@asynccontextmanager
async def transaction(pool: Pool, settings: PostgresSettings) -> AsyncIterator[Connection]:
    """A connection inside a transaction that commits when the block ends well."""
    async with connection(pool, settings) as acquired, acquired.transaction():
        yield acquired


def load_queries(folder: Path) -> Any:
    """The named queries (aiosql) of a service's `sql` folder, as coroutine functions that take a connection first."""
    return aiosql.from_path(folder, "asyncpg")


async def all_rows(rows: AsyncIterator[Any]) -> list[Any]:
    """What a query of many rows gives; aiosql has fetched them in one go and hands them out one by one."""
    return [row async for row in rows]
