"""How an attempt ends when its checkpoints are still on their way: nothing is reported that is not stored."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.runs.v1 import executors_pb2
from threadmill_protos.threads.v1 import threads_pb2
from threadmill_runs.executor.checkpoints import write_queue
from threadmill_runs.executor.checkpoints.saver import GrpcSaver
from threadmill_runs.executor.encoding import encode
from threadmill_runs.executor.loops import UserLoops
from threadmill_runs.executor.running import attempt as module
from threadmill_runs.executor.running.attempt import Attempt, Stop
from threadmill_runs.executor.running.outbox import Outbox

Outcome = executors_pb2.Outcome


class Gate:
    """A checkpoints stub on whose writes a test may keep a hand."""

    def __init__(self, stub: Any) -> None:
        self._stub = stub
        self.open = asyncio.Event()
        self.open.set()
        self.came = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stub, name)

    async def WriteCheckpoints(self, request: Any, **options: Any) -> Any:  # noqa: N802 - the stub's name
        self.came.set()
        await self.open.wait()
        return await self._stub.WriteCheckpoints(request, **options)


class Script:
    """An execution whose graph writes checkpoints by a script."""

    def __init__(self, assignment: Any, saver: GrpcSaver, body: Callable[["Script"], Any]) -> None:
        self.assignment = assignment
        self.saver = saver
        self.outbox = Outbox(asyncio.get_running_loop())
        self._body = body

    async def run(self) -> Outcome:
        return await self._body(self)

    async def write(self, checkpoint_id: str) -> None:
        checkpoint: Any = {**empty_checkpoint(), "id": checkpoint_id}
        await self.saver.aput(self.config(), checkpoint, {}, {})

    def config(self) -> Any:
        return {"configurable": {"thread_id": self.assignment.thread_id, "checkpoint_ns": ""}}

    def with_saver(self, saver: GrpcSaver) -> "Script":
        return Script(self.assignment, saver, self._body)

    async def rest(self, result: Any) -> Outcome:
        found = await self.saver.aget_tuple(self.config())
        return Outcome(result=result, values_json=encode({"at": found and found.checkpoint["id"]}))


class Report:
    """Keeps the outcome."""

    outcome: Outcome | None = None

    def __init__(self) -> None:
        self._finished = asyncio.Event()

    def finish(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._finished.set()

    async def run(self) -> None:
        await self._finished.wait()


@pytest.fixture
async def started(threads_service: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`await started(body)` → an attempt under way, with its report and what stands before threads."""
    monkeypatch.setattr(write_queue, "LINGER_SECONDS", 60)
    monkeypatch.setattr(module, "STOP_GRACE_SECONDS", 0.5)
    loops = UserLoops()

    async def start(body: Any) -> Any:
        thread_id, run_id = str(uuid4()), str(uuid4())
        request = threads_pb2.BeginRunRequest(thread_id=thread_id, run_id=run_id, create_if_missing=True)
        await threads_service.threads.BeginRun(request)
        fence = common_pb2.Fence(run_id=run_id, token=1)
        assignment = executors_pb2.AttachResponse.Assignment(
            fence=fence, thread_id=thread_id, graph_id="g", assistant_id="a", timeout_seconds=60
        )
        gate, control = Gate(threads_service.checkpoints), threads_service.control_loop
        saver = GrpcSaver(gate, control, fence=fence, thread_id=thread_id, waits=False)
        report: Any = Report()
        execution: Any = Script(assignment, saver, body)
        attempt = Attempt(execution, report, loops, saver, lambda: GrpcSaver(threads_service.checkpoints, control))
        return attempt, asyncio.create_task(attempt.run()), report, gate

    yield start
    loops.close()


async def thread(service: Any, attempt: Attempt) -> threads_pb2.Thread:
    return await service.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=attempt.assignment.thread_id))


async def two_steps(script: Script) -> Outcome:
    await script.write("1")
    await script.write("2")
    return Outcome(result=Outcome.RESULT_SUCCESS, values_json=b'{"a":1}', has_next=True, interrupts_json=b"{}")


async def endless(script: Script) -> Outcome:
    await script.write("1")
    await asyncio.sleep(60)
    raise AssertionError


async def test_a_success_has_ended_the_run_at_threads(threads_service: Any, started: Any) -> None:
    attempt, task, report, _ = await started(two_steps)
    await asyncio.wait_for(task, 10)
    assert (report.outcome.result, report.outcome.thread_settled) == (Outcome.RESULT_SUCCESS, True)
    found = await thread(threads_service, attempt)
    assert (found.state, found.values_json, found.error_json) == (
        threads_pb2.THREAD_STATE_INTERRUPTED,
        b'{"a":1}',
        b"null",
    )
    assert found.metadata_json == b'{"graph_id":"g","assistant_id":"a"}'


async def test_nothing_is_reported_before_it_is_stored(started: Any) -> None:
    _, task, report, gate = await started(two_steps)
    gate.open.clear()
    await gate.came.wait()
    assert report.outcome is None
    gate.open.set()
    await asyncio.wait_for(task, 10)
    assert report.outcome.thread_settled


@pytest.mark.parametrize(
    ("reason", "result"),
    [
        (Stop.CANCEL, Outcome.RESULT_CANCELLED),
        (Stop.TIMEOUT, Outcome.RESULT_TIMEOUT),
        (Stop.RELEASE, Outcome.RESULT_RELEASED),
        (Stop.MOVE, Outcome.RESULT_RELEASED),
        (Stop.LEASE_LOST, None),
    ],
)
async def test_a_stop_while_threads_takes_nothing(
    threads_service: Any, started: Any, reason: Stop, result: Any
) -> None:
    attempt, task, report, gate = await started(two_steps)
    gate.open.clear()
    await gate.came.wait()
    attempt.stop(reason)
    await asyncio.wait_for(task, 10)
    assert (report.outcome and report.outcome.result) == result
    assert not (report.outcome and report.outcome.thread_settled)
    assert (await thread(threads_service, attempt)).state == threads_pb2.THREAD_STATE_BUSY


@pytest.mark.parametrize("reason", [Stop.CANCEL, Stop.TIMEOUT, Stop.RELEASE, Stop.MOVE])
async def test_a_stop_that_meets_the_end_comes_too_late(started: Any, reason: Stop) -> None:
    attempt, task, report, gate = await started(two_steps)
    gate.open.clear()
    await gate.came.wait()
    attempt.stop(reason)
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.wait_for(task, 10)
    assert (report.outcome.result, report.outcome.thread_settled) == (Outcome.RESULT_SUCCESS, True)


@pytest.mark.parametrize("reason", [Stop.CANCEL, Stop.TIMEOUT])
async def test_what_a_stopped_run_has_queued_is_stored_before_its_state_is_read(started: Any, reason: Stop) -> None:
    wrote = asyncio.Event()
    control = asyncio.get_running_loop()

    async def body(script: Script) -> Outcome:
        await script.write("1")
        control.call_soon_threadsafe(wrote.set)
        return await endless(script)

    attempt, task, report, _ = await started(body)
    await wrote.wait()
    attempt.stop(reason)
    await asyncio.wait_for(task, 10)
    assert report.outcome.values_json == b'{"at":"1"}'
    assert not report.outcome.thread_settled


async def test_user_code_that_is_left_behind_writes_no_more(threads_service: Any, started: Any) -> None:
    """It swallows its cancellation; what it wrote until then is kept."""
    wrote, later = asyncio.Event(), asyncio.Event()
    control = asyncio.get_running_loop()
    outcome: list[str] = []

    async def stubborn(script: Script) -> Outcome:
        await script.write("1")
        control.call_soon_threadsafe(wrote.set)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(1.5)
        try:
            await script.write("2")
        except module.SaverClosed as error:
            outcome.append(error.reason)
        control.call_soon_threadsafe(later.set)
        return Outcome(result=Outcome.RESULT_SUCCESS)

    attempt, task, report, _ = await started(stubborn)
    await wrote.wait()
    attempt.stop(Stop.CANCEL)
    await asyncio.wait_for(task, 10)
    assert (report.outcome.result, report.outcome.values_json) == (Outcome.RESULT_CANCELLED, b'{"at":"1"}')
    await later.wait()
    assert outcome == ["SAVER_CLOSED"]


async def test_a_write_that_is_refused_after_the_graph_ended_fails_the_run(threads_service: Any, started: Any) -> None:
    async def body(script: Script) -> Outcome:
        await script.write("1")
        await script.saver.aget_tuple(script.config())  # has it stored
        await script.write("")  # threads wants an id
        return Outcome(result=Outcome.RESULT_SUCCESS)

    attempt, task, report, _ = await started(body)
    await asyncio.wait_for(task, 10)
    assert (report.outcome.result, report.outcome.thread_settled) == (Outcome.RESULT_ERROR, False)
    assert report.outcome.values_json == b'{"at":"1"}'
    assert report.outcome.error_json == b'{"error":"AioRpcError","message":"An internal error occurred"}'
    assert (await thread(threads_service, attempt)).state == threads_pb2.THREAD_STATE_BUSY
