"""A run from its creation to its end: what is written, in which order, and what a repeated or late call finds."""

import asyncio

import grpc
import orjson
import pytest
from eventually import until
from threadmill_chassis.grpc_errors import reason_of
from threadmill_chassis.ids import new_id
from threadmill_protos.runs.v1 import executors_pb2, runs_pb2
from threadmill_protos.threads.v1 import threads_pb2

Outcome = executors_pb2.Outcome


async def test_create_assign_events_outcome(system):
    executor = await system.executor("echo").attach()
    thread_id = await system.thread()
    request = system.request(
        thread_id, input_json=b'{"n":1}', stream_modes=["values", "updates"], request_id="request-1"
    )
    call = system.runs.StreamRun(runs_pb2.StreamRunRequest(create=request))
    run = (await call.read()).run
    assert (run.run_id, run.thread_id, run.state) == (request.run_id, thread_id, runs_pb2.RUN_STATE_PENDING)

    assignment = await executor.assignment()
    assert (assignment.fence.run_id, assignment.thread_id) == (run.run_id, thread_id)
    assert (assignment.attempt, assignment.graph_id, assignment.request_id) == (1, "echo", "request-1")
    assert not assignment.resuming
    assert not assignment.stateless
    assert orjson.loads(assignment.kwargs_json)["input"] == {"n": 1}
    assert await system.run_state(run.run_id) == "running"
    assert await system.thread_state(thread_id) == "busy"

    await executor.finish(
        assignment, ("values", {"n": 2}), ("updates", {"node": {"n": 2}}), values_json=b'{"n":2}', interrupts_json=b"{}"
    )
    assert await system.collect(call) == [
        ("metadata", {"run_id": run.run_id, "attempt": 1}),
        ("values", {"n": 2}),
        ("updates", {"node": {"n": 2}}),
    ]
    assert await system.run_state(run.run_id) == "success"
    thread = await system.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=thread_id))
    assert thread.state == threads_pb2.THREAD_STATE_IDLE
    assert orjson.loads(thread.values_json) == {"n": 2}
    assert orjson.loads(thread.metadata_json)["graph_id"] == "echo"


async def finishing(system):
    """An attempt whose outcome is on its way, while its stream is open."""
    executor = await system.executor().attach()
    thread_id = await system.thread()
    call = system.runs.StreamRun(runs_pb2.StreamRunRequest(create=system.request(thread_id)))
    run = (await call.read()).run
    stream = asyncio.create_task(system.collect(call))
    assignment = await executor.assignment()
    return thread_id, run.run_id, stream, lambda: asyncio.create_task(executor.finish(assignment, values_json=b"{}"))


async def blocked_on_lock(sql):
    async def waiting():
        return await sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted") > 0

    await until(waiting)


async def test_thread_is_settled_before_the_run_ends(system):
    thread_id, run_id, stream, finish = await finishing(system)
    async with system.threads_sql.transaction():
        await system.threads_sql.execute("SELECT FROM threads.thread WHERE thread_id = $1 FOR UPDATE", thread_id)
        done = finish()
        await blocked_on_lock(system.sql)
        assert await system.run_state(run_id) == "running"
        assert not stream.done()
    await done
    await stream
    assert await system.run_state(run_id) == "success"


async def test_run_ends_before_its_stream_does(system):
    thread_id, run_id, stream, finish = await finishing(system)
    async with system.sql.transaction():
        await system.sql.execute("SELECT FROM runs.run WHERE run_id = $1 FOR UPDATE", run_id)
        done = finish()
        await blocked_on_lock(system.threads_sql)
        assert await system.thread_state(thread_id) == "idle"
        assert await system.run_state(run_id) == "running"
        assert not stream.done()
    await done
    await stream
    assert await system.run_state(run_id) == "success"


async def test_wait_answers_run_then_outcome(system):
    executor = await system.executor().attach()
    call = system.runs.WaitRun(runs_pb2.WaitRunRequest(create=system.request(await system.thread())))
    run = (await call.read()).run
    await executor.finish(await executor.assignment(), ("values", {"a": 1}), ("values", {"a": 2}), values_json=b"{}")
    outcome = (await call.read()).outcome
    assert (outcome.state, outcome.body_json) == (runs_pb2.RUN_STATE_SUCCESS, b'{"a":2}')
    assert await call.read() is grpc.aio.EOF

    late = system.wait(run.run_id)
    assert (await late.read()).run.state == runs_pb2.RUN_STATE_SUCCESS
    assert (await late.read()).outcome.body_json == b"{}", "a join of an ended run answers with the thread's values"


@pytest.mark.parametrize(
    ("fields", "events", "state", "body"),
    [
        (
            {"has_next": True, "interrupts_json": b'{"t":[{"id":"i","value":1}]}', "values_json": b'{"x":1}'},
            [("values", {"x": 1, "__interrupt__": [{"value": 1, "id": "i", "response_schema": None}]})],
            "interrupted",
            {"x": 1, "__interrupt__": [{"value": 1, "id": "i", "response_schema": None}]},
        ),
        (
            {
                "has_next": True,
                "interrupts_json": b'{"t":[{"id":"i","value":1}],"u":[{"id":"j","value":2}]}',
                "values_json": b"{}",
                "several_interrupts_json": b'[{"value":1,"id":"i"},{"value":2,"id":"j"}]',
            },
            [("values", {"__interrupt__": [{"value": 1, "id": "i"}]})],
            "interrupted",
            {"__interrupt__": [{"value": 1, "id": "i"}, {"value": 2, "id": "j"}]},
        ),
        (
            {"result": Outcome.RESULT_ERROR, "error_json": b'{"error":"ValueError","message":"bad"}'},
            [("values", {"x": 1}), ("error", {"error": "ValueError", "message": "bad"})],
            "error",
            {"__error__": {"error": "ValueError", "message": "bad"}},
        ),
        ({"values_json": b'{"x":3}'}, [("updates", {"node": None})], "idle", {"x": 3}),
        (
            {"result": Outcome.RESULT_TIMEOUT, "error_json": b'{"error":"TimeoutError","message":""}'},
            [("values", {"x": 4})],
            "error",
            {"x": 4},
        ),
    ],
    ids=["interrupt", "several interrupts", "error", "no values streamed", "timeout"],
)
async def test_outcomes(system, fields, events, state, body):
    executor = await system.executor().attach()
    thread_id = await system.thread()
    call = system.runs.WaitRun(runs_pb2.WaitRunRequest(create=system.request(thread_id)))
    await call.read()
    await executor.finish(await executor.assignment(), *events, **fields)
    assert orjson.loads((await call.read()).outcome.body_json) == body
    assert await system.thread_state(thread_id) == state


async def test_create_again_answers_the_same_run(system):
    executor = await system.executor(slots=1).attach()
    request = system.request(await system.thread(), metadata_json=b'{"a":1}')
    first = await system.runs.CreateRun(request)
    assert (await system.runs.CreateRun(request)).run_id == first.run_id
    await executor.finish(await executor.assignment(), values_json=b"{}")
    again = await system.runs.CreateRun(request)
    assert (again.run_id, again.state) == (first.run_id, runs_pb2.RUN_STATE_SUCCESS)
    assert await system.thread_state(request.thread_id) == "idle", "a late repetition leaves the thread as it is"
    assert await system.sql.fetchval("SELECT count(*) FROM runs.run") == 1


@pytest.mark.parametrize("strategy", ["REJECT", "INTERRUPT", "ROLLBACK"])
async def test_create_again_spares_later_runs(system, strategy):
    executor = await system.executor().attach()
    chosen = runs_pb2.MultitaskStrategy.Value(f"MULTITASK_STRATEGY_{strategy}")
    request = system.request(await system.thread(), multitask_strategy=chosen)
    first = await system.runs.CreateRun(request)
    later = await system.create(request.thread_id)
    assert (await system.runs.CreateRun(request)).run_id == first.run_id
    await executor.finish(await executor.assignment(), values_json=b"{}")
    assert (await executor.assignment()).fence.run_id == later.run_id


async def test_fifty_creates_at_once_run_one_after_the_other(system):
    executor = await system.executor(slots=4).attach()
    thread_id = await system.thread()
    runs = await asyncio.gather(*(system.create(thread_id) for _ in range(50)))
    expected = [
        str(row["run_id"]) for row in await system.sql.fetch("SELECT run_id FROM runs.run ORDER BY created_at, seq")
    ]
    order = []
    for _ in runs:
        assignment = await executor.assignment()
        assert executor.inbox.empty(), "no two runs of a thread at once"
        order.append(assignment.fence.run_id)
        await executor.finish(assignment, values_json=b"{}")
    # Of creates that overlap, the one that found the thread idle is the first; the others go as they were written down.
    assert order == [order[0], *(run_id for run_id in expected if run_id != order[0])]
    assert {await system.run_state(run.run_id) for run in runs} == {"success"}
    assert await system.thread_state(thread_id) == "idle"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"assistant_id": "nope"}, "INVALID_ASSISTANT"),
        ({"assistant_id": "01d1f6ea-0000-4000-8000-000000000000"}, "ASSISTANT_NOT_FOUND"),
        ({"thread_id": "01d1f6ea-0000-4000-8000-000000000000"}, "THREAD_NOT_FOUND"),
        ({"config_json": b'{"configurable":{"a":1}}', "context_json": b'{"b":1}'}, "INVALID_ARGUMENT"),
        ({"metadata_json": b'{"a":"\\u0000"}'}, "INVALID_ARGUMENT"),
    ],
)
async def test_refusals_leave_the_thread_idle(system, fields, reason):
    await system.executor().attach()
    thread_id = await system.thread()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await system.create(**{"thread_id": thread_id, **fields})
    assert reason_of(refused.value) == reason
    assert await system.thread_state(thread_id) == "idle"
    with pytest.raises(grpc.aio.AioRpcError):
        await system.runs.StreamRun(
            runs_pb2.StreamRunRequest(create=system.request(**{"thread_id": thread_id, **fields}))
        ).read()


async def test_unknown_runs(system):
    ref = runs_pb2.RunRef(run_id=new_id())
    for call in (
        system.runs.GetRun(runs_pb2.GetRunRequest(run=ref)),
        system.runs.DeleteRun(runs_pb2.DeleteRunRequest(run=ref)),
        system.runs.CancelRuns(runs_pb2.CancelRunsRequest(run_ids=[ref.run_id])),
        system.stream(ref.run_id).read(),
        system.wait(ref.run_id).read(),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert reason_of(refused.value) == "RUN_NOT_FOUND"


async def test_a_missing_thread_is_made_on_demand(system):
    await system.executor().attach()
    run = await system.create(new_id(), create_thread_if_missing=True, metadata_json=b'{"k":1}')
    assert await system.thread_state(run.thread_id) == "busy"
    metadata = orjson.loads(run.metadata_json)
    assert metadata["k"] == 1
    assert metadata["graph_id"] == "echo"


async def test_after_seconds_delays_and_negative_ones_jump_the_queue(system):
    executor = await system.executor(slots=1).attach()
    thread_id = await system.thread()
    delayed = await system.create(thread_id, after_seconds=0.8)
    now = await system.create(thread_id)
    backdated = await system.create(await system.thread(), after_seconds=-60)
    first = await executor.assignment()
    assert first.fence.run_id == now.run_id
    assert delayed.create_time.ToDatetime() > now.create_time.ToDatetime() > backdated.create_time.ToDatetime()
    await executor.finish(first, values_json=b"{}")
    second = await executor.assignment()
    assert second.fence.run_id == backdated.run_id
    await executor.finish(second, values_json=b"{}")
    third = await executor.assignment()
    assert third.fence.run_id == delayed.run_id
    assert await system.sql.fetchval("SELECT created_at <= started_at FROM runs.run WHERE run_id = $1", delayed.run_id)


@pytest.mark.parametrize("keep", [False, True])
async def test_stateless_runs_vanish_unless_kept(system, keep):
    executor = await system.executor().attach()
    call = system.runs.WaitRun(runs_pb2.WaitRunRequest(create=system.request(keep_on_completion=keep)))
    run = (await call.read()).run
    assignment = await executor.assignment()
    assert assignment.stateless is not keep
    assert "graph_id" not in orjson.loads(run.metadata_json)
    assert await system.thread_state(run.thread_id) == "busy"
    await executor.finish(assignment, ("values", {"a": 1}), values_json=b'{"a":1}')
    assert (await call.read()).outcome.body_json == b'{"a":1}'
    if keep:
        assert await system.thread_state(run.thread_id) == "idle"
        assert await system.run_state(run.run_id) == "success"
        return
    with pytest.raises(grpc.aio.AioRpcError) as gone:
        await system.thread_state(run.thread_id)
    assert reason_of(gone.value) == "THREAD_NOT_FOUND"


async def test_a_stateless_run_without_an_id_can_be_streamed(system):
    executor = await system.executor().attach()
    call = system.runs.StreamRun(runs_pb2.StreamRunRequest(create=system.request(run_id="")))
    run = (await call.read()).run
    await executor.finish(await executor.assignment(), ("values", {"a": 1}))
    assert await system.collect(call) == [("metadata", {"run_id": run.run_id, "attempt": 1}), ("values", {"a": 1})]


async def test_listing_is_newest_first_and_pages(system):
    executor = await system.executor(slots=1).attach()
    thread_id = await system.thread()
    created = [(await system.create(thread_id, metadata_json=b'{"n":%d}' % n)).run_id for n in range(4)]
    await system.create(await system.thread())
    await executor.finish(await executor.assignment(), values_json=b"{}")
    await executor.assignment()

    async def listed(**fields):
        answer = await system.runs.ListRuns(runs_pb2.ListRunsRequest(**fields))
        return [run.run_id for run in answer.runs]

    assert await listed(thread_id=thread_id) == created[::-1]
    assert await listed(thread_id=thread_id, limit=2, offset=1) == [created[2], created[1]]
    assert await listed(thread_id=thread_id, state=runs_pb2.RUN_STATE_SUCCESS) == [created[0]]
    assert await listed(metadata_json=b'{"n":2}') == [created[2]]
    assert len(await listed(assistant_id="echo")) == 5


async def test_queue_stats(system):
    executor = await system.executor(slots=2).attach()
    thread_id = await system.thread()
    for _ in range(3):
        await system.create(thread_id)
    await executor.assignment()
    stats = await system.runs.GetQueueStats(runs_pb2.GetQueueStatsRequest())
    assert (stats.pending_count, stats.running_count) == (2, 1)
    assert (stats.worker_max_count, stats.worker_active_count) == (2, 1)
    assert stats.pending_wait_max_seconds >= stats.pending_wait_median_seconds > 0
    assert stats.unblocked_wait_max_seconds == 0
