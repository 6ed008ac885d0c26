"""Taking checkpoints away, under a lock on their threads and without leaving rows that nothing refers to."""

from collections.abc import Sequence

from threadmill_chassis.postgres import Connection

from threadmill_threads.database import Database
from threadmill_threads.domain import ThreadId


class Pruning:
    """Steps of a transaction that the caller opened."""

    def __init__(self, database: Database) -> None:
        self._queries = database.queries

    async def delete_all(self, connection: Connection, thread_ids: Sequence[ThreadId]) -> None:
        """Drops all checkpoints of the threads; the threads stay."""
        found = await self._lock(connection, thread_ids)
        await self._queries.delete_history(connection, thread_ids=found)
        await self._queries.delete_all_writes(connection, thread_ids=found)
        await self._queries.delete_all_blobs(connection, thread_ids=found)
        await self._queries.delete_unshared_chunks(connection, thread_ids=found)
        await self._queries.start_chunk_epoch(connection, thread_ids=found)

    async def keep_latest(self, connection: Connection, thread_ids: Sequence[ThreadId]) -> list[ThreadId]:
        """Drops all but the latest checkpoint of each namespace and what its delta channels are rebuilt from.

        Namespaces of tasks whose step is over go whole. Answers the threads that exist.
        """
        found = await self._lock(connection, thread_ids)
        await self._queries.keep_latest(connection, thread_ids=found)
        await self._tidy(connection, found)
        return found

    async def delete_runs(self, connection: Connection, thread_ids: Sequence[ThreadId], run_ids: Sequence[str]) -> None:
        """Drops the checkpoints and writes that the runs made on the threads."""
        found = await self._lock(connection, thread_ids)
        await self._queries.delete_checkpoints_of_runs(connection, thread_ids=found, run_ids=run_ids)
        await self._tidy(connection, found)

    async def _tidy(self, connection: Connection, thread_ids: Sequence[ThreadId]) -> None:
        await self._queries.delete_stranded_writes(connection, thread_ids=thread_ids)
        await self._queries.delete_unshared_blobs(connection, thread_ids=thread_ids)
        await self._queries.delete_unshared_chunks(connection, thread_ids=thread_ids)
        await self._queries.start_chunk_epoch(connection, thread_ids=thread_ids)

    async def _lock(self, connection: Connection, thread_ids: Sequence[ThreadId]) -> list[ThreadId]:
        rows = self._queries.lock_threads(connection, thread_ids=thread_ids)
        return [ThreadId(row["thread_id"]) async for row in rows]
