"""An index answers every filter and order that a client can send, on tables large enough to matter."""

import pytest
from threadmill_threads import search
from threadmill_threads.domain import Json, SortBy, Status, ThreadFilter, ThreadSearch

ROWS = 20_000


@pytest.fixture
async def sql(service):
    await service.sql.execute(
        """
        INSERT INTO threads.thread (thread_id, created_at, updated_at, state_updated_at, metadata, rest_status)
        SELECT gen_random_uuid(), now() - n * interval '1 s', now() - n * interval '2 s', now() - n * interval '3 s',
            json_build_object('n', n, 'tags', json_build_array(n, 'x')),
            CASE WHEN n % 1000 = 0 THEN 'error' ELSE 'idle' END
        FROM generate_series(1, $1::int) AS n
        """,
        ROWS,
    )
    await service.sql.execute(
        "INSERT INTO threads.thread_values (thread_id, document)"
        " SELECT thread_id, json_build_object('v', metadata -> 'n', 'pad', repeat('x', 100)) FROM threads.thread"
    )
    await service.sql.execute("VACUUM ANALYZE threads.thread, threads.thread_values")
    return service.sql


async def plan(sql, statement: search.Statement) -> str:
    rows = await sql.fetch(f"EXPLAIN {statement.sql}", *statement.parameters)
    return "\n".join(row[0] for row in rows)


async def test_orders_and_filters_use_their_indexes(sql):
    orders = {
        SortBy.THREAD_ID: "thread_pkey",
        SortBy.STATUS: "thread_status",
        SortBy.CREATED_AT: "thread_created",
        SortBy.UPDATED_AT: "thread_updated",
        SortBy.STATE_UPDATED_AT: "thread_state_updated",
    }
    for sort_by, index in orders.items():
        for ascending in (False, True):
            text = await plan(sql, search.page(ThreadSearch(sort_by=sort_by, ascending=ascending)))
            assert f"using {index} on thread" in text, text
            assert "Sort" not in text

    some_id = await sql.fetchval("SELECT thread_id FROM threads.thread LIMIT 1")
    filters = {
        "thread_pkey": ThreadFilter(thread_ids=(some_id,)),
        "thread_metadata": ThreadFilter(metadata=Json('{"n":77}')),
        "thread_values_document": ThreadFilter(values=Json('{"v":77}')),
        "thread_status": ThreadFilter(status=Status.ERROR),
    }
    for index, matching in filters.items():
        for statement in (search.page(ThreadSearch(matching=matching)), search.count(matching)):
            text = await plan(sql, statement)
            assert index in text, text
            assert "Seq Scan" not in text, text
    arrays = await plan(sql, search.page(ThreadSearch(matching=ThreadFilter(metadata=Json('{"tags":[77,"x"]}')))))
    assert "thread_metadata" in arrays

    narrow = await plan(sql, search.page(ThreadSearch(columns=("thread_id", "status"))))
    assert "thread_values" not in narrow, "values are not read unless asked for"
