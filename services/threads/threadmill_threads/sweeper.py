"""The background duty that ends expired threads."""

import asyncio

import structlog
from threadmill_chassis.errors import Unavailable

from threadmill_threads.database import Database
from threadmill_threads.domain import ThreadId, TtlStrategy
from threadmill_threads.pruning import Pruning

log = structlog.get_logger(__name__)


class Sweeper:
    """Deletes, or strips of their history, threads whose time to live is over and on which nothing runs.

    Every replica has one; rows locked by another are skipped, so that each thread is handled once.
    """

    def __init__(
        self, database: Database, pruning: Pruning, interval_seconds: float, batch: int, limit: int | None = None
    ) -> None:
        self._database = database
        self._queries = database.queries
        self._pruning = pruning
        self._interval_seconds = interval_seconds
        self._batch = batch
        self._limit = limit

    async def run(self) -> None:
        """Sweeps at every interval, for ever. A database that does not answer is tried again at the next one."""
        while True:
            try:
                swept = await self.sweep()
            except Unavailable as error:
                log.warning("sweep_failed", error=str(error))
            else:
                if swept:
                    log.info("swept", threads=swept)
            await asyncio.sleep(self._interval_seconds)

    async def sweep(self) -> int:
        """Handles the threads that are expired now, in small transactions, up to the limit; answers how many."""
        total = 0
        while self._limit is None or total < self._limit:
            wanted = self._batch if self._limit is None else min(self._batch, self._limit - total)
            handled = await self._sweep_batch(wanted)
            total += handled
            if handled < wanted:
                break
        return total

    async def _sweep_batch(self, batch: int) -> int:
        async with self._database.transaction() as connection:
            rows = [row async for row in self._queries.lock_expired_threads(connection, limit=batch)]
            doomed = [row["thread_id"] for row in rows if row["ttl_strategy"] == TtlStrategy.DELETE]
            kept = [ThreadId(row["thread_id"]) for row in rows if row["ttl_strategy"] == TtlStrategy.KEEP_LATEST]
            if doomed:
                [_ async for _ in self._queries.delete_threads(connection, thread_ids=doomed)]
            if kept:
                await self._pruning.keep_latest(connection, kept)
                await self._queries.mark_swept(connection, thread_ids=kept)
        return len(rows)
