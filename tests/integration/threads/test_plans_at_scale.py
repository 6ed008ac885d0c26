"""With many threads every documented filter and order, and the sweep, answers from an index.

100,000 threads, which differ from a million by one level of a B-tree; THREADMILL_SCALE=1000000 makes a million.
"""

import os
from itertools import product

import pytest
from many_threads import add_threads, settle
from threadmill_chassis.postgres import load_queries
from threadmill_threads import search
from threadmill_threads.domain import Json, SortBy, Status, ThreadFilter, ThreadSearch
from threadmill_threads.schema import QUERIES

SCALE = int(os.environ.get("THREADMILL_SCALE", "100000"))


@pytest.fixture
async def sql(service):
    await add_threads(service.sql, 1, SCALE)
    await settle(service.sql)
    return service.sql


async def plan(sql, statement: str, *parameters: object) -> str:
    """Of a statement as the service runs it."""
    return "\n".join(row[0] for row in await sql.fetch(f"EXPLAIN {statement}", *parameters))


def assert_indexed(text: str, about: object) -> None:
    assert "Seq Scan" not in text, f"{about}\n{text}"
    assert "Index" in text, f"{about}\n{text}"


@pytest.mark.timeout(1800)
async def test_nothing_is_read_in_sequence(sql):
    some_ids = tuple(row[0] for row in await sql.fetch("SELECT thread_id FROM threads.thread LIMIT 20"))
    filters = {
        "none": ThreadFilter(),
        "ids": ThreadFilter(thread_ids=some_ids),
        **{status: ThreadFilter(status=status) for status in Status},
        **{
            text: ThreadFilter(metadata=Json(text))
            for text in (
                '{"n":77}',
                '{"user":"user 7"}',
                '{"assistant_id":"assistant 7"}',
                '{"graph_id":"graph 7"}',
                '{"graph_id":"graph 7","user":"user 8"}',
                '{"tags":[77,"x"]}',
                '{"absent":1}',
            )
        },
        **{
            f"values {text}": ThreadFilter(values=Json(text))
            for text in ('{"n":77}', '{"topic":"assistant 7"}', '{"absent":1}')
        },
        "all": ThreadFilter(
            thread_ids=some_ids, metadata=Json('{"n":77}'), values=Json('{"n":77}'), status=Status.BUSY
        ),
    }
    for (name, matching), sort_by, ascending in product(filters.items(), SortBy, (True, False)):
        wanted = ThreadSearch(matching=matching, sort_by=sort_by, ascending=ascending)
        statement = search.page(wanted)
        assert_indexed(await plan(sql, statement.sql, *statement.parameters), (name, sort_by, ascending))
    for name, matching in filters.items():
        statement = search.count(matching)
        assert_indexed(await plan(sql, statement.sql, *statement.parameters), (name, "count"))
    queries = load_queries(QUERIES)
    assert_indexed(await plan(sql, queries.lock_expired_threads.sql, 50), "sweep")
    assert_indexed(await plan(sql, queries.active_runs.sql, some_ids[0], 10.0, 100), "active runs")
