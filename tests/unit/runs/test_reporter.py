"""The reporter against a real server that breaks calls at chosen points: every event once and in order, one outcome."""

import asyncio

import grpc
import pytest
from threadmill_chassis.errors import InvalidArgument
from threadmill_chassis.grpc_client import open_channel
from threadmill_chassis.grpc_server import Registration, serving
from threadmill_chassis.settings import ProcessSettings
from threadmill_protos.runs.v1 import executors_pb2, executors_pb2_grpc
from threadmill_runs.errors import LeaseLost as Fenced
from threadmill_runs.executor.checkpoints.errors import LeaseLost
from threadmill_runs.executor.running import reporter as module
from threadmill_runs.executor.running.outbox import Outbox
from threadmill_runs.executor.running.reporter import Reporter, ReportRefused

Outcome = executors_pb2.Outcome
SUCCESS = Outcome(result=Outcome.RESULT_SUCCESS)


class BreakingServer(executors_pb2_grpc.ExecutorsServicer):
    """Keeps what is reported, by sequence number, as the event log does; `script` breaks calls."""

    def __init__(self):
        self.events = {}
        self.outcomes = []
        self.calls = 0
        self.script = []  # one for each call: how many messages it takes, and what it does with the next
        self.gate = asyncio.Event()
        self.gate.set()

    async def Report(self, request_iterator, context):  # noqa: N802
        self.calls += 1
        limit, action = self.script.pop(0) if self.script else (None, "")
        header = (await anext(request_iterator)).header
        assert header.thread_id == "thread-1"
        taken = 0
        async for request in request_iterator:
            if taken == limit and action != "unacknowledged":
                await self.fail(context, action)
            answer = self.take(request)
            if taken == limit:
                await self.fail(context, "break")
            taken += 1
            await self.gate.wait()
            if answer is not None:
                yield answer
                if answer.outcome_acked:
                    return

    def take(self, request):
        if request.WhichOneof("message") == "outcome":
            self.outcomes.append(request.outcome.result)
            return executors_pb2.ReportResponse(outcome_acked=True)
        for event in request.batch.events:
            self.events.setdefault(event.seq, event.name)
        return executors_pb2.ReportResponse(acked_seq=request.batch.events[-1].seq)

    async def fail(self, context, action):
        if action == "fenced":
            raise Fenced("taken over")
        if action == "defect":
            raise RuntimeError("a defect")
        if action == "refused":
            raise InvalidArgument("nobody takes this")
        await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")


@pytest.fixture
async def server():
    return BreakingServer()


@pytest.fixture
async def stub(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RECONNECT_SECONDS", 0.01)
    settings = ProcessSettings(shutdown_grace_seconds=0)
    address = f"unix:{tmp_path}/executors"
    registration = Registration(
        "threadmill.runs.v1.Executors",
        lambda grpc_server: executors_pb2_grpc.add_ExecutorsServicer_to_server(server, grpc_server),
    )
    async with serving(settings, address, [registration]), open_channel(settings, address) as channel:
        yield executors_pb2_grpc.ExecutorsStub(channel)


@pytest.fixture
async def outbox():
    return Outbox(asyncio.get_running_loop())


@pytest.fixture
async def reporter(stub, outbox):
    header = executors_pb2.ReportRequest.Header(fence={"run_id": "run-1", "token": 1}, thread_id="thread-1")
    return Reporter(stub, header, outbox)


async def report(reporter, outbox, count=30):
    """Events that trickle in while the reporter is at work, then the outcome."""
    task = asyncio.create_task(reporter.run())
    for number in range(1, count + 1):
        outbox.put(f"event-{number}", b"{}")
        await asyncio.sleep(0.001)
    reporter.finish(SUCCESS)
    await asyncio.wait_for(task, 20)


def whole(count=30):
    return {number: f"event-{number}" for number in range(1, count + 1)}


async def test_events_then_outcome(reporter, outbox, server):
    await report(reporter, outbox)
    assert (server.events, server.outcomes, server.calls) == (whole(), [Outcome.RESULT_SUCCESS], 1)
    assert outbox.pending() == (0, 0)


@pytest.mark.parametrize("action", ["break", "unacknowledged", "defect"])
@pytest.mark.parametrize("limits", [(0,), (1,), (2, 0, 1, 3), (3, 3, 3)])
async def test_broken_calls_lose_nothing(reporter, outbox, server, action, limits):
    server.script = [(limit, action) for limit in limits]
    await report(reporter, outbox)
    assert server.events == whole()
    assert list(server.events) == sorted(server.events)
    assert set(server.outcomes) == {Outcome.RESULT_SUCCESS}
    assert outbox.pending() == (0, 0)


async def test_an_outcome_whose_acknowledgement_was_lost_is_sent_again(reporter, outbox, server):
    server.script = [(0, "unacknowledged")]
    reporter.finish(SUCCESS)
    await asyncio.wait_for(reporter.run(), 10)
    assert server.outcomes == [Outcome.RESULT_SUCCESS] * 2


@pytest.mark.parametrize("taken", [0, 2])
async def test_fencing_ends_the_report(reporter, outbox, server, taken):
    # Every call is: gRPC may lose the reason of one that ends while it is written to.
    server.script = [(taken, "fenced")] * 5
    with pytest.raises(LeaseLost):
        await report(reporter, outbox)
    assert not server.outcomes


@pytest.mark.parametrize("taken", [0, 2])
async def test_what_is_refused_for_good_is_not_repeated(reporter, outbox, server, taken):
    server.script = [(taken, "refused")]
    with pytest.raises(ReportRefused, match="nobody takes this"):
        await report(reporter, outbox)
    assert server.calls == 1
    await asyncio.wait_for(reporter.report_error(b'{"error":"E"}'), 10)
    assert server.outcomes == [Outcome.RESULT_ERROR]
    last = max(server.events)
    assert server.events[last] == "error"
    assert list(server.events.values()).count("error") == 1


async def test_a_defect_that_stays_is_not_repeated_for_ever(reporter, server, monkeypatch):
    monkeypatch.setattr(module, "DOUBTS_MAX", 5)
    server.script = [(0, "defect")] * 20
    reporter.finish(SUCCESS)
    with pytest.raises(ReportRefused):
        await asyncio.wait_for(reporter.run(), 10)
    assert server.calls == 6


async def test_the_first_outcome_counts(reporter, server):
    reporter.finish(SUCCESS)
    reporter.finish(Outcome(result=Outcome.RESULT_ERROR))
    await asyncio.wait_for(reporter.run(), 10)
    assert server.outcomes == [Outcome.RESULT_SUCCESS]


async def test_a_server_that_is_away_is_waited_for(outbox, server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RECONNECT_SECONDS", 0.01)
    settings = ProcessSettings(shutdown_grace_seconds=0)
    address = f"unix:{tmp_path}/late"
    header = executors_pb2.ReportRequest.Header(fence={"run_id": "run-1", "token": 1}, thread_id="thread-1")
    async with open_channel(settings, address) as channel:
        reporter = Reporter(executors_pb2_grpc.ExecutorsStub(channel), header, outbox)
        task = asyncio.create_task(reporter.run())
        outbox.put("event-1", b"{}")
        await asyncio.sleep(0.1)
        registration = Registration(
            "threadmill.runs.v1.Executors",
            lambda grpc_server: executors_pb2_grpc.add_ExecutorsServicer_to_server(server, grpc_server),
        )
        async with serving(settings, address, [registration]):
            reporter.finish(SUCCESS)
            await asyncio.wait_for(task, 20)
    assert server.events == whole(1)
    assert server.outcomes[-1] == Outcome.RESULT_SUCCESS


class SilentCall:
    """A call whose writes fail at once, and of which nothing is heard until it is cancelled."""

    def __init__(self, failure):
        self.failure = failure
        self.cancelled = asyncio.Event()

    async def write(self, message):
        raise self.failure

    def __aiter__(self):
        return self

    async def __anext__(self):
        await self.cancelled.wait()
        raise asyncio.CancelledError  # as gRPC does for a call that its own side has cancelled

    def cancel(self):
        self.cancelled.set()


@pytest.mark.parametrize(
    "failure", [asyncio.InvalidStateError("RPC already finished."), asyncio.CancelledError()], ids=repr
)
async def test_a_write_that_fails_while_the_reader_hears_nothing_makes_another_call(
    stub, outbox, server, monkeypatch, failure
):
    real, calls = stub.Report, [SilentCall(failure)]
    monkeypatch.setattr(stub, "Report", lambda: calls.pop() if calls else real())
    header = executors_pb2.ReportRequest.Header(fence={"run_id": "run-1", "token": 1}, thread_id="thread-1")
    await report(Reporter(stub, header, outbox), outbox)
    assert server.events == whole()


async def test_what_cannot_be_sent_is_refused(stub, outbox, monkeypatch):
    monkeypatch.setattr(stub, "Report", lambda: SilentCall(ValueError("too large to serialise")))
    header = executors_pb2.ReportRequest.Header(fence={"run_id": "run-1", "token": 1}, thread_id="thread-1")
    with pytest.raises(ReportRefused, match="too large to serialise"):
        await asyncio.wait_for(Reporter(stub, header, outbox).run(), 10)
