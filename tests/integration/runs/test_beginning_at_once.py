"""Runs that are claimed by the statement that inserts them, and those that cannot be. No poll helps in these tests."""

import asyncio

import pytest
from eventually import until
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import executors_pb2_grpc, runs_pb2, runs_pb2_grpc

NEVER = {"poll_seconds": 3600.0, "reconcile_seconds": 3600.0}


@pytest.fixture
async def unpolled(start_system):
    return await start_system(**NEVER)


@pytest.fixture
async def executor(unpolled):
    """Attached, and known to have asked the queue once."""
    attached = await unpolled.executor().attach()
    run = await unpolled.create()
    await attached.finish(await attached.assignment())
    await until(lambda: ended(unpolled, run))
    return attached


async def ended(system, run):
    return not await system.sql.fetchval("SELECT EXISTS (SELECT FROM runs.run WHERE run_id = $1)", run.run_id)


async def test_the_insert_is_the_claim(unpolled, executor):
    thread_id = await unpolled.thread()
    before = await unpolled.sql.fetchval("SELECT last_value FROM runs.fence_token")
    run = await unpolled.create(thread_id, input_json=b'{"n":1}')
    assert (run.state, run.attempt) == (runs_pb2.RUN_STATE_PENDING, 0), "as it was accepted"
    assignment = await executor.assignment()
    assert (assignment.fence.run_id, assignment.fence.token) == (run.run_id, before + 1)
    assert (assignment.attempt, assignment.resuming, assignment.thread_is_empty) == (1, False, True)
    row = await unpolled.sql.fetchrow("SELECT * FROM runs.run")
    assert (row["status"], row["executor_id"], row["attempt"]) == ("running", executor.executor_id, 1)
    assert row["started_at"] == row["created_at"], "one statement wrote both"
    lasts = await unpolled.sql.fetchval("SELECT lease_expires_at - clock_timestamp() > interval '5 s' FROM runs.run")
    assert lasts


async def test_only_the_first_run_of_a_thread_may_take_it_for_empty(unpolled, executor):
    thread_id = await unpolled.thread()
    await unpolled.create(thread_id)
    first = await executor.assignment()
    assert first.thread_is_empty
    await executor.finish(first, values_json=b"{}")
    await unpolled.create(thread_id)
    assert not (await executor.assignment()).thread_is_empty


async def test_a_run_that_came_and_went_after_the_thread_was_found_empty(unpolled, executor):
    """Its BeginRun and its whole life lie between another run's BeginRun and insert."""
    thread_id = await unpolled.thread()
    slow = unpolled.request(thread_id)
    async with unpolled.sql.transaction():
        await unpolled.sql.execute("LOCK TABLE runs.run IN SHARE ROW EXCLUSIVE MODE")
        creating = unpolled.runs.CreateRun(slow)
        await until(lambda: blocked(unpolled))
        await unpolled.sql.execute(
            "INSERT INTO runs.run (run_id, thread_id, assistant_id, graph_id, status, metadata, kwargs,"
            " multitask_strategy, ended_at)"
            " SELECT $1, $2, assistant_id, 'echo', 'success', '{}', '{}', 'enqueue', now() FROM runs.assistant",
            new_id(),
            thread_id,
        )
    await creating
    assignment = await executor.assignment()
    assert assignment.fence.run_id == slow.run_id
    assert not assignment.thread_is_empty


async def blocked(system, statement="INTO runs.run AS"):
    """Whether a statement with this text waits for a lock; so do those of duties, at any time."""
    return await system.threads_sql.fetchval(
        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND position($1 IN query) > 0)",
        statement,
    )


async def test_runs_of_one_thread_go_one_after_the_other_and_in_order(unpolled, executor):
    thread_id = await unpolled.thread()
    runs = [await unpolled.create(thread_id) for _ in range(5)]
    for run in runs:
        assignment = await executor.assignment()
        assert assignment.fence.run_id == run.run_id
        assert executor.inbox.empty()
        await executor.finish(assignment, values_json=b"{}")
    assert await unpolled.thread_state(thread_id) == "idle"


async def test_creates_at_once_on_one_thread(unpolled, executor):
    thread_id = await unpolled.thread()
    runs = await asyncio.gather(*(unpolled.create(thread_id) for _ in range(20)))
    seen = []
    for _ in runs:
        assignment = await executor.assignment()
        running = await unpolled.sql.fetchval("SELECT count(*) FROM runs.run WHERE status = 'running'")
        assert running == 1
        seen.append(assignment.fence.run_id)
        await executor.finish(assignment, values_json=b"{}")
    assert sorted(seen) == sorted(run.run_id for run in runs)


async def test_creates_at_once_do_not_overfill_an_executor(unpolled):
    executor = await unpolled.executor(slots=3).attach()
    threads = [await unpolled.thread() for _ in range(30)]
    runs = await asyncio.gather(*(unpolled.create(thread_id) for thread_id in threads))
    held, seen = [], []
    while len(seen) < len(runs):
        while len(held) < 3 and len(seen) + len(held) < len(runs):
            held.append(await executor.assignment())
        assert executor.inbox.empty()
        done = held.pop(0)
        seen.append(done.fence.run_id)
        await executor.finish(done, values_json=b"{}")
    assert sorted(seen) == sorted(run.run_id for run in runs)


async def arrived(*executors):
    return any(not executor.inbox.empty() for executor in executors)


async def test_two_replicas_share_a_thread_without_a_poll(unpolled):
    channel = await unpolled.start_replica()
    one = await unpolled.executor().attach()
    two = await unpolled.executor(stub=executors_pb2_grpc.ExecutorsStub(channel)).attach()
    entries = (unpolled.runs, runs_pb2_grpc.RunsStub(channel))
    thread_id = await unpolled.thread()
    runs = await asyncio.gather(*(entries[n % 2].CreateRun(unpolled.request(thread_id)) for n in range(12)))
    seen = []
    while len(seen) < len(runs):
        await until(lambda: arrived(one, two), seconds=5)
        assert one.inbox.empty() or two.inbox.empty(), "two runs of one thread at once"
        holder = two if one.inbox.empty() else one
        assignment = await holder.assignment()
        seen.append(assignment.fence.run_id)
        await holder.finish(assignment, values_json=b"{}")
    assert sorted(seen) == sorted(run.run_id for run in runs)


async def test_a_run_whose_executor_leaves_in_between_goes_to_another(unpolled, executor):
    other = await unpolled.executor(slots=1).attach()  # the emptier one is preferred
    thread_id = await unpolled.thread()
    async with unpolled.sql.transaction():
        await unpolled.sql.execute("LOCK TABLE runs.run IN SHARE ROW EXCLUSIVE MODE")
        create = asyncio.ensure_future(unpolled.create(thread_id))
        await until(lambda: blocked(unpolled))
        await executor.detach()
        await until(lambda: blocked(unpolled, "least(lease_expires_at"))  # its leases are to be shortened
    run = await create
    assignment = await other.assignment(seconds=5)  # a lease lasts 15
    assert (assignment.fence.run_id, assignment.attempt) == (run.run_id, 1), "the attempt was not spent"


async def test_a_client_that_leaves_before_the_answer_leaves_a_run_that_is_carried_out(unpolled, executor):
    thread_id = await unpolled.thread()
    async with unpolled.sql.transaction():
        await unpolled.sql.execute("LOCK TABLE runs.run IN SHARE ROW EXCLUSIVE MODE")
        call = unpolled.runs.CreateRun(unpolled.request(thread_id))
        await until(lambda: blocked(unpolled))
        call.cancel()
    assert (await executor.assignment(seconds=5)).thread_id == thread_id


async def test_runs_for_later_wait_in_the_queue(unpolled, executor):
    run = await unpolled.create(await unpolled.thread(), after_seconds=60)
    assert await unpolled.run_state(run.run_id) == "pending"
    with pytest.raises(TimeoutError):
        await executor.assignment(seconds=0.3)
