"""No table only grows: what nobody can reach any more goes, everything else stays."""

import pytest
from threadmill_chassis.ids import new_id
from threadmill_chassis.postgres import load_queries, open_pool
from threadmill_protos.threads.v1 import threads_pb2
from threadmill_runs.api.settings import RunsSettings
from threadmill_runs.queue import retention as retention_module
from threadmill_runs.queue.retention import Retention
from threadmill_runs.queue.retention_repo import RetentionRepo
from threadmill_runs.schema import QUERIES


@pytest.fixture
async def start_retention(start_system):
    """A system whose own rounds never come, and rounds of the test's over the same database."""
    pools = []

    async def start(keep_seconds=None):
        system = await start_system(retention_interval_seconds=3600)
        settings = RunsSettings(postgres_dsn=system.dsn, redis_uri="unused")
        pool = open_pool(settings, "test")
        repo = RetentionRepo(await pool.__aenter__(), settings, load_queries(QUERIES))
        pools.append(pool)
        return system, repo, Retention(repo, system.threads, keep_seconds)

    yield start
    for pool in pools:
        await pool.__aexit__(None, None, None)


async def ended_run(system, executor, thread_id, minutes_ago):
    run = await system.create(thread_id)
    await executor.finish(await executor.assignment(), values_json=b"{}")
    await system.sql.execute(
        "UPDATE runs.run SET ended_at = now() - $2 * interval '1 min', created_at = now() - $2 * interval '1 min'"
        " WHERE run_id = $1",
        run.run_id,
        minutes_ago,
    )
    return run.run_id


async def runs_left(system):
    return {str(row["run_id"]) for row in await system.sql.fetch("SELECT run_id FROM runs.run")}


async def delete_thread(system, thread_id):
    """As the sweeper of threads does when a time to live is over: without a word to the runs api."""
    await system.threads.DeleteThread(threads_pb2.DeleteThreadRequest(thread_id=thread_id))


async def test_runs_of_threads_that_are_gone_go(start_retention):
    system, _, retention = await start_retention()
    executor = await system.executor().attach()
    gone, kept = await system.thread(), await system.thread()
    await ended_run(system, executor, gone, minutes_ago=60)
    just_now = await ended_run(system, executor, gone, minutes_ago=0)
    old = await ended_run(system, executor, kept, minutes_ago=60)
    await delete_thread(system, gone)
    await retention.round(0)
    assert await runs_left(system) == {old, just_now}, "the thread of the second may be in the making"


async def test_a_round_is_a_page_and_the_next_goes_on_where_it_ended(start_retention, monkeypatch):
    monkeypatch.setattr(retention_module, "PAGE", 2)
    system, _, retention = await start_retention()
    executor = await system.executor().attach()
    for _ in range(5):
        thread_id = await system.thread()
        await ended_run(system, executor, thread_id, minutes_ago=60)
        await delete_thread(system, thread_id)
    left = []
    for _ in range(3):
        await retention.round(0)
        left.append(len(await runs_left(system)))
    assert left == [3, 1, 0]
    again = await system.thread()
    await ended_run(system, executor, again, minutes_ago=60)
    await delete_thread(system, again)
    await retention.round(0)
    assert await runs_left(system) == set(), "after the last page it begins again"


async def test_one_replica_does_the_round_of_an_interval(start_retention):
    _, repo, _ = await start_retention()
    assert await repo.take("runs_of_deleted_threads", 3600) is not None
    assert await repo.take("runs_of_deleted_threads", 3600) is None
    assert await repo.take("runs_of_deleted_threads", 0) is not None


@pytest.mark.parametrize(("keep_seconds", "kept"), [(None, 2), (1800.0, 1)])
async def test_ended_runs_are_kept_as_long_as_the_setting_says(start_retention, keep_seconds, kept):
    system, _, retention = await start_retention(keep_seconds)
    executor = await system.executor().attach()
    thread_id = await system.thread()
    await ended_run(system, executor, thread_id, minutes_ago=60)
    young = await ended_run(system, executor, thread_id, minutes_ago=10)
    await retention.round(0)
    left = await runs_left(system)
    assert len(left) == kept
    assert young in left


async def test_active_runs_stay_however_old(start_retention):
    system, _, retention = await start_retention(60.0)
    await (await system.executor().attach()).detach()
    await system.create(await system.thread(), after_seconds=-9999)
    await retention.round(0, min_age_seconds=0)
    assert len(await runs_left(system)) == 1


async def test_crons_of_threads_that_are_gone_go(start_retention):
    system, _, retention = await start_retention()
    gone, kept = await system.thread(), await system.thread()
    for thread_id in (gone, kept, None):
        await system.sql.execute(
            "INSERT INTO runs.cron (cron_id, assistant_id, thread_id, schedule, payload, metadata, enabled,"
            " on_run_completed, created_at) VALUES ($1, $1, $2, '@daily', '{}', '{}', false,"
            " CASE WHEN $2::uuid IS NULL THEN 'delete' END, now() - interval '1 h')",
            new_id(),
            thread_id,
        )
    await delete_thread(system, gone)
    await retention.round(0)
    left = {row["thread_id"] and str(row["thread_id"]) for row in await system.sql.fetch("SELECT * FROM runs.cron")}
    assert left == {kept, None}


async def test_ids_of_temporary_runs_are_forgotten_in_time(start_retention):
    system, _, retention = await start_retention()
    await (await system.executor().attach()).detach()
    await system.create()
    old = await system.create()
    await system.sql.execute(
        "UPDATE runs.temporary_run SET accepted_at = now() - interval '2 h' WHERE run_id = $1", old.run_id
    )
    await retention.round(0)
    assert await system.sql.fetchval("SELECT count(*) FROM runs.temporary_run") == 1
