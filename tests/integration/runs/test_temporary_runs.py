"""Runs that leave nothing behind: nothing is left whoever dies, and none is executed twice."""

import grpc
import pytest
from eventually import until
from threadmill_chassis.grpc_errors import reason_of
from threadmill_chassis.ids import new_id
from threadmill_protos.threads.v1 import threads_pb2


async def threads_left(system):
    return await system.threads_sql.fetchval("SELECT count(*) FROM threads.thread")


async def test_a_create_that_is_repeated_after_the_end_does_not_run_again(system):
    executor = await system.executor().attach()
    request = system.request()
    await system.runs.CreateRun(request)
    await executor.finish(await executor.assignment(), values_json=b"{}")
    with pytest.raises(grpc.aio.AioRpcError) as over:
        await system.runs.CreateRun(request)
    assert reason_of(over.value) == "RUN_NOT_FOUND"
    assert await threads_left(system) == 0
    with pytest.raises(TimeoutError):
        await executor.assignment(seconds=0.3)


async def test_a_create_that_is_repeated_before_the_end_answers_the_same_run(system):
    await (await system.executor().attach()).detach()
    request = system.request()
    first = await system.runs.CreateRun(request)
    assert (await system.runs.CreateRun(request)).thread_id == first.thread_id == request.run_id


async def test_a_kept_thread_is_found_again_and_is_not_taken_for_a_temporary_one(system):
    executor = await system.executor().attach()
    request = system.request(keep_on_completion=True)
    first = await system.runs.CreateRun(request)
    assert first.thread_id != first.run_id
    await executor.finish(await executor.assignment(), values_json=b"{}")
    assert (await system.runs.CreateRun(request)).thread_id == first.thread_id
    assert await threads_left(system) == 1


async def test_the_thread_of_a_run_that_was_never_inserted_goes(start_system):
    system = await start_system(reconcile_seconds=0.2)
    run_id = new_id()
    await system.threads.BeginRun(threads_pb2.BeginRunRequest(thread_id=run_id, run_id=run_id, create_if_missing=True))

    async def gone():
        return await threads_left(system) == 0

    await until(gone)


@pytest.mark.parametrize("stateless", [True, False])
async def test_a_cancel_whose_replica_died_is_carried_out(start_system, stateless):
    """Row changed, nothing else done: thread, row and stream are the reconciler's."""
    system = await start_system(reconcile_seconds=0.2)
    await (await system.executor().attach()).detach()
    run = await system.create("" if stateless else await system.thread())
    await system.sql.execute(
        "UPDATE runs.run SET status = 'interrupted', ended_at = now() - interval '1 min', cancel_action = $1",
        "interrupt" if stateless else "rollback",
    )

    async def done():
        rows = await system.sql.fetchval("SELECT count(*) FROM runs.run")
        return rows == 0 and await threads_left(system) == (0 if stateless else 1)

    await until(done)
    if not stateless:
        assert await system.thread_state(run.thread_id) == "idle"
