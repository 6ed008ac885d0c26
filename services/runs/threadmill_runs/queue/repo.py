"""The queue's SQL, from rows to domain objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
from threadmill_chassis.errors import InvalidArgument
from threadmill_chassis.postgres import Connection, Pool, PostgresSettings, all_rows, connection, transaction

from threadmill_runs.queue.run import CancelAction, Claim, NewRun, Run, RunState, Strategy


@dataclass(frozen=True, slots=True)
class Renewal:
    """A lease that a heartbeat has kept alive."""

    run_id: str
    token: int
    cancel_action: CancelAction | None


class QueueRepo:
    """Reads and writes runs.run. Every method is one transaction."""

    def __init__(self, pool: Pool, settings: PostgresSettings, queries: Any) -> None:
        self._pool = pool
        self._settings = settings
        self._sql = queries

    async def active_run_ids(self, thread_id: str) -> list[str]:
        """Runs of the thread that have yet to end, in their order."""
        async with connection(self._pool, self._settings) as db:
            return await self._active(db, thread_id)

    async def _active(self, db: Connection, thread_id: str) -> list[str]:
        rows = await all_rows(self._sql.active_run_ids(db, thread_id=thread_id))
        return [str(row["run_id"]) for row in rows]

    async def insert(self, new: NewRun) -> tuple[Run, list[str]]:
        """Accepts a run; the same id again answers the run that is there.

        Answers also the runs that were active on its thread, for the strategies that act on them (else none).
        With `reject` and an active run it answers that one, unchanged.
        """
        open_database = connection if new.strategy is Strategy.ENQUEUE else transaction
        async with open_database(self._pool, self._settings) as db:
            active: list[str] = []
            if new.strategy is not Strategy.ENQUEUE:
                await self._sql.lock_thread(db, thread_id=new.thread_id)
                active = [run_id for run_id in await self._active(db, new.thread_id) if run_id != new.run_id]
            row = None
            if not (active and new.strategy is Strategy.REJECT):
                row = await self._insert_row(db, new)
            if row is None:
                row = await self._sql.get_run(db, run_id=new.run_id, thread_id=None)
            if row is None:  # refused: `reject`
                row = await self._sql.get_run(db, run_id=active[0], thread_id=None)
        return Run.from_record(row), active

    async def _insert_row(self, db: Connection, new: NewRun) -> Any:
        try:
            return await self._sql.insert_run(
                db,
                run_id=new.run_id,
                thread_id=new.thread_id,
                assistant_id=new.assistant_id,
                graph_id=new.graph_id,
                metadata=new.metadata_json.decode(),
                kwargs=new.kwargs_json,
                multitask_strategy=new.strategy.value,
                stateless=new.stateless,
                keep_thread=new.keep_thread,
                request_id=new.request_id,
                after_seconds=new.after_seconds,
            )
        except asyncpg.UntranslatableCharacterError as error:
            raise InvalidArgument("metadata must not contain the character U+0000") from error

    async def get(self, run_id: str, thread_id: str | None = None) -> Run | None:
        """One run, on the given thread if one is given."""
        async with connection(self._pool, self._settings) as db:
            row = await self._sql.get_run(db, run_id=run_id, thread_id=thread_id)
        return Run.from_record(row) if row else None

    async def states(self, run_ids: Sequence[str]) -> dict[str, RunState]:
        """States of the runs that exist."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(self._sql.get_run_states(db, run_ids=list(run_ids)))
        return {str(row["run_id"]): RunState(row["status"]) for row in rows}

    async def list_of_thread(self, thread_id: str, state: RunState | None, limit: int, offset: int) -> list[Run]:
        """A page of a thread's runs, newest first."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(
                self._sql.list_thread_runs(
                    db, thread_id=thread_id, status=state and state.value, limit=limit, offset=offset
                )
            )
        return [Run.from_record(row) for row in rows]

    async def search(
        self, state: RunState | None, assistant_id: str | None, metadata_json: bytes, limit: int, offset: int
    ) -> list[Run]:
        """A page of all runs, newest first."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(
                self._sql.search_runs(
                    db,
                    thread_id=None,
                    status=state and state.value,
                    assistant_id=assistant_id,
                    metadata=metadata_json.decode() or None,
                    limit=limit,
                    offset=offset,
                )
            )
        return [Run.from_record(row) for row in rows]

    async def claim(self, executor_id: str, graph_ids: Sequence[str], limit: int, lease_seconds: float) -> list[Claim]:
        """Gives up to `limit` runnable runs to an executor."""
        async with connection(self._pool, self._settings) as db:
            try:
                rows = await all_rows(
                    self._sql.claim_runs(
                        db, executor_id=executor_id, graph_ids=list(graph_ids), limit=limit, lease_seconds=lease_seconds
                    )
                )
            except asyncpg.UniqueViolationError:  # another replica claimed a run of the same thread just now
                return []
        return [Claim(Run.from_record(row), row["resuming"], row["elapsed_seconds"]) for row in rows]

    async def renew(self, executor_id: str, held: Sequence[tuple[str, int]], lease_seconds: float) -> list[Renewal]:
        """Renews the leases of (run id, token) pairs; answers those that the executor still owns."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(
                self._sql.renew_leases(
                    db,
                    executor_id=executor_id,
                    run_ids=[run_id for run_id, _ in held],
                    tokens=[token for _, token in held],
                    lease_seconds=lease_seconds,
                )
            )
        return [
            Renewal(
                str(row["run_id"]),
                row["fence_token"],
                CancelAction(row["cancel_action"]) if row["cancel_action"] else None,
            )
            for row in rows
        ]

    async def shorten_leases(self, executor_id: str, grace_seconds: float) -> None:
        """Lets the leases of an executor whose connection broke end after the grace period."""
        async with connection(self._pool, self._settings) as db:
            await self._sql.shorten_leases(db, executor_id=executor_id, grace_seconds=grace_seconds)

    async def release(self, run_id: str, token: int) -> bool:
        """Hands an unfinished run back; False if the attempt no longer owns it."""
        async with connection(self._pool, self._settings) as db:
            return await self._sql.release_run(db, run_id=run_id, token=token) is not None

    async def requeue_expired(self, max_attempts: int, limit: int) -> list[tuple[str, str, int]]:
        """Sends runs with an expired lease back to the queue: (run id, thread id, attempts used)."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(self._sql.requeue_expired(db, max_attempts=max_attempts, limit=limit))
        return [(str(row["run_id"]), str(row["thread_id"]), row["attempt"]) for row in rows]

    async def take_over_expired(self, max_attempts: int, limit: int, lease_seconds: float) -> list[Run]:
        """Leases expired runs that must not execute again, so that the caller may end them."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(
                self._sql.take_over_expired(db, max_attempts=max_attempts, limit=limit, lease_seconds=lease_seconds)
            )
        return [Run.from_record(row) for row in rows]

    async def owned(self, run_id: str, token: int) -> Run | None:
        """The run, if the attempt with this token still owns it."""
        async with connection(self._pool, self._settings) as db:
            row = await self._sql.owned_run(db, run_id=run_id, token=token)
        return Run.from_record(row) if row else None

    async def end(self, run_id: str, token: int, state: RunState) -> Run | None:
        """Makes the state terminal; None if the attempt no longer owns the run."""
        async with connection(self._pool, self._settings) as db:
            row = await self._sql.end_run(db, run_id=run_id, token=token, status=state.value)
        return Run.from_record(row) if row else None

    async def delete_owned(self, run_id: str, token: int) -> Run | None:
        """Deletes a run at its end; None if the attempt no longer owns it."""
        async with connection(self._pool, self._settings) as db:
            row = await self._sql.delete_owned_run(db, run_id=run_id, token=token)
        return Run.from_record(row) if row else None

    async def request_cancel(self, run_ids: Sequence[str], action: CancelAction, reason: str) -> list[Run]:
        """Marks active runs as cancelled: pending ones have ended when it returns, running ones are to be told."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(
                self._sql.request_cancel(db, run_ids=list(run_ids), action=action.value, reason=reason)
            )
        return [Run.from_record(row) for row in rows]

    async def cancellable(self, states: Sequence[RunState], limit: int) -> list[str]:
        """Ids of runs in the given states."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(
                self._sql.cancellable_run_ids(db, statuses=[state.value for state in states], limit=limit)
            )
        return [str(row["run_id"]) for row in rows]

    async def delete(self, run_id: str, thread_id: str | None = None) -> tuple[Run, int] | None:
        """Deletes a run in any state; answers it with a token that shuts its attempts out."""
        async with connection(self._pool, self._settings) as db:
            row = await self._sql.delete_run(db, run_id=run_id, thread_id=thread_id)
        return (Run.from_record(row), row["new_token"]) if row else None

    async def delete_of_thread(self, thread_id: str) -> list[tuple[Run, int]]:
        """Deletes all runs of a thread, each with a token as `delete` answers it."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(self._sql.delete_thread_runs(db, thread_id=thread_id))
        return [(Run.from_record(row), row["new_token"]) for row in rows]

    async def stats(self) -> dict[str, Any]:
        """Counts and waits of the queue."""
        async with connection(self._pool, self._settings) as db:
            return dict(await self._sql.queue_stats(db))
