"""Checkpoints in Postgres, and the fence.

    attempt 1: read (fence := 1) ── write ── write ─ ─ (stalls) ─ ─ ─ ─ ─ ─ write ✗ FENCED
    attempt 2:                                  read (fence := 2) ── write ── … ── end (fence := 3)

A thread's fence is the smallest token that may write. Reading with a token raises it, which waits for the writes
under way (they hold the row's lock) and shuts out those to come; only then is the checkpoint read. So what an
attempt has read stays true until it writes itself.
"""

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

from threadmill_chassis.postgres import Connection

from threadmill_threads.checkpoint_rows import base_columns, columns, to_checkpoint, to_history
from threadmill_threads.checkpoints import (
    ChannelHistory,
    Checkpoint,
    CheckpointKey,
    CheckpointQuery,
    Fence,
    Read,
    WriteBatch,
)
from threadmill_threads.database import Database
from threadmill_threads.domain import Json, RunEnding, ThreadId, Ttl
from threadmill_threads.errors import CheckpointGone, ChunksUnknown, Fenced, ThreadNotFound
from threadmill_threads.pruning import Pruning
from threadmill_threads.resting import ending_columns

# Above every id in the order of bytes, which for UTF-8 is that of code points.
HIGHEST = "\U0010ffff"
NO_THREAD = UUID(int=0)
# What a listing holds in memory, as far as the checkpoints before tell.
BATCH_BYTES = 8 * 1024 * 1024


class CheckpointsRepo:
    """Reads and writes checkpoints. `default_ttl` goes to threads that a write creates."""

    def __init__(self, database: Database, pruning: Pruning, default_ttl: Ttl | None, list_batch: int) -> None:
        self._database = database
        self._queries = database.queries
        self._pruning = pruning
        self._default_ttl = default_ttl
        self._list_batch = list_batch

    async def read(
        self, thread_id: ThreadId, key: CheckpointKey, fence: Fence | None, *, with_thread: bool = False
    ) -> Read:
        """A checkpoint, the latest if the key has no id. Raises Fenced; ThreadNotFound for a fenced reader.

        `with_thread` adds the thread's identity for readers without a fence.
        """
        floor, ceiling = _range(key.checkpoint_id)
        where = {"thread_id": thread_id, "checkpoint_ns": key.checkpoint_ns, "floor": floor, "ceiling": ceiling}
        async with self._database.connection() as connection:
            if fence is None:
                row = await self._queries.read_checkpoint(connection, **where, with_thread=with_thread)
            else:
                row = await self._queries.take_over(connection, run_id=fence.run_id, token=fence.token, **where)
        if fence is not None and row is None:
            raise ThreadNotFound.of(thread_id)
        if fence is not None and row["fence"] != fence.token:
            raise Fenced.of(thread_id, fence.token)
        found = to_checkpoint(row) if row["checkpoint_id"] is not None else None
        return Read(
            found,
            row["chunk_epoch"] or 0,
            row["state_micros"] or 0,
            run_settled=fence is not None and not row["is_active"],
            identity=_identity(row) if fence is None else None,
        )

    async def listed(self, query: CheckpointQuery) -> AsyncIterator[Checkpoint]:
        """Matching checkpoints, newest first. Reads in batches and holds no connection between them.

        The first batch is one checkpoint: its size tells how many the next may have, and so on.
        """
        floor, ceiling = _range(query.checkpoint_id, query.before_checkpoint_id)
        cursor: dict[str, Any] = {"ceiling": ceiling, "ceiling_ns": "", "ceiling_thread": NO_THREAD}
        left, room, size = query.limit or sys.maxsize, query.max_bytes or sys.maxsize, 1
        while True:
            batch = await self._batch(query, floor, cursor, size)
            for checkpoint in batch:
                yield checkpoint
                room -= checkpoint.payload_bytes
                if room <= 0:
                    return
            left -= len(batch)
            if len(batch) < size or left == 0:
                return
            largest = max(checkpoint.payload_bytes for checkpoint in batch)
            size = min(left, self._list_batch, -(-min(room, BATCH_BYTES) // largest))
            last = batch[-1]
            cursor = {
                "ceiling": last.key.checkpoint_id,
                "ceiling_ns": last.key.checkpoint_ns,
                "ceiling_thread": last.thread_id,
            }

    async def _batch(
        self, query: CheckpointQuery, floor: str, cursor: Mapping[str, Any], limit: int
    ) -> list[Checkpoint]:
        scope: dict[str, Any] = {"thread_id": query.thread_id, "checkpoint_ns": query.checkpoint_ns, **cursor}
        select = self._queries.list_everywhere
        if query.thread_id is not None:
            select = self._queries.list_thread if query.checkpoint_ns is None else self._queries.list_namespace
        async with self._database.connection() as connection:
            rows = select(connection, **scope, floor=floor, filter=query.metadata, limit=limit)
            return [to_checkpoint(row) async for row in rows]

    async def write(
        self, thread_id: ThreadId, batch: WriteBatch, fence: Fence | None, ending: RunEnding | None = None
    ) -> int:
        """Stores a batch and ends the run of the fence, if asked to, all or nothing, in one statement.

        Answers the epoch of the chunks; 0 if the run that is to end has ended before, and may write no more: this call
        is a repetition then, or its attempt is not the one that counts. Raises Fenced, ChunksUnknown, CheckpointGone,
        and with a fence ThreadNotFound; without one a missing thread is created.
        """
        run_id, token = (fence.run_id, fence.token) if fence else (None, None)
        ended_run_id = ending and ending.run_id
        base = base_columns(batch.base())
        parameters = {"token": token, "run_id": run_id, **columns(batch), **base, **ending_columns(ending)}
        async with self._database.connection() as connection:
            while True:
                epoch = await self._queries.write_checkpoints(connection, thread_id=thread_id, **parameters)
                if epoch is not None:
                    return int(epoch)
                gate = await self._queries.write_gate(
                    connection, thread_id=thread_id, ended_run_id=ended_run_id, **base
                )
                if ending is not None and gate is not None and not gate["is_active"]:
                    return 0
                _refuse(thread_id, batch, token, gate)
                if gate is None:
                    await self._ensure_thread(connection, thread_id)

    async def _ensure_thread(self, connection: Connection, thread_id: ThreadId) -> None:
        ttl = self._default_ttl
        await self._queries.ensure_thread(
            connection,
            thread_id=thread_id,
            ttl_strategy=ttl and ttl.strategy.value,
            ttl_minutes=ttl and ttl.minutes,
        )

    async def history(self, thread_id: ThreadId, key: CheckpointKey, channels: Sequence[str]) -> list[ChannelHistory]:
        """For each channel the writes along the ancestors of a checkpoint, and the stored value they build on."""
        floor, ceiling = _range(key.checkpoint_id)
        async with self._database.connection() as connection:
            rows = self._queries.channel_history(
                connection,
                thread_id=thread_id,
                checkpoint_ns=key.checkpoint_ns,
                floor=floor,
                ceiling=ceiling,
                channels=channels,
            )
            found = [row async for row in rows]
        # Sorting is stable: within a channel the order of the query, oldest first, remains.
        by_channel = {
            channel: list(group)
            for channel, group in groupby(sorted(found, key=lambda row: row["channel"]), lambda row: row["channel"])
        }
        return [to_history(channel, by_channel.get(channel, [])) for channel in channels]

    async def delete(self, thread_ids: Sequence[ThreadId]) -> None:
        """Drops all checkpoints of the threads; the threads stay."""
        async with self._database.transaction() as connection:
            await self._pruning.delete_all(connection, thread_ids)

    async def delete_runs(self, run_ids: Sequence[str]) -> None:
        """Drops the checkpoints that the runs made, wherever they are."""
        async with self._database.transaction() as connection:
            rows = self._queries.threads_of_runs(connection, run_ids=run_ids)
            thread_ids = [ThreadId(row["thread_id"]) async for row in rows]
            await self._pruning.delete_runs(connection, thread_ids, run_ids)

    async def prune(self, thread_ids: Sequence[ThreadId]) -> None:
        """Drops all but the latest checkpoint of each namespace and what it needs."""
        async with self._database.transaction() as connection:
            await self._pruning.keep_latest(connection, thread_ids)

    async def copy(self, source_id: ThreadId, target_id: ThreadId) -> None:
        """Adds all checkpoints of one thread to another, which is created if missing."""
        async with self._database.connection() as connection:
            await self._queries.copy_checkpoints(connection, source_id=source_id, target_id=target_id)


def _refuse(thread_id: ThreadId, batch: WriteBatch, token: int | None, gate: Mapping[str, Any] | None) -> None:
    """Raises why a batch was not stored, if it still would not be. `gate` is None if the thread is missing."""
    if token is not None and gate is None:
        raise ThreadNotFound.of(thread_id)
    if token is not None and gate is not None and gate["fence"] > token:
        raise Fenced.of(thread_id, token)
    if batch.chunk_epoch not in (0, gate and gate["chunk_epoch"]):
        raise ChunksUnknown.of(thread_id)
    if not (batch.base().is_empty() if gate is None else gate["has_base"]):
        raise CheckpointGone.of(thread_id)


def _identity(row: Mapping[str, Any]) -> tuple[Json, Json] | None:
    return (row["thread_metadata"], row["thread_config"]) if row["thread_metadata"] is not None else None


def _range(checkpoint_id: str, before: str = "") -> tuple[str, str]:
    """Bounds (inclusive, exclusive) of the ids that are wanted: one id, or all, below `before` if given."""
    ceiling = before or HIGHEST
    if checkpoint_id:
        # No text lies between an id and the same id followed by the smallest character.
        ceiling = min(ceiling, checkpoint_id + "\x01")
    return checkpoint_id, ceiling
