"""The queue's SQL, from rows to domain objects."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
from threadmill_chassis.postgres import Connection, Pool, PostgresSettings, all_rows, connection, transaction

from threadmill_runs.errors import ThreadBusy
from threadmill_runs.queue.run import CancelAction, Claim, Inserted, NewRun, Run, RunState, Strategy
from threadmill_runs.statement import Statement, storable

BUSY = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."


@dataclass(frozen=True, slots=True)
class RunFilter:
    """What a listing asks for; None (or empty JSON) means anything."""

    thread_id: str | None = None
    state: RunState | None = None
    assistant_id: str | None = None
    metadata_json: bytes = b""

    def statement(self) -> Statement:
        """Its conditions. Each alone has an index; together, Postgres takes the one that leaves least."""
        statement = Statement()
        statement.holds("thread_id = ?::uuid", self.thread_id)
        statement.holds("status = ?", self.state and self.state.value)
        statement.holds("assistant_id = ?::uuid", self.assistant_id)
        statement.holds("metadata @> ?::jsonb", self.metadata_json.decode())
        return statement


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

    async def insert(self, new: NewRun, lease: tuple[str, float] | None = None) -> Inserted | None:
        """Accepts a run; the same id again answers the run that is there.

        `lease`: (executor id, seconds) of an executor that takes the run at once, if nothing else of its thread is
        active. None if the assistant has changed, or if the run was accepted before, has ended, and left nothing
        behind. Raises ThreadBusy with `reject` and an active run.
        """
        try:
            return await self._insert(new, lease)
        except asyncpg.UniqueViolationError:  # another run of the thread was claimed just now
            return await self._insert(new, None)

    async def _insert(self, new: NewRun, lease: tuple[str, float] | None) -> Inserted | None:
        open_database = connection if new.strategy is Strategy.ENQUEUE else transaction
        async with open_database(self._pool, self._settings) as db:
            others: list[str] = []
            if new.strategy is not Strategy.ENQUEUE:
                await self._sql.lock_thread(db, thread_id=new.thread_id)
                others = [run_id for run_id in await self._active(db, new.thread_id) if run_id != new.run_id]
            refused = bool(others) and new.strategy is Strategy.REJECT
            row = None if refused else await self._insert_row(db, new, lease)
            if row is not None:
                begun = row["status"] == RunState.RUNNING
                return Inserted(Run.from_record(row), others, begun=begun, is_first=row["is_first"])
            row = await self._sql.get_run(db, run_id=new.run_id, thread_id=None)
        if row is None and refused:
            raise ThreadBusy(BUSY)
        return Inserted(Run.from_record(row), others, repeated=True) if row else None

    async def _insert_row(self, db: Connection, new: NewRun, lease: tuple[str, float] | None) -> Any:
        executor_id, lease_seconds = lease or (None, 0.0)
        with storable("metadata"):
            return await self._sql.insert_run(
                db,
                run_id=new.run_id,
                thread_id=new.thread_id,
                assistant_id=new.assistant_id,
                assistant_version=new.assistant_version,
                assistant_updated_at=new.assistant_updated_at,
                graph_id=new.graph_id,
                metadata=new.metadata_json.decode(),
                kwargs=new.kwargs_json,
                multitask_strategy=new.strategy.value,
                stateless=new.stateless,
                keep_thread=new.keep_thread,
                request_id=new.request_id,
                after_seconds=new.after_seconds,
                executor_id=executor_id,
                lease_seconds=lease_seconds,
            )

    async def get(self, run_id: str, thread_id: str | None = None) -> Run | None:
        """One run, on the given thread if one is given."""
        async with connection(self._pool, self._settings) as db:
            row = await self._sql.get_run(db, run_id=run_id, thread_id=thread_id)
        return Run.from_record(row) if row else None

    async def is_resumable(self, run_id: str) -> bool:
        """Whether clients may replay the events of a run; not of one that is gone."""
        run = await self.get(run_id)
        return run is not None and run.resumable

    async def last_of(self, thread_id: str) -> Run | None:
        """The newest run of a thread."""
        runs = await self.search(RunFilter(thread_id), 1, 0)
        return runs[0] if runs else None

    async def states(self, run_ids: Sequence[str]) -> dict[str, RunState]:
        """States of the runs that exist."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(self._sql.get_run_states(db, run_ids=list(run_ids)))
        return {str(row["run_id"]): RunState(row["status"]) for row in rows}

    async def existing(self, run_ids: Sequence[str], thread_id: str | None) -> list[str]:
        """Those of the runs that exist, on the given thread if one is given."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(self._sql.existing_run_ids(db, run_ids=list(run_ids), thread_id=thread_id))
        return [str(row["run_id"]) for row in rows]

    async def leftovers(self, min_age_seconds: float, limit: int) -> list[Run]:
        """Ended runs whose rows were to be deleted; the replica that was at it died."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(self._sql.leftover_runs(db, min_age_seconds=min_age_seconds, limit=limit))
        return [Run.from_record(row) for row in rows]

    async def still_active(self, run_ids: Sequence[str]) -> set[str]:
        """Those of the runs that have yet to end."""
        return {run_id for run_id, state in (await self.states(run_ids)).items() if state.active}

    async def search(self, wanted: RunFilter, limit: int, offset: int) -> list[Run]:
        """A page of the runs that match, newest first."""
        statement = wanted.statement()
        sql = statement.page("runs.run", ("created_at", "seq"), limit, offset, ascending=False)
        async with connection(self._pool, self._settings) as db:
            with storable("metadata"):
                rows = await db.fetch(sql, *statement.parameters)
        return [Run.from_record(row) for row in rows]

    async def claim(
        self, executor_id: str, graph_ids: Sequence[str], limit: int, lease_seconds: float
    ) -> list[Claim] | None:
        """Gives up to `limit` runnable runs to an executor; None if another claim was faster, and there may be some."""
        async with connection(self._pool, self._settings) as db:
            try:
                rows = await all_rows(
                    self._sql.claim_runs(
                        db, executor_id=executor_id, graph_ids=list(graph_ids), limit=limit, lease_seconds=lease_seconds
                    )
                )
            except asyncpg.UniqueViolationError:  # of the same thread
                return None
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

    async def take_over_unserved(self, patience_seconds: float, limit: int, lease_seconds: float) -> list[Run]:
        """Leases runs that have waited so long for an executor of a graph that no executor serves any more."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(
                self._sql.take_over_unserved(
                    db, patience_seconds=patience_seconds, limit=limit, lease_seconds=lease_seconds
                )
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

    async def end_settled(self, run_id: str, token: int) -> tuple[float, bool] | None:
        """Makes a run whose thread is settled a success: its seconds, and whether runs of the thread wait for its end.

        None if the attempt no longer owns the run, or the run is to be undone.
        """
        async with connection(self._pool, self._settings) as db:
            row = await self._sql.end_settled_run(db, run_id=run_id, token=token)
        return (row["seconds"], row["others_wait"]) if row else None

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

    async def delete_of_thread(self, thread_id: str, limit: int) -> list[tuple[Run, int]]:
        """Deletes runs of a thread, up to `limit`, each with a token as `delete` answers it."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(self._sql.delete_thread_runs(db, thread_id=thread_id, limit=limit))
        return [(Run.from_record(row), row["new_token"]) for row in rows]

    async def stats(self) -> dict[str, Any]:
        """Counts and waits of the queue."""
        async with connection(self._pool, self._settings) as db:
            return dict(await self._sql.queue_stats(db))
