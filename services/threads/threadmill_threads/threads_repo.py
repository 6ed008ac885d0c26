"""Threads in Postgres: rows, their lifetime, and the runs that occupy them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from threadmill_chassis.errors import InvalidArgument
from threadmill_chassis.gathering import Gathered
from threadmill_chassis.postgres import all_rows

from threadmill_threads import search
from threadmill_threads.database import Database
from threadmill_threads.domain import (
    ActiveRun,
    Json,
    Page,
    RunBeginning,
    RunBegun,
    RunEnding,
    RunId,
    Status,
    Thread,
    ThreadFilter,
    ThreadId,
    ThreadSearch,
    ThreadStorage,
    Ttl,
    TtlStrategy,
    Usage,
)
from threadmill_threads.errors import Fenced, ThreadExists, ThreadNotFound
from threadmill_threads.pruning import Pruning
from threadmill_threads.resting import resting_columns

# Threads that are created at the same time share a statement; so many do at most, and so many statements are under way.
CREATED_TOGETHER = 50
CREATIONS_AT_ONCE = 2


@dataclass(frozen=True, slots=True)
class NewThread:
    """A thread that is to be created."""

    thread_id: ThreadId
    metadata: Json
    ttl: Ttl | None


class ThreadsRepo:
    """Reads and writes thread rows. `default_ttl` goes to threads that are created without one."""

    def __init__(self, database: Database, pruning: Pruning, default_ttl: Ttl | None) -> None:
        self._database = database
        self._queries = database.queries
        self._pruning = pruning
        self._default_ttl = default_ttl
        self._creations: Gathered[NewThread, Mapping[str, Any] | None] = Gathered(
            self._create_all, InvalidArgument, CREATED_TOGETHER, CREATIONS_AT_ONCE
        )

    async def create(self, thread_id: ThreadId, metadata: Json, ttl: Ttl | None, *, keep_existing: bool) -> Thread:
        """The new thread; with `keep_existing` the one that has the id already. Raises ThreadExists."""
        while True:
            row = await self._creations.ask(NewThread(thread_id, metadata, ttl or self._default_ttl))
            if row is None and not keep_existing:
                raise ThreadExists.of(thread_id)
            if row is None:
                async with self._database.connection() as connection:
                    row = await self._queries.get_thread(connection, thread_id=thread_id)
            if row is not None:  # else deleted between the two statements: create it after all
                return _to_thread(row)

    async def _create_all(self, new: Sequence[NewThread]) -> list[Mapping[str, Any] | None]:
        """The row of each that was created. Of those with the same id the first counts."""
        async with self._database.connection() as connection:
            rows = await all_rows(
                self._queries.create_threads(
                    connection,
                    thread_ids=[each.thread_id for each in new],
                    metadata=[each.metadata for each in new],
                    ttl_strategies=[each.ttl and each.ttl.strategy.value for each in new],
                    ttl_minutes=[each.ttl and each.ttl.minutes for each in new],
                )
            )
        made = {row["thread_id"]: row for row in rows}
        return [made.pop(each.thread_id, None) for each in new]

    async def get(self, thread_id: ThreadId) -> Thread:
        """The thread with all its columns. Raises ThreadNotFound."""
        async with self._database.connection() as connection:
            return _found(await self._queries.get_thread(connection, thread_id=thread_id), thread_id)

    async def update(
        self, thread_id: ThreadId, metadata: Json, ttl_minutes: float | None, ttl_strategy: TtlStrategy | None
    ) -> Thread:
        """Merges metadata, sets the TTL if one is given; without a strategy its own stays. Raises ThreadNotFound."""
        async with self._database.connection() as connection:
            row = await self._queries.update_thread(
                connection,
                thread_id=thread_id,
                metadata=metadata,
                ttl_minutes=ttl_minutes,
                ttl_strategy=ttl_strategy and ttl_strategy.value,
            )
        return _found(row, thread_id)

    async def delete(self, thread_ids: Sequence[ThreadId]) -> int:
        """Deletes threads with all that they own; answers how many there were."""
        async with self._database.connection() as connection:
            return len([row async for row in self._queries.delete_threads(connection, thread_ids=thread_ids)])

    async def copy(self, source_id: ThreadId, target_id: ThreadId) -> Thread:
        """A new idle thread with the metadata and history of another. Raises ThreadNotFound."""
        async with self._database.connection() as connection:
            row = await self._queries.copy_thread(
                connection, source_id=source_id, target_id=target_id, **self._ttl(self._default_ttl)
            )
        return _found(row, source_id)

    async def prune(self, thread_ids: Sequence[ThreadId], strategy: TtlStrategy) -> int:
        """Deletes threads or their history; answers how many there were."""
        if strategy is TtlStrategy.DELETE:
            return await self.delete(thread_ids)
        async with self._database.transaction() as connection:
            return len(await self._pruning.keep_latest(connection, thread_ids))

    async def search(self, query: ThreadSearch) -> Page:
        """One page, reading only the columns that were asked for."""
        statement = search.page(query)
        async with self._database.connection() as connection:
            rows = [dict(row) for row in await connection.fetch(statement.sql, *statement.parameters)]
        threads = [_to_thread(row, search.extracted(row, query.extract)) for row in rows[: query.limit]]
        return Page(threads, has_more=len(rows) > query.limit)

    async def count(self, matching: ThreadFilter) -> int:
        """Number of matching threads."""
        statement = search.count(matching)
        async with self._database.connection() as connection:
            return int(await connection.fetchval(statement.sql, *statement.parameters))

    async def storage(self, thread_id: ThreadId) -> ThreadStorage:
        """What the checkpoints occupy. Raises ThreadNotFound."""
        async with self._database.connection() as connection:
            rows = [row async for row in self._queries.thread_storage(connection, thread_id=thread_id)]
        usage = {(row["kind"], row["channel"]): Usage(row["count"], row["bytes"]) for row in rows}
        if ("thread", "") not in usage:
            raise ThreadNotFound.of(thread_id)
        channels = {channel: used for (kind, channel), used in usage.items() if kind == "channel"}
        return ThreadStorage(usage["checkpoint", ""], channels, usage["write", ""])

    async def begin_run(self, thread_id: ThreadId, run: RunBeginning) -> RunBegun:
        """Makes the thread busy with the run. Raises ThreadNotFound."""
        shared = {
            "thread_id": thread_id,
            "run_id": run.run_id,
            "stamp": run.stamp,
            "config": run.config,
            "config_defaults": run.config_defaults,
        }
        async with self._database.connection() as connection:
            while True:
                row = await self._queries.begin_run(connection, **shared)
                if row is not None or not run.create_if_missing:
                    return RunBegun(_found(row, thread_id), created=False, is_empty=bool(row and row["is_empty"]))
                row = await self._queries.begin_run_on_new_thread(
                    connection, **shared, metadata=run.new_metadata, **self._ttl(self._default_ttl)
                )
                if row is not None:  # else another call created it in between
                    return RunBegun(_to_thread(row), created=True, is_empty=True)

    async def end_run(self, thread_id: ThreadId, run: RunEnding) -> None:
        """Frees the thread of the run and records what it leaves; nothing if the run is not active. Raises Fenced."""
        deletes = run.delete_thread or run.delete_checkpoints
        async with self._database.transaction() if deletes else self._database.connection() as connection:
            row = await self._queries.end_run(
                connection,
                thread_id=thread_id,
                run_id=run.run_id,
                token=run.token,
                undoes=run.delete_checkpoints,
                stamp=run.stamp,
                **resting_columns(run.resting),
            )
            if row is None or not row["was_active"]:
                return
            if not row["is_current"]:
                raise Fenced.of(thread_id, run.token)
            if run.delete_thread:
                [_ async for _ in self._queries.delete_threads(connection, thread_ids=[thread_id])]
            elif run.delete_checkpoints:
                await self._pruning.delete_runs(connection, [thread_id], [str(run.run_id)])

    async def active_runs(self, min_age_seconds: float, limit: int, after: ThreadId) -> list[ActiveRun]:
        """Runs of whole threads, by thread id, until there are `limit` runs."""
        async with self._database.connection() as connection:
            rows: AsyncIterator[Any] = self._queries.active_runs(
                connection, min_age_seconds=min_age_seconds, limit=limit, after_thread_id=after
            )
            return [ActiveRun(ThreadId(row["thread_id"]), RunId(row["run_id"])) async for row in rows]

    @staticmethod
    def _ttl(ttl: Ttl | None) -> dict[str, Any]:
        return {"ttl_strategy": ttl and ttl.strategy.value, "ttl_minutes": ttl and ttl.minutes}


def _found(row: Mapping[str, Any] | None, thread_id: ThreadId) -> Thread:
    if row is None:
        raise ThreadNotFound.of(thread_id)
    return _to_thread(row)


def _to_thread(row: Mapping[str, Any], extracted: Json | None = None) -> Thread:
    """From a row that may lack columns."""
    status = row.get("status")
    minutes = row.get("ttl_minutes")
    return Thread(
        thread_id=row.get("thread_id"),
        created_at=row.get("created_at"),
        updated_at=row.get("updated_at"),
        state_updated_at=row.get("state_updated_at"),
        metadata=row.get("metadata"),
        config=row.get("config"),
        status=Status(status) if status else None,
        values=row.get("values"),
        interrupts=row.get("interrupts"),
        error=row.get("error"),
        ttl=Ttl(TtlStrategy(row["ttl_strategy"]), minutes) if minutes else None,
        extracted=extracted,
    )
