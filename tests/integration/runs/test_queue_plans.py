"""Indexes answer what the queue and its listings ask, on a table large enough to matter."""

import pytest
from threadmill_chassis.postgres import load_queries
from threadmill_runs.schema import QUERIES

ROWS = 50_000
SQL = load_queries(QUERIES)


@pytest.fixture
async def database(system_database):
    """Mostly history; a few hundred pending runs, a few running ones, some threads with a long history."""
    await system_database.execute(
        """
        INSERT INTO runs.run (run_id, thread_id, assistant_id, graph_id, status, metadata, kwargs, multitask_strategy,
            created_at, attempt, fence_token, executor_id, lease_expires_at)
        SELECT gen_random_uuid(),
            CASE WHEN n % 100 = 7 THEN '00000000-0000-4000-8000-000000000001' ELSE gen_random_uuid() END,
            ('00000000-0000-4000-8000-' || lpad((n % 500)::text, 12, '0'))::uuid, 'g' || n % 3,
            CASE WHEN n % 100 = 7 THEN 'success' WHEN n % 200 = 0 THEN 'pending' WHEN n % 1000 = 1 THEN 'running'
                 ELSE 'success' END,
            jsonb_build_object('n', n), '{}', 'enqueue', now() - n * interval '1 s', 1, n, 'executor-' || n % 5,
            CASE WHEN n % 1000 = 1 THEN now() + interval '1 min' END
        FROM generate_series(1, $1::int) AS n
        """,
        ROWS,
    )
    await system_database.execute("VACUUM ANALYZE runs.run")
    return system_database


async def plan(database, name, *arguments):
    rows = await database.fetch(f"EXPLAIN {getattr(SQL, name).sql}", *arguments)
    return "\n".join(row[0] for row in rows)


def by_name(name, **values):
    """Arguments in the order in which the query numbers them."""
    signature = next(
        line for path in QUERIES.glob("*.sql") for line in path.read_text().splitlines() if f"name: {name}(" in line
    )
    names = signature[signature.index("(") + 1 : signature.index(")")].split(", ")
    return [values[each] for each in names]


async def explain(database, name, **values):
    """The plan, with parameters numbered as aiosql does: by first use."""
    query = getattr(SQL, name)
    statement = await database.prepare(query.sql)
    arguments = by_name(name, **values)
    assert len(statement.get_parameters()) == len(arguments)
    return await plan(database, name, *arguments)


THREAD = "00000000-0000-4000-8000-000000000001"
NONE = {"thread_id": None, "status": None, "assistant_id": None, "metadata": None, "limit": 10, "offset": 0}


CASES = [
    ("list_thread_runs", {"thread_id": THREAD, "status": None, "limit": 10, "offset": 0}, "run_thread"),
    ("list_thread_runs", {"thread_id": THREAD, "status": "error", "limit": 10, "offset": 0}, "run_"),
    ("search_runs", NONE, "run_created"),
    ("search_runs", {**NONE, "status": "error"}, "run_status"),
    ("search_runs", {**NONE, "assistant_id": "00000000-0000-4000-8000-000000000042"}, "run_assistant"),
    ("search_runs", {**NONE, "metadata": '{"n":77}'}, "run_metadata"),
    ("active_run_ids", {"thread_id": THREAD}, "run_active"),
    ("requeue_expired", {"max_attempts": 3, "limit": 100}, "run_lease"),
    (
        "claim_runs",
        {"graph_ids": ["g0", "g1"], "limit": 10, "executor_id": "e", "lease_seconds": 15.0},
        "run_queue",
    ),
]


async def test_plans(database):
    for name, values, index in CASES:
        text = await explain(database, name, **values)
        assert index in text, text
        assert "Seq Scan on run" not in text, text
