"""Ends of runs whose executor has settled the thread already, together with its last checkpoint."""

import grpc
import pytest
from eventually import until
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import executors_pb2, runs_pb2
from threadmill_protos.threads.v1 import threads_pb2

Outcome = executors_pb2.Outcome
NEVER = {"poll_seconds": 3600.0, "reconcile_seconds": 3600.0, "webhook_allow_loopback": True}


@pytest.fixture
async def unpolled(start_system):
    return await start_system(**NEVER)


@pytest.fixture
async def executor(unpolled):
    return await unpolled.executor().attach()


async def settle(system, assignment, values_json=b'{"n":1}'):
    """What the executor does with its last write."""
    resting = threads_pb2.RestingState(state=threads_pb2.THREAD_STATE_IDLE, values_json=values_json)
    await system.threads.EndRun(
        threads_pb2.EndRunRequest(thread_id=assignment.thread_id, fence=assignment.fence, resting=resting)
    )


async def end_runs_at_threads(system):
    """How often threads has changed since the run began: the row's version."""
    return await system.threads_sql.fetchval("SELECT xmin::text FROM threads.thread")


async def test_a_settled_success_leaves_the_thread_alone(unpolled, executor):
    thread_id = await unpolled.thread()
    call = unpolled.runs.WaitRun(runs_pb2.WaitRunRequest(create=unpolled.request(thread_id)))
    run = (await call.read()).run
    assignment = await executor.assignment()
    await settle(unpolled, assignment)
    version = await end_runs_at_threads(unpolled)
    await executor.finish(assignment, ("values", {"n": 1}), thread_settled=True)
    assert (await call.read()).outcome.body_json == b'{"n":1}'
    assert await unpolled.run_state(run.run_id) == "success"
    row = await unpolled.sql.fetchrow("SELECT * FROM runs.run")
    assert (row["executor_id"], row["lease_expires_at"]) == (None, None)
    assert row["ended_at"] >= row["started_at"]
    assert await end_runs_at_threads(unpolled) == version
    assert await unpolled.thread_state(thread_id) == "idle"


async def test_the_next_run_of_the_thread_begins_at_its_end(unpolled, executor):
    thread_id = await unpolled.thread()
    await unpolled.create(thread_id)
    following = await unpolled.create(thread_id)
    assignment = await executor.assignment()
    await settle(unpolled, assignment)
    await executor.finish(assignment, thread_settled=True)
    assert (await executor.assignment(seconds=5)).fence.run_id == following.run_id


async def test_a_run_that_was_created_after_the_thread_was_settled_waits_for_the_end(unpolled, executor):
    thread_id = await unpolled.thread()
    await unpolled.create(thread_id)
    assignment = await executor.assignment()
    await settle(unpolled, assignment)
    following = await unpolled.create(thread_id)
    assert await unpolled.run_state(following.run_id) == "pending"
    await executor.finish(assignment, thread_settled=True)
    assert (await executor.assignment(seconds=5)).fence.run_id == following.run_id


@pytest.mark.parametrize("moment", ["before it settled", "after it settled"])
async def test_a_rollback_that_was_promised_undoes_a_settled_success(unpolled, executor, moment):
    thread_id = await unpolled.thread()
    run = await unpolled.create(thread_id)
    assignment = await executor.assignment()

    async def cancel():
        request = runs_pb2.CancelRunsRequest(run_ids=[run.run_id], action=runs_pb2.CANCEL_ACTION_ROLLBACK)
        assert list((await unpolled.runs.CancelRuns(request)).run_ids) == [run.run_id]

    if moment == "before it settled":
        await cancel()
    await unpolled.put_checkpoint(assignment)
    await settle(unpolled, assignment)
    if moment == "after it settled":
        await cancel()
    await executor.finish(assignment, thread_settled=True)
    assert await unpolled.sql.fetchval("SELECT count(*) FROM runs.run") == 0
    assert await unpolled.threads_sql.fetchval("SELECT count(*) FROM threads.checkpoint") == 0
    assert await unpolled.thread_state(thread_id) == "idle"


async def test_a_rollback_undoes_what_an_attempt_settled_before_it_died(start_system):
    system = await start_system(lease_seconds=0.8, heartbeat_seconds=0.2, detach_grace_seconds=0.3)
    executor = await system.executor().attach()
    thread_id = await system.thread()
    run = await system.create(thread_id)
    assignment = await executor.assignment()
    await system.put_checkpoint(assignment)
    await settle(system, assignment)
    await system.runs.CancelRuns(
        runs_pb2.CancelRunsRequest(run_ids=[run.run_id], action=runs_pb2.CANCEL_ACTION_ROLLBACK)
    )
    await executor.detach()

    async def gone():
        return await system.sql.fetchval("SELECT count(*) FROM runs.run") == 0

    await until(gone)
    assert await system.threads_sql.fetchval("SELECT count(*) FROM threads.checkpoint") == 0
    assert await system.thread_state(thread_id) == "idle"


async def test_an_interrupt_that_comes_too_late_changes_nothing(unpolled, executor):
    run = await unpolled.create(await unpolled.thread())
    assignment = await executor.assignment()
    await settle(unpolled, assignment)
    await unpolled.runs.CancelRuns(runs_pb2.CancelRunsRequest(run_ids=[run.run_id]))
    await executor.finish(assignment, thread_settled=True)
    assert await unpolled.run_state(run.run_id) == "success"


async def test_a_run_with_a_webhook_has_its_call_written_before_it_ends(unpolled, executor):
    run = await unpolled.create(await unpolled.thread(), webhook="http://127.0.0.1:9/never")
    assignment = await executor.assignment()
    await settle(unpolled, assignment)
    await executor.finish(assignment, thread_settled=True)
    assert await unpolled.run_state(run.run_id) == "success"
    assert await unpolled.sql.fetchval("SELECT run_id::text FROM runs.webhook_delivery") == run.run_id


async def test_temporary_threads_go_whatever_the_executor_says(unpolled, executor):
    await unpolled.create()
    await executor.finish(await executor.assignment(), thread_settled=True)
    assert await unpolled.threads_sql.fetchval("SELECT count(*) FROM threads.thread") == 0
    assert await unpolled.sql.fetchval("SELECT count(*) FROM runs.run") == 0


async def test_a_repeated_outcome_is_refused_as_any_late_one(unpolled, executor):
    await unpolled.create(await unpolled.thread())
    assignment = await executor.assignment()
    await settle(unpolled, assignment)
    await executor.finish(assignment, thread_settled=True)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await executor.finish(assignment, thread_settled=True)
    assert reason_of(refused.value) == "FENCED"
