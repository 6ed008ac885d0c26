"""Creates that are repeated, at any moment of the run's life, and assistants that change between two runs."""

import asyncio

import grpc
import orjson
import pytest
from eventually import until
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import assistants_pb2, assistants_pb2_grpc, runs_pb2
from threadmill_protos.threads.v1 import threads_pb2


@pytest.fixture
async def unreconciled(start_system):
    return await start_system(reconcile_seconds=3600.0)


@pytest.fixture
async def executor(unreconciled):
    return await unreconciled.executor().attach()


async def settle(system, assignment):
    resting = threads_pb2.RestingState(state=threads_pb2.THREAD_STATE_IDLE)
    await system.threads.EndRun(
        threads_pb2.EndRunRequest(thread_id=assignment.thread_id, fence=assignment.fence, resting=resting)
    )


async def is_idle(system, thread_id):
    return await system.thread_state(thread_id) == "idle"


async def test_after_the_end(unreconciled, executor):
    request = unreconciled.request(await unreconciled.thread())
    await unreconciled.runs.CreateRun(request)
    await executor.finish(await executor.assignment(), values_json=b"{}")
    again = await unreconciled.runs.CreateRun(request)
    assert (again.run_id, again.state) == (request.run_id, runs_pb2.RUN_STATE_SUCCESS)
    assert await is_idle(unreconciled, request.thread_id)
    assert executor.inbox.empty()


async def test_between_the_settling_of_the_thread_and_the_end(unreconciled, executor):
    request = unreconciled.request(await unreconciled.thread())
    await unreconciled.runs.CreateRun(request)
    assignment = await executor.assignment()
    await settle(unreconciled, assignment)
    assert (await unreconciled.runs.CreateRun(request)).state == runs_pb2.RUN_STATE_RUNNING
    await executor.finish(assignment, thread_settled=True)
    await until(lambda: is_idle(unreconciled, request.thread_id), seconds=10)


async def test_while_it_runs(unreconciled, executor):
    request = unreconciled.request(await unreconciled.thread())
    await unreconciled.runs.CreateRun(request)
    assignment = await executor.assignment()
    assert (await unreconciled.runs.CreateRun(request)).attempt == 1
    await asyncio.sleep(1)  # longer than it takes to look whether the run has ended
    assert await unreconciled.thread_state(request.thread_id) == "busy"
    await executor.finish(assignment, values_json=b"{}")


async def test_many_at_once(unreconciled, executor):
    request = unreconciled.request(await unreconciled.thread())
    runs = await asyncio.gather(*(unreconciled.runs.CreateRun(request) for _ in range(10)))
    assert {run.run_id for run in runs} == {request.run_id}
    await executor.finish(await executor.assignment(), values_json=b"{}")
    await until(lambda: is_idle(unreconciled, request.thread_id), seconds=10)
    assert executor.inbox.empty()


async def test_streams_show_the_run_from_its_beginning(unreconciled, executor):
    request = unreconciled.request(await unreconciled.thread())
    await unreconciled.runs.CreateRun(request)
    assignment = await executor.assignment()
    async with executor.reporting(assignment) as report:
        await report.send(("values", {"n": 1}))
    call = unreconciled.runs.StreamRun(runs_pb2.StreamRunRequest(create=request))
    await call.read()
    await executor.finish(assignment, ("values", {"n": 2}), first_seq=2, values_json=b"{}")
    assert [data for name, data in await unreconciled.collect(call) if name == "values"] == [{"n": 1}, {"n": 2}]


async def assistant(system, **fields):
    return await system.assistants.CreateAssistant(
        assistants_pb2.CreateAssistantRequest(graph_id="echo", name="mine", **fields)
    )


async def test_after_the_assistant_was_deleted(unreconciled, executor):
    mine = await assistant(unreconciled)
    request = unreconciled.request(await unreconciled.thread(), assistant_id=mine.assistant_id)
    await unreconciled.runs.CreateRun(request)
    await unreconciled.assistants.DeleteAssistant(assistants_pb2.DeleteAssistantRequest(assistant_id=mine.assistant_id))
    assert (await unreconciled.runs.CreateRun(request)).run_id == request.run_id


def configured(value):
    return orjson.dumps({"configurable": {"model": value}})


@pytest.mark.parametrize("kept", [True, False], ids=["on a thread", "temporary"])
async def test_a_run_has_the_newest_version_of_its_assistant(unreconciled, executor, kept):
    """Also when another replica has changed it."""
    stub = assistants_pb2_grpc.AssistantsStub(await unreconciled.start_replica())
    mine = await assistant(unreconciled, config_json=configured("old"))
    for value in ("old", "new"):
        if value == "new":
            await stub.UpdateAssistant(
                assistants_pb2.UpdateAssistantRequest(assistant_id=mine.assistant_id, config_json=configured("new"))
            )
        thread_id = await unreconciled.thread() if kept else ""
        await unreconciled.create(thread_id, assistant_id=mine.assistant_id)
        assignment = await executor.assignment()
        assert orjson.loads(assignment.kwargs_json)["config"]["configurable"]["model"] == value
        await executor.finish(assignment, values_json=b"{}")


@pytest.mark.parametrize("kept", [True, False], ids=["on a thread", "temporary"])
async def test_a_deleted_assistant_runs_no_more_and_leaves_no_thread_busy(unreconciled, executor, kept):
    stub = assistants_pb2_grpc.AssistantsStub(await unreconciled.start_replica())
    mine = await assistant(unreconciled)
    thread_id = await unreconciled.thread() if kept else ""
    await unreconciled.create(thread_id, assistant_id=mine.assistant_id)
    await executor.finish(await executor.assignment(), values_json=b"{}")
    await stub.DeleteAssistant(assistants_pb2.DeleteAssistantRequest(assistant_id=mine.assistant_id))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await unreconciled.create(thread_id, assistant_id=mine.assistant_id)
    assert reason_of(refused.value) == "ASSISTANT_NOT_FOUND"
    busy = await unreconciled.threads_sql.fetchval("SELECT count(*) FROM threads.thread WHERE status = 'busy'")
    assert busy == 0
    assert await unreconciled.sql.fetchval("SELECT count(*) FROM runs.temporary_run") == (0 if kept else 1)
