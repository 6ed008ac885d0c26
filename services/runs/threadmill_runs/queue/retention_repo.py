"""The SQL of retention."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from threadmill_chassis.postgres import Pool, PostgresSettings, all_rows, connection

BEGINNING = str(UUID(int=0))


class RetentionRepo:
    """Finds and deletes what is to go. Every method is one transaction; deletes answer how many rows went."""

    def __init__(self, pool: Pool, settings: PostgresSettings, queries: Any) -> None:
        self._pool = pool
        self._settings = settings
        self._sql = queries

    async def take(self, duty: str, interval_seconds: float) -> str | None:
        """Where the duty is to go on; None if another replica has done a round within the interval."""
        async with connection(self._pool, self._settings) as db:
            cursor = await self._sql.take_duty(db, name=duty, interval_seconds=interval_seconds)
        return None if cursor is None else str(cursor)

    async def move(self, duty: str, cursor: str | None) -> None:
        """Where the next round is to go on; None: at the beginning."""
        async with connection(self._pool, self._settings) as db:
            await self._sql.move_duty(db, name=duty, cursor=cursor or BEGINNING)

    async def threads_with_runs(self, after: str, min_age_seconds: float, limit: int) -> list[tuple[str, bool]]:
        """A page of the threads that have runs, and whether they have any that ended so long ago."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(
                self._sql.threads_with_old_runs(db, after=after, min_age_seconds=min_age_seconds, limit=limit)
            )
        return [(str(row["thread_id"]), row["has_old"]) for row in rows]

    async def threads_with_crons(self, after: str, limit: int) -> list[str]:
        """A page of the threads that have crons."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(self._sql.threads_with_crons(db, after=after, limit=limit))
        return [str(row["thread_id"]) for row in rows]

    async def delete_of_threads(self, thread_ids: Sequence[str], min_age_seconds: float, limit: int) -> int:
        """Deletes runs of these threads that ended so long ago."""
        async with connection(self._pool, self._settings) as db:
            count: int = await self._sql.delete_old_runs_of_threads(
                db, thread_ids=list(thread_ids), min_age_seconds=min_age_seconds, limit=limit
            )
        return count

    async def delete_crons_of_threads(self, thread_ids: Sequence[str]) -> None:
        """Deletes the crons of these threads."""
        async with connection(self._pool, self._settings) as db:
            await self._sql.delete_crons_of_threads(db, thread_ids=list(thread_ids))

    async def delete_outdated(self, keep_seconds: float, limit: int) -> int:
        """Deletes runs that ended so long ago."""
        async with connection(self._pool, self._settings) as db:
            count: int = await self._sql.delete_outdated_runs(db, keep_seconds=keep_seconds, limit=limit)
        return count

    async def forget_temporary(self, keep_seconds: float, limit: int) -> int:
        """Forgets the ids of temporary runs that were accepted so long ago."""
        async with connection(self._pool, self._settings) as db:
            count: int = await self._sql.forget_temporary_runs(db, keep_seconds=keep_seconds, limit=limit)
        return count
