"""The SQL of crons and their ticks, from rows to domain objects."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from threadmill_chassis.ids import new_id
from threadmill_chassis.postgres import Pool, PostgresSettings, all_rows, connection, transaction

from threadmill_runs.crons.domain import Cron, CronChange, NewCron
from threadmill_runs.errors import CronNotFound
from threadmill_runs.statement import Statement, storable

# Each order is one of the indexes of runs.cron, read forwards or backwards.
ORDERS = {
    "cron_id": ("cron_id",),
    "assistant_id": ("assistant_id", "cron_id"),
    "thread_id": ("thread_id", "cron_id"),
    "next_run_at": ("next_run_at", "cron_id"),
    "end_time": ("end_time", "cron_id"),
    "created_at": ("created_at", "cron_id"),
    "updated_at": ("updated_at", "cron_id"),
}


@dataclass(frozen=True, slots=True)
class Firing:
    """A tick whose run this replica is to create. The run id is fixed with the tick, whoever creates the run."""

    cron: Cron
    run_id: str
    due_at: datetime


@dataclass(frozen=True, slots=True)
class CronFilter:
    """What a search asks for; None means anything."""

    assistant_id: str | None = None
    thread_id: str | None = None
    enabled: bool | None = None
    metadata_json: bytes = b""

    def statement(self) -> Statement:
        """Its conditions."""
        statement = Statement()
        statement.holds("assistant_id = ?::uuid", self.assistant_id)
        statement.holds("thread_id = ?::uuid", self.thread_id)
        statement.holds("enabled = ?", self.enabled)
        statement.holds("metadata @> ?::jsonb", self.metadata_json.decode())
        return statement


class CronRepo:
    """Reads and writes runs.cron and runs.cron_firing. Every method is one transaction."""

    def __init__(self, pool: Pool, settings: PostgresSettings, queries: Any) -> None:
        self._pool = pool
        self._settings = settings
        self._sql = queries

    async def create(self, new: NewCron) -> Cron:
        """Creates a cron; the same id again answers the one that is there. Raises InvalidSchedule, InvalidTimezone."""
        async with transaction(self._pool, self._settings) as db:
            next_run_at = new.first_run_at(await self._sql.database_time(db))
            row = await self._sql.insert_cron(
                db,
                cron_id=new.cron_id,
                assistant_id=new.assistant_id,
                thread_id=new.thread_id,
                schedule=new.schedule,
                timezone=new.timezone,
                end_time=new.end_time,
                payload=new.payload_json,
                metadata=new.metadata_json.decode(),
                on_run_completed=new.on_run_completed,
                enabled=new.enabled,
                next_run_at=next_run_at,
            )
            row = row or await self._sql.get_cron(db, cron_id=new.cron_id)
        return Cron.from_record(row)

    async def get(self, cron_id: str) -> Cron:
        """One cron; raises CronNotFound."""
        async with connection(self._pool, self._settings) as db:
            row = await self._sql.get_cron(db, cron_id=cron_id)
        return Cron.from_record(_found(row, cron_id))

    async def update(self, cron_id: str, change: CronChange) -> Cron:
        """Applies a change; raises CronNotFound, InvalidSchedule, InvalidTimezone."""
        async with transaction(self._pool, self._settings) as db:
            row = _found(await self._sql.lock_cron(db, cron_id=cron_id), cron_id)
            after = change.applied_to(Cron.from_record(row), await self._sql.database_time(db))
            saved = await self._sql.save_cron(
                db,
                cron_id=cron_id,
                schedule=after.schedule,
                timezone=after.timezone,
                end_time=after.end_time,
                payload=after.payload_json,
                metadata=after.metadata_json.decode(),
                on_run_completed=after.on_run_completed,
                enabled=after.enabled,
                next_run_at=after.next_run_at,
            )
            if not after.enabled:
                await self._sql.drop_firing(db, cron_id=cron_id)
        return Cron.from_record(saved)

    async def disable(self, cron_id: str) -> None:
        """Stops a cron whose runs cannot be created."""
        async with transaction(self._pool, self._settings) as db:
            await self._sql.disable_cron(db, cron_id=cron_id)
            await self._sql.drop_firing(db, cron_id=cron_id)

    async def delete(self, cron_id: str) -> None:
        """Deletes a cron; raises CronNotFound."""
        async with connection(self._pool, self._settings) as db:
            _found(await self._sql.delete_cron(db, cron_id=cron_id), cron_id)

    async def delete_of_thread(self, thread_id: str) -> None:
        """Deletes the crons of a thread."""
        async with connection(self._pool, self._settings) as db:
            await self._sql.delete_thread_crons(db, thread_id=thread_id)

    async def search(
        self, wanted: CronFilter, sort_by: str, limit: int, offset: int, *, ascending: bool
    ) -> tuple[list[Cron], bool]:
        """A page of matching crons, and whether more follow."""
        statement = wanted.statement()
        sql = statement.page("runs.cron", ORDERS[sort_by], limit + 1, offset, ascending=ascending)
        async with connection(self._pool, self._settings) as db:
            with storable("metadata"):
                rows = await db.fetch(sql, *statement.parameters)
        return [Cron.from_record(row) for row in rows[:limit]], len(rows) > limit

    async def count(self, wanted: CronFilter) -> int:
        """Number of matching crons."""
        statement = wanted.statement()
        async with connection(self._pool, self._settings) as db:
            with storable("metadata"):
                count: int = await db.fetchval(statement.count("runs.cron"), *statement.parameters)
        return count

    async def fire_due(self, limit: int, lease_seconds: float) -> list[Firing]:
        """Moves due crons on and answers their ticks, leased to the caller.

        One transaction does both, so a crash repeats neither and loses neither. However many ticks have passed, a
        cron fires once, and its next tick is in the future; one whose end has passed meanwhile fires no more.
        """
        async with transaction(self._pool, self._settings) as db:
            rows = await all_rows(self._sql.lock_due_crons(db, limit=limit))
            if not rows:
                return []
            crons = {row["cron_id"]: Cron.from_record(row) for row in rows}
            # After an outage a cron may be over; the tick at its very end is a moment late like every other.
            latest = timedelta(seconds=lease_seconds)
            living = [row for row in rows if row["end_time"] is None or row["now"] <= row["end_time"] + latest]
            await self._sql.advance_crons(
                db,
                cron_ids=list(crons),
                next_run_ats=[crons[row["cron_id"]].tick_after(row["now"]) for row in rows],
            )
            fired = await all_rows(
                self._sql.record_firings(
                    db,
                    cron_ids=[row["cron_id"] for row in living],
                    run_ids=[new_id() for _ in living],
                    due_ats=[row["next_run_at"] for row in living],
                    lease_seconds=lease_seconds,
                )
            )
        due = {row["cron_id"]: row["next_run_at"] for row in rows}
        return [Firing(crons[row["cron_id"]], str(row["run_id"]), due[row["cron_id"]]) for row in fired]

    async def take_over(self, limit: int, lease_seconds: float) -> list[Firing]:
        """Leases ticks whose run was not created in time."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(self._sql.take_over_firings(db, limit=limit, lease_seconds=lease_seconds))
        return [Firing(Cron.from_record(row), str(row["run_id"]), row["due_at"]) for row in rows]

    async def drop(self, cron_id: str) -> None:
        """Gives a tick up."""
        async with connection(self._pool, self._settings) as db:
            await self._sql.drop_firing(db, cron_id=cron_id)

    async def seconds_to_next(self) -> float | None:
        """Until something is due; None when nothing will be."""
        async with connection(self._pool, self._settings) as db:
            seconds: float | None = await self._sql.seconds_to_next_tick(db)
        return seconds


def _found(row: Any, cron_id: str) -> Any:
    if row is None:
        raise CronNotFound(f"Cron '{cron_id}' not found")
    return row
