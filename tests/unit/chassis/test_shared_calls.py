"""Calls that share a stream, between a real client and a real server: they are as gRPC's own, whatever happens."""

import asyncio

import grpc
import pytest
import structlog
from eventually import until as until_true
from threadmill_chassis.errors import InvalidArgument, Unavailable
from threadmill_chassis.grpc_client import open_channel
from threadmill_chassis.grpc_errors import failure_of as failure_status
from threadmill_chassis.grpc_errors import reason_of
from threadmill_chassis.grpc_server import Registration, serving
from threadmill_chassis.settings import ProcessSettings
from threadmill_chassis.shared_calls import channel as channel_module
from threadmill_chassis.shared_calls import line as line_module
from threadmill_chassis.shared_calls.frames import FrameQueue
from threadmill_chassis.shared_calls.server import SharedContext
from threadmill_protos.runs.v1 import executors_pb2, executors_pb2_grpc, runs_pb2, runs_pb2_grpc
from threadmill_protos.store.v1 import store_pb2, store_pb2_grpc
from threadmill_protos.threads.v1 import threads_pb2, threads_pb2_grpc

SETTINGS = ProcessSettings(shutdown_grace_seconds=1)
STREAMS = ["/threadmill.runs.v1.Runs/WaitRun", "/threadmill.runs.v1.Executors/Report"]


async def until(condition):
    """Waits for a condition that is no coroutine."""

    async def check():
        return condition()

    await until_true(check)


class Threads(threads_pb2_grpc.ThreadsServicer):
    """Answers with the thread that was asked for, once `gate` is open; `failures` are raised first."""

    def __init__(self):
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures = []
        self.asked = 0
        self.way = []  # shared or plain, of each call
        self.cancelled = 0
        self.request_ids = []

    async def CreateThread(self, request, context):  # noqa: N802
        return threads_pb2.Thread()

    async def GetThread(self, request, context):  # noqa: N802
        self.asked += 1
        self.way.append("shared" if isinstance(context, SharedContext) else "plain")
        self.request_ids.append(structlog.contextvars.get_contextvars().get("request_id"))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            await context.abort(*failure)
        return threads_pb2.Thread(thread_id=request.thread_id, values_json=b"x" * int(request.thread_id or 0))


class Runs(runs_pb2_grpc.RunsServicer):
    """WaitRun answers as many times as the request's id says, then fails or ends."""

    def __init__(self):
        self.failure = None
        self.more = asyncio.Event()
        self.calls = 0

    async def WaitRun(self, request, context):  # noqa: N802
        self.calls += 1
        for _ in range(int(request.run.run_id)):
            yield runs_pb2.WaitRunResponse()
        if self.failure is not None:
            raise self.failure
        await self.more.wait()


class Executors(executors_pb2_grpc.ExecutorsServicer):
    """Report acknowledges each batch."""

    async def Report(self, request_iterator, context):  # noqa: N802
        async for request in request_iterator:
            if request.WhichOneof("message") == "outcome":
                yield executors_pb2.ReportResponse(outcome_acked=True)
                return
            yield executors_pb2.ReportResponse(acked_seq=request.batch.events[-1].seq)


class System:
    """A server that can be stopped and started again, and a client of it."""

    def __init__(self, address):
        self.address = address
        self.threads_servicer, self.runs_servicer = Threads(), Runs()
        self.channel = open_channel(SETTINGS, address, shared_streams=STREAMS)
        self.threads = threads_pb2_grpc.ThreadsStub(self.channel)
        self.runs = runs_pb2_grpc.RunsStub(self.channel)
        self.executors = executors_pb2_grpc.ExecutorsStub(self.channel)
        self._serving = None

    async def start(self):
        registrations = [
            Registration(
                "t", lambda server: threads_pb2_grpc.add_ThreadsServicer_to_server(self.threads_servicer, server)
            ),
            Registration("r", lambda server: runs_pb2_grpc.add_RunsServicer_to_server(self.runs_servicer, server)),
            Registration("e", lambda server: executors_pb2_grpc.add_ExecutorsServicer_to_server(Executors(), server)),
        ]
        self._serving = serving(SETTINGS, self.address, registrations)
        self.server = await self._serving.__aenter__()

    async def stop(self):
        if self._serving is not None:
            await self._serving.__aexit__(None, None, None)
            self._serving = None

    def get(self, thread_id="7", **options):
        return self.threads.GetThread(threads_pb2.GetThreadRequest(thread_id=thread_id), **options)

    def wait(self, answers=1):
        return self.runs.WaitRun(runs_pb2.WaitRunRequest(run=runs_pb2.RunRef(run_id=str(answers))))

    async def shared(self):
        """Once calls go over the stream."""

        async def is_shared():
            await self.get(timeout=5)
            return self.threads_servicer.way[-1] == "shared"

        await until_true(is_shared)
        self.threads_servicer.way.clear()
        self.threads_servicer.asked = 0


@pytest.fixture
async def system(tmp_path, monkeypatch):
    monkeypatch.setattr(line_module, "RECONNECT_SECONDS", 0.05)
    system = System(f"unix:{tmp_path}/s")
    await system.start()
    await system.shared()
    yield system
    system.threads_servicer.gate.set()
    system.runs_servicer.more.set()
    await system.channel.close()
    await system.stop()


async def failure_of(awaitable):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return caught.value


async def test_calls_of_the_same_time_share_messages(system, monkeypatch):
    messages = []
    take = FrameQueue.take

    def taken(queue):
        frames = take(queue)
        messages.append(len(frames))
        return frames

    monkeypatch.setattr(FrameQueue, "take", taken)
    answers = await asyncio.gather(*(system.get(str(number)) for number in range(50)))
    assert [answer.thread_id for answer in answers] == [str(number) for number in range(50)]
    assert set(system.threads_servicer.way) == {"shared"}
    assert max(messages) == 50


async def test_the_request_id_travels(system):
    await system.get(metadata=(("x-request-id", "r-1"),))
    await system.get()
    assert system.threads_servicer.request_ids[-2:] == ["r-1", None]


async def test_failures_are_those_of_grpc(system):
    system.threads_servicer.failures = [
        InvalidArgument("no such thing"),
        RuntimeError("a secret"),
        (grpc.StatusCode.NOT_FOUND, "none"),
    ]
    invalid, defect, aborted = [await failure_of(system.get()) for _ in range(3)]
    assert (invalid.code(), invalid.details(), reason_of(invalid)) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "no such thing",
        InvalidArgument.reason,
    )
    assert defect.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in defect.details()
    assert (aborted.code(), aborted.details()) == (grpc.StatusCode.NOT_FOUND, "none")
    assert system.threads_servicer.way == ["shared"] * 3


async def test_a_method_that_is_not_served_is_unimplemented(system):
    stub = store_pb2_grpc.StoreStub(system.channel)
    error = await failure_of(stub.Batch(store_pb2.BatchRequest()))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_what_is_unavailable_is_asked_for_again_as_grpc_does(system):
    system.threads_servicer.failures = [Unavailable("later"), Unavailable("later")]
    assert (await system.get(timeout=10)).thread_id == "7"
    assert system.threads_servicer.way == ["shared", "plain", "plain"]


async def test_unless_the_server_says_that_it_is_not_to_be(system):
    system.threads_servicer.failures = [
        (grpc.StatusCode.UNAVAILABLE, "no use", (("grpc-retry-pushback-ms", "-1"),)),
    ]
    error = await failure_of(system.get(timeout=10))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAVAILABLE, "no use")
    assert system.threads_servicer.way == ["shared"]


async def test_deadlines(system):
    system.threads_servicer.gate.clear()
    error = await failure_of(system.get(timeout=0.05))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: system.threads_servicer.cancelled == 1)


async def test_a_caller_who_goes_cancels_the_call(system):
    system.threads_servicer.gate.clear()
    task = asyncio.create_task(asyncio.wait_for(system.get(), 10))
    await until(lambda: system.threads_servicer.asked == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: system.threads_servicer.cancelled == 1)


async def test_a_call_that_is_cancelled_at_once_leaves_nothing_behind(system):
    calls = [system.get() for _ in range(3)]
    for call in calls:
        call.cancel()
    for call in calls:
        with pytest.raises(asyncio.CancelledError):
            await call
    assert (await system.get()).thread_id == "7"
    (session,) = system.server.calls._sessions
    await until(lambda: not session._calls)


async def test_large_messages_go_alone_and_large_answers_come(system):
    big = "1" * (channel_module.ALONE_BYTES + 1)
    call = system.threads.CreateThread(threads_pb2.CreateThreadRequest(thread_id=big))
    assert isinstance(call, grpc.aio.UnaryUnaryCall)
    assert await call == threads_pb2.Thread()
    answer = await system.get("3000000")
    assert len(answer.values_json) == 3_000_000
    assert system.threads_servicer.way == ["shared"]


async def test_a_lost_stream_loses_no_call(system):
    """Those under way are made again, gRPC's way; later ones share a new stream."""
    system.threads_servicer.gate.clear()
    calls = [asyncio.create_task(asyncio.wait_for(system.get(str(number), timeout=20), 20)) for number in range(5)]
    await until(lambda: system.threads_servicer.asked == 5)
    await system.stop()
    system.threads_servicer.gate.set()
    await system.start()
    assert [answer.thread_id for answer in await asyncio.gather(*calls)] == ["0", "1", "2", "3", "4"]
    assert system.threads_servicer.way == ["shared"] * 5 + ["plain"] * 5
    await system.shared()


async def test_a_server_that_stops_finishes_what_is_under_way(system):
    system.threads_servicer.gate.clear()
    call = asyncio.create_task(asyncio.wait_for(system.get(), 10))
    await until(lambda: system.threads_servicer.asked == 1)
    stopping = asyncio.create_task(system.stop())
    await until(lambda: not system.channel._line._open)
    system.threads_servicer.gate.set()
    assert (await call).thread_id == "7"
    begun = asyncio.get_running_loop().time()
    await stopping
    assert asyncio.get_running_loop().time() - begun < SETTINGS.shutdown_grace_seconds
    assert system.threads_servicer.way == ["shared"]


async def test_a_server_that_stops_answers_all_that_is_under_way(system):
    system.threads_servicer.gate.clear()
    calls = [asyncio.create_task(asyncio.wait_for(system.get(str(number), timeout=10), 10)) for number in range(200)]
    await until(lambda: system.threads_servicer.asked == 200)
    stopping = asyncio.create_task(system.stop())
    system.threads_servicer.gate.set()
    assert [answer.thread_id for answer in await asyncio.gather(*calls)] == [str(number) for number in range(200)]
    await stopping
    assert system.threads_servicer.way == ["shared"] * 200


async def test_calls_that_are_given_up_before_they_leave_are_not_made(system, monkeypatch):
    """A peer that does not read: what waits for it is bounded, and what is given up is forgotten."""
    held, write = asyncio.Event(), grpc.aio.StreamStreamCall.write
    monkeypatch.setattr(line_module, "BACKLOG_BYTES", 10_000)

    async def hold(call, request):
        await held.wait()
        await write(call, request)

    monkeypatch.setattr(grpc.aio.StreamStreamCall, "write", hold)
    first = asyncio.create_task(asyncio.wait_for(system.get(), 10))
    line = system.channel._line
    await until(lambda: not line._outgoing)
    given_up = [system.threads.CreateThread(threads_pb2.CreateThreadRequest(thread_id="1" * 3000)) for _ in range(4)]
    assert not line.ready()
    assert isinstance(system.get(), grpc.aio.UnaryUnaryCall)
    for call in given_up:
        call.cancel()
    assert line._outgoing.bytes_count == 0
    assert line.ready()
    held.set()
    assert (await first).thread_id == "7"


async def test_the_end_of_a_stream_and_what_follows_it(system):
    system.runs_servicer.more.set()
    call = system.wait(2)
    assert [await call.read() for _ in range(2)] == [runs_pb2.WaitRunResponse()] * 2
    assert await call.read() is grpc.aio.EOF
    assert await call.read() is grpc.aio.EOF
    assert len([answer async for answer in system.wait(3)]) == 3


async def test_a_stream_that_breaks_before_its_first_answer_is_repeated(system):
    call = system.wait(0)
    reading = asyncio.create_task(call.read())
    await until(lambda: system.runs_servicer.calls == 1)
    system.runs_servicer.more.set()
    await system.stop()
    await system.start()
    assert await asyncio.wait_for(reading, 10) is grpc.aio.EOF


async def test_after_its_first_answer_the_reader_is_told(system):
    system.runs_servicer.failure = Unavailable("about to stop")
    call = system.wait(1)
    assert await call.read() == runs_pb2.WaitRunResponse()
    assert (await failure_of(call.read())).code() is grpc.StatusCode.UNAVAILABLE
    assert system.runs_servicer.calls == 1


async def test_a_failure_is_told_again(system):
    system.runs_servicer.failure = InvalidArgument("no")
    call = system.wait(0)
    for _ in range(2):
        assert (await failure_of(asyncio.wait_for(call.read(), 5))).details() == "no"


@pytest.mark.parametrize("how", ["forgotten", "cancelled"])
async def test_a_stream_that_nobody_reads_any_more_ends(system, how):
    call = system.wait(0)
    reading = asyncio.create_task(call.read())
    await until(lambda: system.runs_servicer.calls == 1)
    if how == "cancelled":
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    else:
        call = system.wait(1)
        await call.read()
        del call
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    (session,) = system.server.calls._sessions
    await until(lambda: not session._calls)


async def test_a_lost_peer_is_told_from_a_peers_answer(system):
    """Who passes errors on says of the first that a backing service did not answer."""
    system.threads_servicer.gate.clear()
    late = await failure_of(system.get(timeout=0.05))
    assert failure_status(late).code == grpc.StatusCode.UNAVAILABLE.value[0]
    await until(lambda: system.threads_servicer.cancelled == 1)
    system.threads_servicer.gate.set()
    system.threads_servicer.failures = [InvalidArgument("no such thing")]
    answered = await failure_of(system.get())
    assert failure_status(answered).code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


async def test_a_reader_that_cancels_is_cancelled(system):
    call = system.wait(0)
    reading = asyncio.create_task(call.read())
    await until(lambda: system.runs_servicer.calls == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


def batch(seq, size=1):
    event = executors_pb2.ReportedEvent(seq=seq, name="e", data_json=b"1" * size)
    return executors_pb2.ReportRequest(batch=executors_pb2.ReportRequest.Batch(events=[event]))


async def test_both_ways(system):
    call = system.executors.Report()
    assert not isinstance(call, grpc.aio.StreamStreamCall)
    for seq in (1, 2):
        await call.write(batch(seq, size=channel_module.ALONE_BYTES * 2))
        assert (await call.read()).acked_seq == seq
    await call.write(executors_pb2.ReportRequest(outcome=executors_pb2.Outcome()))
    assert [answer.outcome_acked async for answer in call] == [True]
    with pytest.raises(asyncio.InvalidStateError):
        await call.write(batch(3))


async def test_half_closed(system):
    call = system.executors.Report()
    await call.write(batch(1))
    await call.done_writing()
    assert [answer.acked_seq async for answer in call] == [1]


async def test_a_message_beyond_the_limit_fails_its_call_alone(tmp_path):
    system = System(f"unix:{tmp_path}/small")
    system.channel._max_bytes = 1000
    system.executors = executors_pb2_grpc.ExecutorsStub(system.channel)
    await system.start()
    await system.shared()
    call, other = system.executors.Report(), system.executors.Report()
    with pytest.raises(asyncio.InvalidStateError):
        await call.write(batch(1, size=2000))
    assert (await failure_of(call.read())).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await other.write(batch(5))
    assert (await other.read()).acked_seq == 5
    other.cancel()
    await system.channel.close()
    await system.stop()


async def test_what_breaks_the_stream_by_its_content_makes_calls_go_alone(tmp_path):
    """A server with a lower limit than its client: the stream ends with RESOURCE_EXHAUSTED, and is left alone then."""
    address = f"unix:{tmp_path}/lower"
    servicer = Threads()
    registration = Registration("t", lambda server: threads_pb2_grpc.add_ThreadsServicer_to_server(servicer, server))
    lower = ProcessSettings(grpc_max_message_bytes=10_000, shutdown_grace_seconds=0)
    async with serving(lower, address, [registration]), open_channel(SETTINGS, address) as channel:
        stub = threads_pb2_grpc.ThreadsStub(channel)

        async def get(thread_id):
            return await stub.GetThread(threads_pb2.GetThreadRequest(thread_id=thread_id), timeout=10)

        async def is_shared():
            await get("1")
            return servicer.way[-1] == "shared"

        await until_true(is_shared)
        servicer.gate.clear()
        innocent = asyncio.create_task(get("2"))
        await until(lambda: servicer.way[-1] == "shared" and not innocent.done())
        error = await failure_of(get("9" * 20_000))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        servicer.gate.set()
        assert (await innocent).thread_id == "2"
        servicer.way.clear()
        await get("3")
        assert servicer.way == ["plain"]


async def test_switched_off(tmp_path):
    settings = ProcessSettings(shared_calls=False)
    async with open_channel(settings, f"unix:{tmp_path}/off") as channel:
        assert isinstance(channel, grpc.aio.Channel)
        assert not isinstance(channel, channel_module.SharedChannel)
