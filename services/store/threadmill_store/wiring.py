"""Builds the process from its settings."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from pydantic import SecretStr
from threadmill_chassis.grpc_server import serving
from threadmill_chassis.postgres import Pool, connection, open_pool

from threadmill_store.api import registration
from threadmill_store.batch import Memory
from threadmill_store.repo import ItemRepo
from threadmill_store.settings import StoreSettings
from threadmill_store.sweeper import Sweeper
from threadmill_store.vectors import install


@dataclass(frozen=True, slots=True)
class Application:
    """What runs: `pool` for tests to look behind, `sweeper` for `main` to keep alive."""

    pool: Pool
    memory: Memory
    sweeper: Sweeper


@asynccontextmanager
async def build(settings: StoreSettings) -> AsyncIterator[Application]:
    """Serves the store on `settings.bind` for the block; the caller runs the sweeper."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(planned_afresh(settings), "store"))
        if settings.store_index_dims is not None:
            async with connection(pool, settings) as acquired:
                await install(acquired, settings.store_index_dims)
        items = ItemRepo()
        memory = Memory(settings, pool, items)
        await stack.enter_async_context(serving(settings, settings.bind, [registration(memory)]))
        yield Application(pool, memory, Sweeper(settings, pool, items))


def planned_afresh(settings: StoreSettings) -> StoreSettings:
    """The settings with a DSN that makes Postgres plan every execution of a prepared statement.

    How many items a prefix covers decides between two indexes, by orders of magnitude of time. A generic plan,
    which Postgres may adopt after five executions, knows no prefix.
    """
    dsn = settings.postgres_dsn.get_secret_value()
    dsn += ("&" if "?" in dsn else "?") + "plan_cache_mode=force_custom_plan"
    return settings.model_copy(update={"postgres_dsn": SecretStr(dsn)})
