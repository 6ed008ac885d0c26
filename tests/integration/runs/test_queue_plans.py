"""Indexes answer what the queue, its duties and the listings ask, on tables large enough to matter."""

from itertools import product

import pytest
from threadmill_chassis.postgres import load_queries
from threadmill_runs.assistants import repo as assistants
from threadmill_runs.crons import repo as crons
from threadmill_runs.queue.repo import RunFilter
from threadmill_runs.queue.run import RunState
from threadmill_runs.schema import QUERIES

ROWS = 100_000
SQL = load_queries(QUERIES)
THREAD = "00000000-0000-4000-8000-000000000001"
ASSISTANT = "00000000-0000-4000-8000-000000000042"
NOBODY = "00000000-0000-0000-0000-000000000000"
TABLES = ("run", "assistant", "cron", "cron_firing", "webhook_delivery", "temporary_run")


@pytest.fixture
async def database(system_database):
    """Mostly history; a few hundred pending runs, a few running ones, some threads with a long history."""
    for statement in FILL:
        await system_database.execute(statement, ROWS)
    for table in TABLES:
        await system_database.execute(f"VACUUM ANALYZE runs.{table}")
    return system_database


FILL = [
    """
    INSERT INTO runs.run (run_id, thread_id, assistant_id, graph_id, status, metadata, kwargs, multitask_strategy,
        created_at, ended_at, attempt, fence_token, executor_id, lease_expires_at)
    SELECT gen_random_uuid(),
        CASE WHEN n % 100 = 7 THEN '00000000-0000-4000-8000-000000000001' ELSE gen_random_uuid() END,
        ('00000000-0000-4000-8000-' || lpad((n % 500)::text, 12, '0'))::uuid, 'g' || n % 3,
        CASE WHEN n % 100 = 7 THEN 'success' WHEN n % 200 = 0 THEN 'pending' WHEN n % 1000 = 1 THEN 'running'
             ELSE 'success' END,
        jsonb_build_object('n', n), '{}', 'enqueue', now() - n * interval '1 s',
        CASE WHEN n % 200 = 0 OR n % 1000 = 1 THEN NULL ELSE now() - n * interval '0.9 s' END,
        1, n, 'executor-' || n % 5, CASE WHEN n % 1000 = 1 THEN now() + interval '1 min' END
    FROM generate_series(1, $1::int) AS n
    """,
    """
    INSERT INTO runs.assistant (assistant_id, graph_id, config, context, metadata, name, version, created_at)
    SELECT gen_random_uuid(), 'g' || n % 300, '{}', '{}', jsonb_build_object('n', n), 'name ' || n, 1,
        now() - n * interval '1 s'
    FROM generate_series(1, $1::int) AS n
    """,
    """
    INSERT INTO runs.cron (cron_id, assistant_id, thread_id, schedule, end_time, payload, metadata, enabled,
        next_run_at, created_at)
    SELECT gen_random_uuid(), ('00000000-0000-4000-8000-' || lpad((n % 500)::text, 12, '0'))::uuid,
        gen_random_uuid(), '* * * * *', now() + n * interval '2 h', '{}', jsonb_build_object('n', n), n % 2 = 0,
        now() + n * interval '1 h', now() - n * interval '1 s'
    FROM generate_series(1, $1::int) AS n
    """,
    """
    INSERT INTO runs.webhook_delivery (run_id, url, document, next_attempt_at)
    SELECT gen_random_uuid(), 'u', '{}', now() + n * interval '1 s' FROM generate_series(1, $1::int) AS n
    """,
    """
    INSERT INTO runs.temporary_run (run_id, accepted_at)
    SELECT gen_random_uuid(), now() - n * interval '0.1 s' FROM generate_series(1, $1::int) AS n
    """,
]


async def plan(database, sql, *arguments):
    rows = await database.fetch(f"EXPLAIN {sql}", *arguments)
    return "\n".join(row[0] for row in rows)


def by_name(name, **values):
    """Arguments in the order in which the query numbers them."""
    signature = next(
        line for path in QUERIES.glob("*.sql") for line in path.read_text().splitlines() if f"name: {name}(" in line
    )
    names = signature[signature.index("(") + 1 : signature.index(")")].split(", ")
    return [values[each] for each in names if each]


async def explain(database, name, **values):
    """The plan, with parameters numbered as aiosql does: by first use."""
    query = getattr(SQL, name)
    statement = await database.prepare(query.sql)
    arguments = by_name(name, **values)
    assert len(statement.get_parameters()) == len(arguments)
    return await plan(database, query.sql, *arguments)


QUERIES_AND_INDEXES = [
    ("active_run_ids", {"thread_id": THREAD}, "run_active"),
    ("requeue_expired", {"max_attempts": 3, "limit": 100}, "run_lease"),
    ("take_over_expired", {"max_attempts": 3, "limit": 100, "lease_seconds": 15.0}, "run_lease"),
    ("renew_leases", {"lease_seconds": 15.0, "executor_id": "e", "run_ids": [NOBODY], "tokens": [1]}, "run_pkey"),
    ("shorten_leases", {"grace_seconds": 3.0, "executor_id": "executor-1"}, "run_"),
    ("request_cancel", {"action": "interrupt", "reason": "", "run_ids": [NOBODY]}, "run_pkey"),
    ("cancellable_run_ids", {"statuses": ["running"], "limit": 1000}, "run_"),
    ("delete_thread_runs", {"thread_id": THREAD, "limit": 1000}, "run_thread"),
    ("queue_stats", {}, "run_"),
    (
        "claim_runs",
        {"graph_ids": ["g0", "g1"], "limit": 10, "executor_id": "e", "lease_seconds": 15.0},
        "run_queue",
    ),
    ("leftover_runs", {"min_age_seconds": 60.0, "limit": 100}, "run_leftover"),
    ("threads_with_old_runs", {"after": NOBODY, "min_age_seconds": 60.0, "limit": 500}, "run_thread"),
    ("delete_old_runs_of_threads", {"thread_ids": [THREAD], "min_age_seconds": 60.0, "limit": 500}, "run_thread"),
    ("delete_outdated_runs", {"keep_seconds": 90_000.0, "limit": 500}, "run_created"),
    ("forget_temporary_runs", {"keep_seconds": 3600.0, "limit": 500}, "temporary_run_accepted"),
    ("threads_with_crons", {"after": NOBODY, "limit": 500}, "cron_"),
    ("delete_crons_of_threads", {"thread_ids": [THREAD]}, "cron_"),
    ("lock_due_crons", {"limit": 32}, "cron_due"),
    (
        "claim_deliveries",
        {"full_hosts": ["slow.example"], "limit": 16, "lease_seconds": 20.0},
        "webhook_delivery_due",
    ),
    ("seconds_to_next_delivery", {}, "webhook_delivery_due"),
]
RUN_FILTERS = [
    RunFilter(thread_id=thread_id, state=state, assistant_id=assistant_id, metadata_json=metadata)
    for thread_id, state, assistant_id, metadata in product(
        (None, THREAD), (None, RunState.ERROR), (None, ASSISTANT), (b"", b'{"n":77}')
    )
]

ASSISTANT_FILTERS = [(b"", "", ""), (b'{"n":77}', "", ""), (b"", "g7", ""), (b'{"n":77}', "g77", "name")]
CRON_FILTERS = [
    crons.CronFilter(),
    crons.CronFilter(assistant_id=ASSISTANT),
    crons.CronFilter(thread_id=THREAD),
    crons.CronFilter(metadata_json=b'{"n":77}'),
    crons.CronFilter(enabled=True),
    crons.CronFilter(assistant_id=ASSISTANT, enabled=False, metadata_json=b'{"n":77}'),
]


async def test_plans(database):
    plans = {name: await explain(database, name, **values) for name, values, _ in QUERIES_AND_INDEXES}
    missed = [plans[name] for name, _, index in QUERIES_AND_INDEXES if index not in plans[name]]
    assert not missed, "\n\n".join(missed)
    for place, (statement, sql) in enumerate(searches()):
        plans[f"search {place}: {sql}"] = await plan(database, sql, *statement.parameters)
    scans = [f"{name}:\n{text}" for name, text in plans.items() if "Seq Scan on" in text]
    assert not scans, "\n\n".join(scans)


def searches():
    """Every order with every filter that lists have."""
    for wanted in RUN_FILTERS:
        statement = wanted.statement()
        yield statement, statement.page("runs.run", ("created_at", "seq"), 10, 0, ascending=False)
    for sort_by, ascending, fields in product(assistants.ORDERS, (True, False), ASSISTANT_FILTERS):
        statement = assistants.matching(*fields)
        yield statement, statement.page("runs.assistant", assistants.ORDERS[sort_by], 11, 20, ascending=ascending)
    for sort_by, ascending, wanted in product(crons.ORDERS, (True, False), CRON_FILTERS):
        statement = wanted.statement()
        yield statement, statement.page("runs.cron", crons.ORDERS[sort_by], 11, 20, ascending=ascending)
