"""Statements that lock several runs lock them by id, so that no two of them wait for each other for ever."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from eventually import until
from threadmill_chassis.postgres import load_queries, open_pool
from threadmill_runs.api.settings import RunsSettings
from threadmill_runs.queue.repo import QueueRepo
from threadmill_runs.queue.run import CancelAction
from threadmill_runs.schema import MIGRATIONS, QUERIES, SCHEMA

RUN_IDS = [f"00000000-0000-4000-8000-00000000000{n}" for n in range(1, 6)]
THREAD = "00000000-0000-4000-8000-0000000000aa"

Locking = Callable[[QueueRepo], Awaitable[object]]
LOCKING: dict[str, Locking] = {
    "renew": lambda repo: repo.renew("e", [(run_id, 1) for run_id in reversed(RUN_IDS)], 15.0),
    "shorten": lambda repo: repo.shorten_leases("e", 3.0),
    "cancel": lambda repo: repo.request_cancel(list(reversed(RUN_IDS)), CancelAction.INTERRUPT, ""),
    "delete": lambda repo: repo.delete_of_thread(THREAD, 100),
}


@pytest.mark.parametrize("name", LOCKING)
async def test_the_first_lock_is_that_of_the_smallest_id(make_database, name):
    dsn = await make_database(SCHEMA, MIGRATIONS)
    settings = RunsSettings(postgres_dsn=dsn, redis_uri="unused")
    holder, looker = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
    async with open_pool(settings, "test") as pool:
        repo = QueueRepo(pool, settings, load_queries(QUERIES))
        await insert_runs(holder, one_thread=name == "delete")
        async with holder.transaction():
            await holder.execute("SELECT FROM runs.run WHERE run_id = $1 FOR UPDATE", RUN_IDS[0])
            task = asyncio.create_task(LOCKING[name](repo))

            async def waiting():
                return await looker.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted")

            await until(waiting)
            free = await looker.fetch("SELECT run_id FROM runs.run FOR UPDATE SKIP LOCKED")
            assert [str(row["run_id"]) for row in free] == list(reversed(RUN_IDS[1:])), "it holds none while it waits"
        await task
    await holder.close()
    await looker.close()


async def insert_runs(database, *, one_thread):
    """In an order that is not that of their ids. Of one thread only one may run, so those wait."""
    for run_id in reversed(RUN_IDS):
        await database.execute(
            "INSERT INTO runs.run (run_id, thread_id, assistant_id, graph_id, status, metadata, kwargs,"
            " multitask_strategy, fence_token, executor_id, lease_expires_at)"
            " VALUES ($1, $2, $1, 'g', $3, '{}', '{}', 'enqueue', 1, 'e', $4::timestamptz)",
            run_id,
            THREAD if one_thread else run_id,
            "pending" if one_thread else "running",
            None if one_thread else await database.fetchval("SELECT now() + interval '1 min'"),
        )
