"""Reading a checkpoint looks up its own rows only, even on tables that were never analyzed."""

import json

import pytest
from threadmill_chassis.postgres import load_queries
from threadmill_threads.schema import QUERIES

HISTORY = 2_000
QUERY = load_queries(QUERIES)


@pytest.fixture
async def thread(service):
    """A thread with a long history, two blobs and two writes a step; the planner has no statistics."""
    sql = service.sql
    thread_id = await sql.fetchval(
        "INSERT INTO threads.thread (thread_id) VALUES (gen_random_uuid()) RETURNING thread_id"
    )
    await sql.execute(
        "INSERT INTO threads.checkpoint (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, body_type,"
        " body, metadata, channel_versions) SELECT $1, '', lpad(n::text, 6, '0'), lpad((n - 1)::text, 6, '0'),"
        " 'm', '', '{}', jsonb_build_object('a', n::text, 'b', n::text) FROM generate_series(1, $2::int) AS n",
        thread_id,
        HISTORY,
    )
    await sql.execute(
        "INSERT INTO threads.channel_blob SELECT $1, '', channel, n::text, 'm', ''"
        " FROM generate_series(1, $2::int) AS n, unnest('{a,b}'::text[]) AS channel",
        thread_id,
        HISTORY,
    )
    await sql.execute(
        "INSERT INTO threads.pending_write SELECT $1, '', lpad(n::text, 6, '0'), 't', idx, 'a', 'm', '', ''"
        " FROM generate_series(1, $2::int) AS n, generate_series(0, 1) AS idx",
        thread_id,
        HISTORY,
    )
    return thread_id


def rows_read(plan: dict) -> int:
    """Rows that the scans of a plan yielded, all loops together, with those that filters threw away."""
    loops = plan["Actual Loops"]
    own = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * loops if "Index Name" in plan else 0
    assert plan["Node Type"] != "Seq Scan" or plan["Actual Rows"] * loops <= 1, plan
    return own + sum(rows_read(child) for child in plan.get("Plans", ()))


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
async def test_reads_touch_what_they_answer(service, thread, mode):
    everything = ("", "\U0010ffff")
    await service.sql.execute(f"SET plan_cache_mode = {mode}")
    for query, arguments, most in [
        (QUERY.read_checkpoint, (True, thread, "", *everything), 6),
        (QUERY.list_namespace, (thread, "", *everything, None, 20), 100),
        (QUERY.list_thread, (thread, *everything, "", None, 20), HISTORY + 100),
        (QUERY.list_everywhere, (None, *everything, "", thread, None, 20), 100),
        (QUERY.channel_history, (thread, "", *everything, ["a", "b"]), 20),
    ]:
        explained = await service.sql.prepare(f"EXPLAIN (ANALYZE, FORMAT json) {query.sql}")
        (answer,) = await explained.fetchrow(*arguments)
        (top,) = json.loads(answer)
        assert rows_read(top["Plan"]) <= most, answer
