"""Embeds, in the background, what was written while nobody could or by another embedder."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import structlog
from threadmill_chassis.errors import DomainError
from threadmill_chassis.postgres import Pool, connection

from threadmill_store.errors import EmbeddingFailed
from threadmill_store.semantic.embedder import DOCUMENT, Embedder
from threadmill_store.semantic.index import Index
from threadmill_store.semantic.repo import SemanticRepo, Unembedded
from threadmill_store.semantic.tables import build_indexes
from threadmill_store.semantic.vectors import put_texts
from threadmill_store.semantic.watch import IndexWatch
from threadmill_store.settings import StoreSettings

log = structlog.get_logger(__name__)

LOOK_AGAIN_SECONDS = 60.0


class Backlog:
    """One process of the cluster at a time works on it, in batches; a write that comes between wins."""

    def __init__(
        self, settings: StoreSettings, pool: Pool, repo: SemanticRepo, watch: IndexWatch, embedder: Embedder
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._repo = repo
        self._watch = watch
        self._embedder = embedder

    async def run(self) -> None:
        """Works it off whenever the embedder may have changed, and every minute, for ever."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._watch.changed.wait(), LOOK_AGAIN_SECONDS)
            self._watch.changed.clear()
            try:
                embedded = await self.work_off()
            except DomainError as error:
                log.warning("backlog_interrupted", reason=error.message)
                await asyncio.sleep(1)
                continue
            if embedded:
                log.info("backlog_embedded", items=embedded)

    async def work_off(self) -> int:
        """Makes what indexes are missing and embeds all items that can be, unless another process is at it.

        Answers how many it embedded. Raises EmbedderUnavailable, IndexChanged, Unavailable.
        """
        index = await self._watch.current()
        if index is None:
            return 0
        async with connection(self._pool, self._settings) as held:
            if not await self._repo.begin_embedding(held):
                return 0
            try:
                await build_indexes(held, index)
                return await self._embed_all(index)
            finally:
                await self._repo.end_embedding(held)

    async def _embed_all(self, index: Index) -> int:
        embedded, after = 0, 0
        while True:
            async with connection(self._pool, self._settings) as acquired:
                items = await self._repo.backlog(acquired, index, after, self._settings.store_embed_batch_count)
            if not items:
                return embedded
            after = items[-1].id
            embedded += await self._embed(index, items)

    async def _embed(self, index: Index, items: Sequence[Unembedded]) -> int:
        """How many of the items the embedder could embed; the others stay for the next time."""
        texts = [put_texts(index, item.value, item.paths) for item in items]
        try:
            found = await self._embedder.embed(index.description, [text for some in texts for text in some], DOCUMENT)
        except EmbeddingFailed as error:
            if len(items) > 1:  # one text that cannot be embedded keeps no other from it
                return sum([await self._embed(index, [item]) for item in items])
            log.warning("item_not_embedded", item_id=items[0].id, reason=error.message)
            return 0
        async with connection(self._pool, self._settings) as acquired:
            await self._repo.embed(acquired, index, items, [[found[text] for text in some] for some in texts])
        return len(items)
