"""What the code promises about rows, the database enforces."""

import asyncpg
import pytest

THREAD = "INSERT INTO threads.thread (thread_id, {columns}) VALUES (gen_random_uuid(), {values})"


@pytest.mark.parametrize(
    ("columns", "values"),
    [
        ("active_run_ids", "ARRAY[gen_random_uuid()]"),
        ("active_since", "ARRAY[now()]"),
        ("active_run_ids, active_since", "ARRAY[NULL]::uuid[], ARRAY[now()]"),
        ("rest_status", "'busy'"),
        ("fence", "-1"),
        ("metadata", "'[]'"),
        ("config", "'null'"),
        ("interrupts", "'[]'"),
        ("error", "'\"text\"'"),
        ("ttl_minutes", "5"),
        ("ttl_strategy", "'delete'"),
        ("ttl_strategy, ttl_minutes", "'delete', 0"),
        ("ttl_strategy, ttl_minutes", "'other', 5"),
    ],
)
async def test_impossible_threads(service, columns, values):
    with pytest.raises(asyncpg.CheckViolationError):
        await service.sql.execute(THREAD.format(columns=columns, values=values))


async def test_status_follows_from_the_active_runs(service):
    columns, values = "rest_status, active_run_ids, active_since", "'error', ARRAY[gen_random_uuid()], ARRAY[now()]"
    await service.sql.execute(THREAD.format(columns=columns, values=values))
    assert await service.sql.fetchval("SELECT status FROM threads.thread") == "busy"
    at_rest = "UPDATE threads.thread SET active_run_ids = '{}', active_since = '{}' RETURNING status"
    assert await service.sql.fetchval(at_rest) == "error"


@pytest.mark.parametrize("table", ["checkpoint", "channel_blob", "pending_write", "thread_values"])
async def test_nothing_exists_without_its_thread(service, table):
    rules = await service.sql.fetch(
        "SELECT confdeltype FROM pg_constraint WHERE contype = 'f' AND conrelid = $1::regclass"
        " AND confrelid = 'threads.thread'::regclass",
        f"threads.{table}",
    )
    assert [rule["confdeltype"] for rule in rules] == [b"c"]
