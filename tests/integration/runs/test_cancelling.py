"""Cancelling runs in every state, and the messages by which executors hear of it."""

import asyncio

import grpc
import orjson
import pytest
from eventually import until
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import executors_pb2, runs_pb2
from threadmill_protos.threads.v1 import threads_pb2

Outcome = executors_pb2.Outcome
ROLLBACK = runs_pb2.CANCEL_ACTION_ROLLBACK


def cancel(system, *runs, **fields):
    return system.runs.CancelRuns(runs_pb2.CancelRunsRequest(run_ids=[run.run_id for run in runs], **fields))


async def test_pending_run_ends_at_once_also_for_those_who_wait(system):
    executor = await system.executor().attach()
    run = await system.create(await system.thread())
    await executor.assignment()
    blocked = await system.create(run.thread_id)
    waiting, stream = system.wait(blocked.run_id), system.stream(blocked.run_id)
    await waiting.read()
    await stream.read()
    answer = await cancel(system, blocked, thread_id=run.thread_id)
    assert list(answer.run_ids) == [blocked.run_id]
    assert await system.run_state(blocked.run_id) == "interrupted"
    async with asyncio.timeout(3):
        assert (await waiting.read()).outcome.state == runs_pb2.RUN_STATE_INTERRUPTED
        assert await system.collect(stream) == []
    assert await system.thread_state(run.thread_id) == "busy", "the first run goes on"


async def test_the_first_pending_run_of_a_thread_leaves_it_idle(system):
    await (await system.executor().attach()).detach()
    run = await system.create(await system.thread())
    await cancel(system, run)
    assert await system.thread_state(run.thread_id) == "idle"


@pytest.mark.parametrize("state", ["waiting", "again"])
async def test_end_of_a_pending_run_reaches_watchers_of_a_used_thread(system, state):
    """The thread's log remembers a younger token than the pending run has."""
    executor = await system.executor(slots=1).attach()
    thread_id = await system.thread()
    await system.create(thread_id)
    first = await executor.assignment()
    if state == "again":
        await executor.finish(first, values_json=b"{}")
        await system.create(await system.thread(), after_seconds=-9)
        await executor.assignment()
    waiting = await system.create(thread_id)
    stream = system.stream(waiting.run_id)
    await stream.read()
    async with asyncio.timeout(3):
        await cancel(system, waiting)
        assert await system.collect(stream) == []


async def test_running_run_is_told_and_its_state_kept(system):
    executor = await system.executor().attach()
    run = await system.create(await system.thread())
    waiting = system.wait(run.run_id)
    await waiting.read()
    assignment = await executor.assignment()
    await cancel(system, run, reason="enough")
    assert (await executor.expect("cancel")).fence == assignment.fence
    assert await system.run_state(run.run_id) == "running", "until the executor has stopped it"
    await executor.finish(
        assignment, ("values", {"half": 1}), result=Outcome.RESULT_CANCELLED, values_json=b'{"half":1}', has_next=True
    )
    assert (await waiting.read()).outcome.body_json == b'{"half":1}'
    thread = await system.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=run.thread_id))
    assert thread.state == threads_pb2.THREAD_STATE_INTERRUPTED
    assert orjson.loads(thread.error_json) == {"error": "UserInterrupt", "message": "enough"}
    assert await system.run_state(run.run_id) == "interrupted"


async def test_a_lost_message_is_made_up_for_by_the_next_heartbeat(system):
    executor = await system.executor().attach()
    run = await system.create(await system.thread())
    assignment = await executor.assignment()
    # What another replica would do whose hint over Redis got lost.
    await system.sql.execute("UPDATE runs.run SET cancel_action = 'interrupt' WHERE run_id = $1", run.run_id)
    with pytest.raises(TimeoutError):
        await executor.expect("cancel", seconds=0.3)
    await executor.heartbeat(assignment.fence)
    assert (await executor.expect("cancel")).action == runs_pb2.CANCEL_ACTION_INTERRUPT


async def test_a_cancel_at_another_replica_reaches_the_executor_through_redis(system):
    executor = await system.executor().attach()
    channel = await system.start_replica()
    run = await system.create(await system.thread())
    assignment = await executor.assignment()
    from threadmill_protos.runs.v1 import runs_pb2_grpc

    await runs_pb2_grpc.RunsStub(channel).CancelRuns(runs_pb2.CancelRunsRequest(run_ids=[run.run_id]))
    assert (await executor.expect("cancel")).fence == assignment.fence


async def test_ended_runs_are_not_cancellable(system):
    executor = await system.executor().attach()
    run = await system.create(await system.thread())
    await executor.finish(await executor.assignment(), values_json=b"{}")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await cancel(system, run)
    assert reason_of(refused.value) == "NOT_CANCELLABLE"
    other = await system.create(run.thread_id)
    assert list((await cancel(system, run, other)).run_ids) == [other.run_id], "those that can be are"


async def test_a_cancel_that_comes_too_late_does_not_change_a_success(system):
    executor = await system.executor().attach()
    run = await system.create(await system.thread())
    assignment = await executor.assignment()
    await cancel(system, run)
    await executor.finish(assignment, values_json=b"{}")
    assert await system.run_state(run.run_id) == "success"


async def test_rollback_deletes_run_and_its_checkpoints(system):
    executor = await system.executor().attach()
    run = await system.create(await system.thread())
    assignment = await executor.assignment()
    await system.put_checkpoint(assignment)
    await cancel(system, run, action=ROLLBACK)
    await executor.expect("cancel")
    await executor.finish(assignment, result=Outcome.RESULT_CANCELLED)
    await gone(system, run)


async def test_rollback_of_a_requeued_run_deletes_its_checkpoints_too(system):
    executor = await system.executor(slots=1).attach()
    run = await system.create(await system.thread())
    assignment = await executor.assignment()
    await system.put_checkpoint(assignment)
    await executor.heartbeat(draining=True)
    await executor.detach()
    await system.sql.execute("UPDATE runs.run SET lease_expires_at = now() - interval '1 s'")

    async def requeued():
        return await system.run_state(run.run_id) == "pending"

    await until(requeued)
    await cancel(system, run, action=ROLLBACK)
    await gone(system, run)


async def test_interrupting_a_requeued_run_leaves_its_thread_interrupted(system):
    executor = await system.executor().attach()
    run = await system.create(await system.thread())
    await executor.assignment()
    await executor.detach()
    await system.sql.execute("UPDATE runs.run SET lease_expires_at = now() - interval '1 s'")

    async def requeued():
        return await system.run_state(run.run_id) == "pending"

    await until(requeued)
    await cancel(system, run)
    assert await system.thread_state(run.thread_id) == "interrupted", "it may have got somewhere"


async def gone(system, run):
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await system.run_state(run.run_id)
    assert reason_of(missing.value) == "RUN_NOT_FOUND"
    assert await system.threads_sql.fetchval("SELECT count(*) FROM threads.checkpoint") == 0
    assert await system.thread_state(run.thread_id) == "idle"


async def test_the_reaper_ends_a_cancelled_run_whose_executor_is_dead(hasty):
    executor = await hasty.executor().attach()
    run = await hasty.create(await hasty.thread())
    await executor.assignment()
    await cancel(hasty, run)
    waiting = hasty.wait(run.run_id)
    await waiting.read()
    assert (await waiting.read()).outcome.state == runs_pb2.RUN_STATE_INTERRUPTED
    assert await hasty.run_state(run.run_id) == "interrupted"
    assert await hasty.thread_state(run.thread_id) == "interrupted"
    assert await hasty.sql.fetchval("SELECT attempt FROM runs.run") == 1, "it is not executed again"


async def test_cancel_by_state_takes_all(system):
    executor = await system.executor(slots=2).attach()
    running = [await system.create(await system.thread()) for _ in range(2)]
    assignments = [await executor.assignment() for _ in running]
    pending = [await system.create(await system.thread()) for _ in range(3)]
    answer = await system.runs.CancelRuns(runs_pb2.CancelRunsRequest(states=[runs_pb2.RUN_STATE_PENDING]))
    assert sorted(answer.run_ids) == sorted(run.run_id for run in pending)
    answer = await system.runs.CancelRuns(runs_pb2.CancelRunsRequest(states=[runs_pb2.RUN_STATE_RUNNING]))
    assert sorted(answer.run_ids) == sorted(run.run_id for run in running)
    told = [await executor.expect("cancel") for _ in running]
    assert {each.fence.run_id for each in told} == {each.fence.run_id for each in assignments}
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await system.runs.CancelRuns(runs_pb2.CancelRunsRequest(states=[runs_pb2.RUN_STATE_PENDING]))
    assert reason_of(refused.value) == "NOT_CANCELLABLE"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await system.runs.CancelRuns(runs_pb2.CancelRunsRequest())
    assert reason_of(refused.value) == "INVALID_ARGUMENT"


async def test_a_cancel_between_claim_and_assignment_needs_no_heartbeat(system, redis):
    executor = await system.executor().attach()
    thread_id = await system.thread()
    await redis.execute_command("CLIENT", "PAUSE", "700", "ALL")  # the dispatcher waits with the assignment in hand
    run = await system.create(thread_id)

    async def claimed():
        return await system.run_state(run.run_id) == "running"

    await until(claimed)
    cancelling = cancel(system, run)

    async def noted():
        return await system.sql.fetchval("SELECT cancel_action IS NOT NULL FROM runs.run")

    await until(noted)
    assignment = await executor.assignment()
    assert (await executor.expect("cancel", seconds=1)).fence == assignment.fence
    assert list((await cancelling).run_ids) == [run.run_id]


async def test_a_run_that_is_to_be_rolled_back_is_even_if_it_finished_first(system):
    executor = await system.executor().attach()
    run = await system.create(await system.thread())
    assignment = await executor.assignment()
    await system.put_checkpoint(assignment)
    await cancel(system, run, action=ROLLBACK)
    await executor.finish(assignment, values_json=b'{"a":1}')
    await gone(system, run)


async def test_a_rollback_undoes_what_an_interrupt_would_have_kept(system):
    executor = await system.executor().attach()
    run = await system.create(await system.thread())
    assignment = await executor.assignment()
    await system.put_checkpoint(assignment)
    await cancel(system, run)
    await cancel(system, run, action=ROLLBACK)
    await cancel(system, run)
    await executor.finish(assignment, result=Outcome.RESULT_CANCELLED)
    await gone(system, run)
