"""Leases: who owns a run when executors fall silent, come back, drain, or hand runs back."""

import asyncio

import grpc
import orjson
import pytest
from eventually import until
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.runs.v1 import executors_pb2, runs_pb2
from threadmill_protos.threads.v1 import threads_pb2

Outcome = executors_pb2.Outcome


async def beating(executor, *fences):
    while True:
        await executor.heartbeat(*fences)
        await asyncio.sleep(0.1)


async def test_welcome_names_the_intervals(hasty):
    executor = await hasty.executor().attach()
    assert executor.welcome.lease_seconds == 0.8
    assert executor.welcome.heartbeat_seconds == 0.2
    assert executor.welcome.run_timeout_seconds == 86_400


async def test_heartbeats_keep_a_lease(hasty):
    executor = await hasty.executor().attach()
    run = await hasty.create(await hasty.thread())
    assignment = await executor.assignment()
    beat = asyncio.create_task(beating(executor, assignment.fence))
    with pytest.raises(TimeoutError):
        await executor.expect("lease_lost", seconds=1.6)
    assert await hasty.sql.fetchval("SELECT attempt FROM runs.run WHERE run_id = $1", run.run_id) == 1
    await executor.finish(assignment, values_json=b"{}")
    beat.cancel()


async def test_a_silent_executor_loses_its_run_to_another(hasty):
    silent = await hasty.executor(slots=1).attach()
    thread_id = await hasty.thread()
    call = hasty.runs.StreamRun(runs_pb2.StreamRunRequest(create=hasty.request(thread_id)))
    run = (await call.read()).run
    first = await silent.assignment()
    async with silent.reporting(first) as late_report:
        await late_report.send(("values", {"n": 1}))
        other = await hasty.executor().attach()
        second = await other.assignment()
        assert (second.fence.run_id, second.attempt, second.resuming) == (run.run_id, 2, True)
        assert second.fence.token > first.fence.token
        assert second.timeout_seconds < first.timeout_seconds

        with pytest.raises(grpc.aio.AioRpcError) as fenced:
            await late_report.send(("values", {"n": "too late"}))
        assert reason_of(fenced.value) == "FENCED"
    async with silent.reporting(first) as late_report:
        await late_report.send_outcome(Outcome(result=Outcome.RESULT_SUCCESS, values_json=b'{"too":"late"}'))
        with pytest.raises(grpc.aio.AioRpcError) as fenced:
            await late_report.outcome_acked()
        assert reason_of(fenced.value) == "FENCED"
    await silent.heartbeat(first.fence)
    assert (await silent.expect("lease_lost")) == first.fence

    beat = asyncio.create_task(beating(other, second.fence))
    await other.finish(second, ("values", {"n": 2}), values_json=b'{"n":2}')
    beat.cancel()
    assert await hasty.collect(call) == [
        ("metadata", {"run_id": run.run_id, "attempt": 1}),
        ("values", {"n": 1}),
        ("metadata", {"run_id": run.run_id, "attempt": 2}),
        ("values", {"n": 2}),
    ]
    thread = await hasty.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=thread_id))
    assert thread.values_json == b'{"n":2}'


async def test_used_up_attempts_end_run_and_thread_in_error(start_system):
    system = await start_system(lease_seconds=0.4, heartbeat_seconds=0.1, detach_grace_seconds=0.2, max_attempts=2)
    executor = await system.executor().attach()
    thread_id = await system.thread()
    stream = system.runs.StreamRun(runs_pb2.StreamRunRequest(create=system.request(thread_id)))
    run = (await stream.read()).run
    waiting = system.wait(run.run_id)
    await waiting.read()
    for attempt in (1, 2):
        assignment = await executor.assignment()
        assert assignment.attempt == attempt
        async with executor.reporting(assignment) as report:
            await report.send(("values", {"attempt": attempt}))
    outcome = (await waiting.read()).outcome
    assert outcome.state == runs_pb2.RUN_STATE_ERROR
    error = orjson.loads(outcome.body_json)["__error__"]
    assert error["error"] == "RunLost"
    assert "2 times" in error["message"]
    assert (await system.collect(stream))[-1] == ("error", error)
    assert await system.run_state(run.run_id) == "error"
    thread = await system.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=thread_id))
    assert thread.state == threads_pb2.THREAD_STATE_ERROR
    assert orjson.loads(thread.error_json) == error


async def test_detached_executor_keeps_its_run_if_it_comes_back_in_time(start_system):
    system = await start_system(lease_seconds=60, heartbeat_seconds=0.5, detach_grace_seconds=5)
    executor = await system.executor(executor_id="wanderer").attach()
    run = await system.create(await system.thread())
    assignment = await executor.assignment()
    await executor.detach()
    lease = "SELECT extract(epoch FROM lease_expires_at - now())::float FROM runs.run"

    async def shortened():
        return await system.sql.fetchval(lease) < 6

    await until(shortened)
    back = await system.executor(executor_id="wanderer").attach(assignment.fence)
    assert await system.sql.fetchval(lease) > 30
    await back.finish(assignment, values_json=b"{}")
    assert await system.run_state(run.run_id) == "success"
    assert back.inbox.empty()


async def test_detached_executor_loses_its_run_after_the_grace_period(start_system):
    system = await start_system(lease_seconds=60, heartbeat_seconds=1, detach_grace_seconds=0.3)
    executor = await system.executor(executor_id="wanderer").attach()
    await system.create(await system.thread())
    assignment = await executor.assignment()
    await executor.detach()
    other = await system.executor().attach()
    again = await other.assignment()
    assert (again.fence.run_id, again.attempt) == (assignment.fence.run_id, 2)
    back = await system.executor(executor_id="wanderer").attach(assignment.fence)
    assert await back.expect("lease_lost") == assignment.fence


async def test_an_assignment_that_never_arrived_is_found_when_the_executor_attaches_again(start_system):
    system = await start_system(lease_seconds=60, heartbeat_seconds=1, detach_grace_seconds=0.3)
    executor = await system.executor(executor_id="wanderer").attach()
    run = await system.create(await system.thread())
    await executor.assignment()
    # The old stream still looks alive to the server when the new one says hello, without the run.
    back = await system.executor(executor_id="wanderer").attach()
    assert (await back.assignment()).fence.run_id == run.run_id


async def test_a_released_run_costs_no_attempt_and_resumes_elsewhere(system):
    draining = await system.executor(slots=1).attach()
    run = await system.create(await system.thread())
    first = await draining.assignment()
    await draining.heartbeat(first.fence, _fence(), draining=True)
    await draining.expect("lease_lost")  # so the heartbeat has been processed
    async with draining.reporting(first) as report:
        await report.send(("values", {"n": 1}))
        await report.send_outcome(Outcome(result=Outcome.RESULT_RELEASED))
        assert await report.outcome_acked()
    await draining.released(first.fence)
    assert await system.run_state(run.run_id) == "pending"
    assert await system.thread_state(run.thread_id) == "busy"
    other = await system.executor().attach()
    second = await other.assignment()
    assert (second.fence.run_id, second.attempt, second.resuming) == (run.run_id, 1, True)
    assert second.fence.token > first.fence.token
    assert draining.inbox.empty()
    await other.finish(second, values_json=b"{}")


async def test_a_run_cancelled_while_it_is_handed_back_ends(system):
    executor = await system.executor().attach()
    run = await system.create(await system.thread())
    assignment = await executor.assignment()
    await system.runs.CancelRuns(runs_pb2.CancelRunsRequest(run_ids=[run.run_id]))
    await executor.finish(assignment, result=Outcome.RESULT_RELEASED)
    assert await system.run_state(run.run_id) == "interrupted"
    assert await system.thread_state(run.thread_id) == "interrupted"


async def test_a_draining_executor_gets_no_more_runs(system):
    draining = await system.executor().attach()
    await draining.heartbeat(draining=True)
    # The heartbeat is processed once a second one, for a run that does not exist, is answered.
    await draining.heartbeat(_fence(), draining=True)
    await draining.expect("lease_lost")
    await system.create(await system.thread())
    other = await system.executor().attach()
    await other.assignment()
    assert draining.inbox.empty()


def _fence():
    return executors_pb2.AttachResponse.Assignment(
        fence={"run_id": "01d1f6ea-0000-4000-8000-000000000000", "token": 1}
    ).fence


async def test_slots_and_graphs_limit_what_an_executor_gets(system):
    narrow = await system.executor("chat", slots=2).attach()
    runs = [await system.create(await system.thread(), assistant_id="chat") for _ in range(3)]
    got = [await narrow.assignment(), await narrow.assignment()]
    wide = await system.executor("echo", slots=5).attach()
    echo = await system.create(await system.thread())
    assert (await wide.assignment()).fence.run_id == echo.run_id
    assert narrow.inbox.empty()
    assert wide.inbox.empty()
    await narrow.finish(got[0], values_json=b"{}")
    assert (await narrow.assignment()).fence.run_id == runs[2].run_id


async def test_a_reattached_executor_takes_over_its_older_stream(system):
    first = await system.executor(executor_id="twin").attach()
    second = await system.executor(executor_id="twin").attach()
    run = await system.create(await system.thread())
    assert (await second.assignment()).fence.run_id == run.run_id
    await asyncio.wait_for(first._reader, 5)
    assert first.inbox.empty()


async def test_two_replicas_share_the_queue(system):
    channel = await system.start_replica()
    from threadmill_protos.runs.v1 import executors_pb2_grpc

    here = await system.executor(slots=20).attach()
    there = await system.executor(slots=20, stub=executors_pb2_grpc.ExecutorsStub(channel)).attach()
    threads = [await system.thread() for _ in range(4)]
    runs = await asyncio.gather(*(system.create(threads[n % 4]) for n in range(24)))
    seen = []

    async def serve(executor):
        while True:
            assignment = await executor.assignment(seconds=60)
            seen.append(assignment.fence.run_id)
            await executor.finish(assignment, values_json=b"{}")

    servers = [asyncio.create_task(serve(executor)) for executor in (here, there)]

    async def all_ended():
        assert not any(server.done() for server in servers), servers
        return await system.sql.fetchval("SELECT count(*) = 24 FROM runs.run WHERE status = 'success'")

    await until(all_ended)
    for server in servers:
        server.cancel()
    assert sorted(seen) == sorted(run.run_id for run in runs), "each run once"
