"""Builds the process from its settings."""

from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr
from threadmill_chassis.grpc_client import open_channel
from threadmill_chassis.grpc_server import serving
from threadmill_chassis.postgres import Pool, open_pool
from threadmill_protos.store.v1.embeddings_pb2_grpc import EmbeddingsStub

from threadmill_store.api import registration
from threadmill_store.batch import Memory
from threadmill_store.repo import ItemRepo
from threadmill_store.semantic.backlog import Backlog
from threadmill_store.semantic.embedder import Embedder
from threadmill_store.semantic.repo import SemanticRepo
from threadmill_store.semantic.vectors import Vectorizer
from threadmill_store.semantic.watch import IndexWatch
from threadmill_store.settings import StoreSettings
from threadmill_store.sweeper import Sweeper

# Postgres plans every execution of a prepared statement: how many items a prefix covers decides between two indexes,
# by orders of magnitude of time, and a generic plan, which Postgres may adopt after five executions, knows no prefix.
# Compiling those plans would cost more than they take. Searches by meaning go on in the index of vectors until filters
# leave enough, and a page is chosen from more than pgvector would look at by itself. Where a filter leaves few, items
# and vectors are not to be joined by merging: that reads the items by id, the whole store before the first that fits.
SESSION = {
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
    "enable_mergejoin": "off",
    "hnsw.iterative_scan": "relaxed_order",
    "hnsw.ef_search": "100",
}


@dataclass(frozen=True, slots=True)
class Semantic:
    """The parts of semantic search that live as long as the process."""

    watch: IndexWatch
    backlog: Backlog


@dataclass(frozen=True, slots=True)
class Application:
    """What runs: `pool` for tests to look behind, `duties` for `main` to keep alive."""

    pool: Pool
    memory: Memory
    sweeper: Sweeper
    semantic: Semantic | None = field(default=None)

    def duties(self) -> dict[str, Coroutine[Any, Any, None]]:
        """The side tasks, by name; none of them ends."""
        found = {"sweeper": self.sweeper.run()}
        if self.semantic is not None:
            found |= {"index_watch": self.semantic.watch.run(), "backlog": self.semantic.backlog.run()}
        return found


@asynccontextmanager
async def build(settings: StoreSettings) -> AsyncIterator[Application]:
    """Serves the store on `settings.bind` for the block; the caller runs the duties."""
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(open_pool(with_session(settings), "store"))
        items, semantic = ItemRepo(), SemanticRepo()
        vectorizer, running = None, None
        if settings.executor_address:
            channel = await stack.enter_async_context(open_channel(settings, settings.executor_address))
            embedder = Embedder(EmbeddingsStub(channel), settings.store_embed_timeout_seconds)
            watch = IndexWatch(settings, pool, semantic, embedder, channel)
            await watch.recall()
            vectorizer = Vectorizer(watch, embedder)
            running = Semantic(watch, Backlog(settings, pool, semantic, watch, embedder))
        memory = Memory(settings, pool, items, semantic, vectorizer)
        await stack.enter_async_context(serving(settings, settings.bind, [registration(memory)]))
        yield Application(pool, memory, Sweeper(settings, pool, items), running)


def with_session(settings: StoreSettings) -> StoreSettings:
    """The settings with a DSN that gives every connection the parameters of SESSION."""
    dsn = settings.postgres_dsn.get_secret_value()
    parameters = "&".join(f"{name}={value}" for name, value in SESSION.items())
    dsn += ("&" if "?" in dsn else "?") + parameters
    return settings.model_copy(update={"postgres_dsn": SecretStr(dsn)})
