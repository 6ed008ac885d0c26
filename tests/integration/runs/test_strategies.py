"""What becomes of a thread's active runs when another one arrives."""

import asyncio

import grpc
import pytest
from eventually import until
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import executors_pb2, runs_pb2

REJECT = runs_pb2.MULTITASK_STRATEGY_REJECT
INTERRUPT = runs_pb2.MULTITASK_STRATEGY_INTERRUPT
ROLLBACK = runs_pb2.MULTITASK_STRATEGY_ROLLBACK
CANCELLED = executors_pb2.Outcome.RESULT_CANCELLED


@pytest.fixture
async def executor(system):
    return await system.executor().attach()


async def test_reject_refuses_while_a_run_is_active_and_only_then(system, executor):
    thread_id = await system.thread()
    await system.create(thread_id)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await system.create(thread_id, multitask_strategy=REJECT)
    assert refused.value.code() is grpc.StatusCode.ABORTED
    assert reason_of(refused.value) == "THREAD_BUSY"
    assert "different multitask strategy" in refused.value.details()
    await executor.finish(await executor.assignment(), values_json=b"{}")
    await system.create(thread_id, multitask_strategy=REJECT)
    await executor.finish(await executor.assignment(), values_json=b"{}")
    assert await system.thread_state(thread_id) == "idle"


async def test_of_thirty_rejecting_creates_at_once_one_is_accepted(system, executor):
    thread_id = await system.thread()
    answers = await asyncio.gather(
        *(system.create(thread_id, multitask_strategy=REJECT) for _ in range(30)), return_exceptions=True
    )
    accepted = [answer for answer in answers if isinstance(answer, runs_pb2.Run)]
    assert len(accepted) == 1
    assert {reason_of(answer) for answer in answers if answer is not accepted[0]} == {"THREAD_BUSY"}
    assignment = await executor.assignment()
    assert assignment.fence.run_id == accepted[0].run_id
    await executor.finish(assignment, values_json=b"{}")
    assert await system.thread_state(thread_id) == "idle", "no refused run keeps the thread busy"


async def test_interrupt_stops_the_running_run_and_drops_waiting_ones(system, executor):
    thread_id = await system.thread()
    first = await system.create(thread_id)
    assignment = await executor.assignment()
    stream = system.stream(first.run_id)
    await stream.read()
    waiting = await system.create(thread_id)
    waited = system.wait(waiting.run_id)
    await waited.read()
    newest = await system.create(thread_id, multitask_strategy=INTERRUPT)

    cancel = await executor.expect("cancel")
    assert (cancel.fence, cancel.action) == (assignment.fence, runs_pb2.CANCEL_ACTION_INTERRUPT)
    async with asyncio.timeout(3):  # at once, not when Postgres is asked the next time
        assert (await waited.read()).outcome.state == runs_pb2.RUN_STATE_INTERRUPTED
    assert executor.inbox.empty(), "the newest run waits for the end of the first"
    await executor.finish(assignment, result=CANCELLED, values_json=b'{"half":1}', has_next=True)
    assert await system.graph_events(stream) == []
    following = await executor.assignment()
    assert following.fence.run_id == newest.run_id
    assert [await system.run_state(run.run_id) for run in (first, waiting)] == ["interrupted"] * 2
    await executor.finish(following, values_json=b"{}")
    assert await system.thread_state(thread_id) == "idle"


async def test_rollback_deletes_the_active_runs(system, executor):
    thread_id = await system.thread()
    first = await system.create(thread_id)
    waiting = await system.create(thread_id)
    assignment = await executor.assignment()
    newest = await system.create(thread_id, multitask_strategy=ROLLBACK)
    assert (await executor.expect("cancel")).action == runs_pb2.CANCEL_ACTION_ROLLBACK
    await executor.finish(assignment, result=CANCELLED)
    following = await executor.assignment()
    assert following.fence.run_id == newest.run_id
    for gone in (first, waiting):
        with pytest.raises(grpc.aio.AioRpcError) as missing:
            await system.run_state(gone.run_id)
        assert reason_of(missing.value) == "RUN_NOT_FOUND"
    await executor.finish(following, values_json=b"{}")
    assert await system.thread_state(thread_id) == "idle"


@pytest.mark.parametrize("strategy", [INTERRUPT, ROLLBACK])
async def test_many_superseding_creates_at_once_leave_one(system, strategy):
    executor = await system.executor().attach()
    thread_id = await system.thread()
    runs = await asyncio.gather(*(system.create(thread_id, multitask_strategy=strategy) for _ in range(10)))
    ended = set()

    async def serve():
        while True:
            while not (message := await executor.inbox.get()).HasField("assignment"):
                pass
            assignment = message.assignment
            ended.add(assignment.fence.run_id)
            # Each create tells the executor to stop what is active; it ignores what concerns a run that is over.
            while (await executor.inbox.get()).cancel.fence != assignment.fence:
                pass
            await executor.finish(assignment, result=CANCELLED)

    server = asyncio.create_task(serve())
    expected = str(await system.sql.fetchval("SELECT run_id FROM runs.run ORDER BY created_at DESC, seq DESC LIMIT 1"))

    async def survivor_runs():
        assert not server.done()
        return await system.sql.fetchval(
            "SELECT count(*) = 1 AND bool_and(run_id = $1 AND status = 'running') FROM runs.run"
            " WHERE status IN ('pending', 'running')",
            expected,
        )

    await until(survivor_runs)
    server.cancel()
    assert expected in {run.run_id for run in runs}
    assert await system.thread_state(thread_id) == "busy"


@pytest.mark.parametrize("delay_seconds", [0.0, 0.002, 0.004, 0.006, 0.008, 0.012])
async def test_a_strategy_is_carried_out_even_if_its_caller_leaves(system, executor, delay_seconds):
    thread_id = await system.thread()
    first = await system.create(thread_id)
    await executor.assignment()
    call = system.runs.CreateRun(system.request(thread_id, multitask_strategy=INTERRUPT))
    await asyncio.sleep(delay_seconds)  # the moment is what is varied
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)

    async def settled():
        """Either nothing was created, or the older run has been told to stop."""
        runs = await system.sql.fetch("SELECT run_id, cancel_action FROM runs.run WHERE thread_id = $1", thread_id)
        stopped = {str(row["run_id"]): row["cancel_action"] for row in runs}
        return len(stopped) == 1 or stopped[first.run_id] == "interrupt"

    await asyncio.sleep(0.1)  # in which a create that goes on is done
    await until(settled, 5)
