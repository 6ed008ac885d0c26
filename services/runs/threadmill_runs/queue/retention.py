"""Removes what nobody can reach or wants any more, so that no table only grows.

Threads are another service's: they go by a client's wish, which reaches the runs api, or when their time to live is
over, which does not. So their ids are looked up again, page by page, in rounds that cost the same however many there
are; a cursor in Postgres makes it one round in the whole cluster at a time.
"""

from __future__ import annotations  # the async stubs exist for type checkers only

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import grpc
import structlog
from threadmill_chassis.errors import Unavailable
from threadmill_protos.threads.v1 import threads_pb2, threads_pb2_grpc

from threadmill_runs.queue.retention_repo import RetentionRepo

log = structlog.get_logger(__name__)

# Threads that are looked up in one round, and rows that one statement deletes.
PAGE = 500
BATCH = 500
# Batches in one round, so that the round after a change of the setting does not take the database for itself.
BATCHES_PER_ROUND = 20
# A run that ended so long ago cannot be of a thread that is being created just now.
MIN_AGE_SECONDS = 600.0
# How long a create of a temporary run may be repeated; callers give up within minutes.
REMEMBERED_SECONDS = 3600.0


class Retention:
    """The rounds. `keep_seconds`: how long ended runs of threads that exist are kept; None: as long as the thread."""

    def __init__(
        self, repo: RetentionRepo, threads: threads_pb2_grpc.ThreadsAsyncStub, keep_seconds: float | None
    ) -> None:
        self._repo = repo
        self._threads = threads
        self._keep_seconds = keep_seconds

    async def run(self, interval_seconds: float) -> None:
        """Works for ever."""
        while True:
            await asyncio.sleep(interval_seconds)
            try:
                await self.round(interval_seconds)
            except (Unavailable, grpc.aio.AioRpcError) as error:
                log.warning("retention_postponed", error=str(error))

    async def round(self, interval_seconds: float, min_age_seconds: float = MIN_AGE_SECONDS) -> None:
        """One page of each duty."""
        await self._runs_of_deleted_threads(interval_seconds, min_age_seconds)
        await self._crons_of_deleted_threads(interval_seconds)
        if (keep_seconds := self._keep_seconds) is not None:
            await self._in_batches("outdated_runs", lambda: self._repo.delete_outdated(keep_seconds, BATCH))
        await self._in_batches("temporary_run_ids", lambda: self._repo.forget_temporary(REMEMBERED_SECONDS, BATCH))

    async def _runs_of_deleted_threads(self, interval_seconds: float, min_age_seconds: float) -> None:
        cursor = await self._repo.take("runs_of_deleted_threads", interval_seconds)
        if cursor is None:
            return
        page = await self._repo.threads_with_runs(cursor, min_age_seconds, PAGE)
        gone = await self._gone([thread_id for thread_id, has_old in page if has_old])
        if gone:
            await self._in_batches(
                "runs_of_deleted_threads", lambda: self._repo.delete_of_threads(gone, min_age_seconds, BATCH)
            )
        await self._repo.move("runs_of_deleted_threads", page[-1][0] if len(page) == PAGE else None)

    async def _crons_of_deleted_threads(self, interval_seconds: float) -> None:
        cursor = await self._repo.take("crons_of_deleted_threads", interval_seconds)
        if cursor is None:
            return
        page = await self._repo.threads_with_crons(cursor, PAGE)
        if gone := await self._gone(page):
            await self._repo.delete_crons_of_threads(gone)
        await self._repo.move("crons_of_deleted_threads", page[-1] if len(page) == PAGE else None)

    async def _gone(self, thread_ids: Sequence[str]) -> list[str]:
        """Those of the threads that exist no more."""
        if not thread_ids:  # which would ask for all threads
            return []
        found = await self._threads.SearchThreads(
            threads_pb2.SearchThreadsRequest(
                filter=threads_pb2.ThreadFilter(thread_ids=thread_ids),
                limit=len(thread_ids),
                sort_by=threads_pb2.SearchThreadsRequest.SORT_BY_THREAD_ID,
                select=["thread_id"],
            )
        )
        known = {thread.thread_id for thread in found.threads}
        return [thread_id for thread_id in thread_ids if thread_id not in known]

    async def _in_batches(self, what: str, delete: Callable[[], Awaitable[int]]) -> None:
        total = 0
        for _ in range(BATCHES_PER_ROUND):
            count = await delete()
            total += count
            if count < BATCH:
                break
        if total:
            log.info("removed", what=what, count=total)
