"""Keeps in mind which embedder the application has, as executors tell."""

import asyncio
from contextlib import suppress

import grpc
import structlog
from threadmill_chassis.errors import DomainError
from threadmill_chassis.postgres import Pool, connection

from threadmill_store.errors import EmbedderUnavailable, IndexMismatch
from threadmill_store.semantic.embedder import Embedder
from threadmill_store.semantic.index import Index
from threadmill_store.semantic.repo import SemanticRepo
from threadmill_store.semantic.tables import create_table
from threadmill_store.settings import StoreSettings

log = structlog.get_logger(__name__)

# How long the first operations of a new system wait for word of an executor. Without it they go on: what is written
# then is embedded later.
FIRST_WORD_SECONDS = 2.0
ASK_AGAIN_SECONDS = 30.0
PAUSE_SECONDS = 1.0


class IndexWatch:
    """The embedder in use, by what the database remembers and what executors say, which counts more.

    An executor is asked at the start, whenever the connection to executors was lost and regained, every half minute,
    and when an embedder refuses because it is another one.
    """

    def __init__(
        self,
        settings: StoreSettings,
        pool: Pool,
        repo: SemanticRepo,
        embedder: Embedder,
        channel: grpc.aio.Channel,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._repo = repo
        self._embedder = embedder
        self._channel = channel
        self._index: Index | None = None
        self._mismatch: IndexMismatch | None = None
        self._heard = asyncio.Event()
        self._patient = True
        # Set when there may be something to embed.
        self.changed = asyncio.Event()

    async def recall(self) -> None:
        """Reads what the database remembers."""
        async with connection(self._pool, self._settings) as acquired:
            heard, self._index = await self._repo.current(acquired)
        if heard:
            self._heard.set()

    async def current(self) -> Index | None:
        """The embedder in use; None: there is no semantic search. IndexMismatch when Postgres cannot serve it."""
        if not self._heard.is_set() and self._patient:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._heard.wait(), FIRST_WORD_SECONDS)
            self._patient = False
        if self._mismatch is not None:
            raise self._mismatch
        return self._index

    async def ask(self) -> Index | None:
        """Asks an executor now and adopts its answer. Raises EmbedderUnavailable, Unavailable, IndexMismatch."""
        description = await self._embedder.describe()
        known = self._index.description if self._index else None
        if description != known or not self._heard.is_set() or self._mismatch is not None:
            async with connection(self._pool, self._settings) as acquired:
                try:
                    if description is not None:
                        await create_table(acquired, description.dims)
                except IndexMismatch as error:
                    self._mismatch = error
                    raise
                self._index = await self._repo.use(acquired, description)
            self._mismatch = None
            log.info("semantic_index", embedder=description.identity if description else None)
        self._heard.set()
        self.changed.set()
        return self._index

    async def run(self) -> None:
        """Asks again and again, for ever."""
        while True:
            try:
                await self.ask()
            except EmbedderUnavailable as error:
                log.debug("no_word_of_an_embedder", reason=error.message)
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            except DomainError as error:
                log.error("semantic_search_unavailable", reason=error.message)
            with suppress(TimeoutError):
                # Left when an executor goes; the next question then waits for its successor.
                async with asyncio.timeout(ASK_AGAIN_SECONDS):
                    await self._channel.wait_for_state_change(grpc.ChannelConnectivity.READY)
