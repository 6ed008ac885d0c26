"""The SQL of the outbox."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from threadmill_chassis.postgres import Pool, PostgresSettings, all_rows, connection

from threadmill_runs.queue.run import Run
from threadmill_runs.webhooks.document import MARKER


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt at a call, leased to this replica; `attempt` counts from 1 and fences what is written about it."""

    run_id: str
    url: str
    document: bytes
    attempt: int
    ended_at: datetime
    updated_at: datetime
    age_seconds: float


class WebhookRepo:
    """Reads and writes runs.webhook_delivery. Every method is one transaction."""

    def __init__(self, pool: Pool, settings: PostgresSettings, queries: Any) -> None:
        self._pool = pool
        self._settings = settings
        self._sql = queries

    async def record(self, run_id: str, token: int, url: str, document: bytes) -> None:
        """Plans the call of a running run that the attempt is about to end; nothing if it no longer owns it."""
        async with connection(self._pool, self._settings) as db:
            await self._sql.record_delivery(db, run_id=run_id, token=token, url=url, document=document)

    async def pending(self, run_ids: Sequence[str]) -> list[Run]:
        """Those of the runs that are pending and may have a webhook."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(self._sql.pending_with_webhook(db, run_ids=list(run_ids), marker=MARKER))
        return [Run.from_record(row) for row in rows]

    async def record_unstarted(self, run_id: str, url: str, document: bytes) -> None:
        """Plans the call of a pending run that is about to be cancelled; nothing if it is pending no more."""
        async with connection(self._pool, self._settings) as db:
            await self._sql.record_unstarted_delivery(db, run_id=run_id, url=url, document=document)

    async def claim(self, limit: int, lease_seconds: float, full_hosts: Sequence[str]) -> list[Delivery]:
        """Leases calls that are due, of runs that have ended; none to these hosts."""
        async with connection(self._pool, self._settings) as db:
            rows = await all_rows(
                self._sql.claim_deliveries(db, limit=limit, lease_seconds=lease_seconds, full_hosts=list(full_hosts))
            )
        return [
            Delivery(
                run_id=str(row["run_id"]),
                url=row["url"],
                document=row["document"],
                attempt=row["attempt"],
                ended_at=row["ended_at"],
                updated_at=row["updated_at"],
                age_seconds=row["age_seconds"],
            )
            for row in rows
        ]

    async def finish(self, delivery: Delivery) -> None:
        """Forgets a call: it succeeded, or is given up."""
        async with connection(self._pool, self._settings) as db:
            await self._sql.finish_delivery(db, run_id=delivery.run_id, attempt=delivery.attempt)

    async def postpone(self, delivery: Delivery, seconds: float) -> None:
        """Has a call repeated later."""
        async with connection(self._pool, self._settings) as db:
            await self._sql.postpone_delivery(db, run_id=delivery.run_id, attempt=delivery.attempt, seconds=seconds)

    async def seconds_to_next(self) -> float | None:
        """Until the next call is due; None when none is planned for later."""
        async with connection(self._pool, self._settings) as db:
            seconds: float | None = await self._sql.seconds_to_next_delivery(db)
        return seconds
