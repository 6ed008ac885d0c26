"""Threads by the million, made by the database itself."""

from typing import Any

from threadmill_threads.schema import MIGRATIONS

THREADS = """
INSERT INTO threads.thread
    (thread_id, created_at, updated_at, state_updated_at, metadata, rest_status, active_run_ids, active_since,
     ttl_strategy, ttl_minutes)
SELECT gen_random_uuid(), now() - n * interval '1 s', now() - (n * 7919 % 9999991) * interval '1 s',
    now() - (n * 104729 % 9999991) * interval '1 s',
    json_build_object('graph_id', 'graph ' || n % 10, 'assistant_id', 'assistant ' || n % 100,
                      'user', 'user ' || n / 10, 'n', n, 'tags', json_build_array(n, 'x')),
    CASE WHEN n % 1000 = 0 THEN 'error' WHEN n % 50 = 0 THEN 'interrupted' ELSE 'idle' END,
    CASE WHEN n % 100 = 1 THEN ARRAY[gen_random_uuid()] ELSE '{}' END,
    CASE WHEN n % 100 = 1 THEN ARRAY[now()] ELSE '{}' END,
    CASE WHEN n % 10 = 3 THEN 'delete' END, CASE WHEN n % 10 = 3 THEN 100000 END
FROM generate_series($1::bigint, $2::bigint) AS n
"""
VALUES = """
INSERT INTO threads.thread_values (thread_id, document)
SELECT thread_id, json_build_object('n', metadata -> 'n', 'topic', metadata ->> 'assistant_id', 'text', repeat('x', 60))
FROM threads.thread WHERE (metadata ->> 'n')::bigint BETWEEN $1 AND $2
"""

INDEXES = """
SELECT indexname, indexdef FROM pg_indexes
WHERE schemaname = 'threads' AND tablename IN ('thread', 'thread_values') AND indexname NOT LIKE '%pkey'
"""
TIMEOUT = 900


async def add_threads(sql: Any, first: int, last: int) -> None:
    """Threads numbered `first` to `last` in their metadata, of five keys: 1 % busy, a tenth mortal, all with values.

    `graph_id` tells 10 of them apart, `assistant_id` (and `topic` of the values) 100, `user` is on 10 each, `n` on one.
    """
    async with sql.transaction():
        # Building an index is many times faster than growing it.
        indexes = await sql.fetch(INDEXES) if last - first > 10_000 else []
        for index in indexes:
            await sql.execute(f"DROP INDEX threads.{index['indexname']}")
        await sql.execute(THREADS, first, last, timeout=TIMEOUT)
        await sql.execute(VALUES, first, last, timeout=TIMEOUT)
        for index in indexes:
            await sql.execute(index["indexdef"], timeout=TIMEOUT)
        if indexes:  # which says nothing of this
            await sql.execute((MIGRATIONS / "0003_search_statistics.sql").read_text())


async def settle(sql: Any) -> None:
    """Statistics and visibility as autovacuum leaves them."""
    await sql.execute("VACUUM ANALYZE threads.thread, threads.thread_values", timeout=TIMEOUT)
