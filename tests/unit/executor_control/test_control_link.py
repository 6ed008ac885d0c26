"""The control link against a real server that a test plays: hello, beats, assignments, stops, reconnects, drain."""

import asyncio

import grpc
import pytest
from eventually import until
from threadmill_chassis.grpc_client import open_channel
from threadmill_chassis.grpc_server import Registration, serving
from threadmill_chassis.settings import ProcessSettings
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.runs.v1 import assistants_pb2, executors_pb2, executors_pb2_grpc
from threadmill_runs.executor.control import link as module
from threadmill_runs.executor.control.link import ControlLink
from threadmill_runs.executor.running.attempt import Stop

Response = executors_pb2.AttachResponse
BEAT_SECONDS = 0.02


def fence(run_id="run-1", token=1):
    return common_pb2.Fence(run_id=run_id, token=token)


def assignment(run_id="run-1", token=1):
    return Response(assignment=Response.Assignment(fence=fence(run_id, token), thread_id="thread-1"))


def cancel(run_id="run-1", token=1):
    return Response(cancel=Response.Cancel(fence=fence(run_id, token)))


class PlayedServer(executors_pb2_grpc.ExecutorsServicer):
    """Welcomes, notes what comes up, and sends down what the test puts into `down`; None breaks the connection."""

    def __init__(self):
        self.hellos = []
        self.beats = []
        self.released = []
        self.outcomes = []
        self.down = asyncio.Queue()

    async def Attach(self, request_iterator, context):  # noqa: N802
        self.hellos.append((await anext(request_iterator)).hello)
        reading = asyncio.create_task(self.read(request_iterator))
        yield Response(welcome=Response.Welcome(lease_seconds=3, heartbeat_seconds=BEAT_SECONDS))
        try:
            while (message := await self.down.get()) is not None:
                yield message
            await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
        finally:
            reading.cancel()

    async def read(self, requests):
        async for request in requests:
            kind = request.WhichOneof("message")
            if kind == "heartbeat":
                self.beats.append(request.heartbeat)
            elif kind == "released":
                self.released.append((request.released.run_id, request.released.token))

    async def Report(self, request_iterator, context):  # noqa: N802
        async for request in request_iterator:
            if request.WhichOneof("message") == "outcome":
                self.outcomes.append(request.outcome)
                yield executors_pb2.ReportResponse(outcome_acked=True)
                return
            if request.WhichOneof("message") == "batch":
                yield executors_pb2.ReportResponse(acked_seq=request.batch.events[-1].seq)


class PlayedAttempt:
    """Runs until it is told to end, or to stop."""

    def __init__(self, given):
        self.assignment = given
        self.stops = []
        self.ended = asyncio.Event()
        self.ends_when_stopped = True
        self.slot_freed = False

    def stop(self, reason):
        self.stops.append(reason)
        if self.ends_when_stopped:
            self.ended.set()

    async def run(self):
        await self.ended.wait()


class Attempts(list):
    """Those that the link has started; an assignment of the thread "nonsense" cannot be."""

    def start(self, given):
        if given.fence.run_id == "nonsense":
            raise ValueError("kwargs are no JSON")
        self.append(PlayedAttempt(given))
        return self[-1]


@pytest.fixture
async def server():
    return PlayedServer()


@pytest.fixture
async def attempts():
    return Attempts()


@pytest.fixture
async def link(server, attempts, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "RECONNECT_SECONDS", 0.01)
    settings = ProcessSettings(shutdown_grace_seconds=0)
    address = f"unix:{tmp_path}/executors"
    registration = Registration(
        "threadmill.runs.v1.Executors",
        lambda grpc_server: executors_pb2_grpc.add_ExecutorsServicer_to_server(server, grpc_server),
    )
    graphs = [assistants_pb2.Graph(graph_id="graph-1", name="Graph")]
    async with serving(settings, address, [registration]), open_channel(settings, address) as channel:
        made = ControlLink(executors_pb2_grpc.ExecutorsStub(channel), "executor-1", 7, graphs, attempts.start)
        running = asyncio.create_task(made.run())
        await asyncio.wait_for(made.attached.wait(), 10)
        yield made
        for attempt in attempts:
            attempt.ended.set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def eventually(condition):
    async def probe():
        return condition()

    return await until(probe, 10)


async def begun(server, attempts, run_id="run-1", token=1):
    """An attempt of the run that executes."""
    count = len(attempts)
    server.down.put_nowait(assignment(run_id, token))
    await eventually(lambda: len(attempts) > count)
    return attempts[-1]


async def test_hello_says_who_and_what_it_can_run(link, server):
    [hello] = server.hellos
    assert (hello.executor_id, hello.slot_count) == ("executor-1", 7)
    assert [(graph.graph_id, graph.name) for graph in hello.graphs] == [("graph-1", "Graph")]
    assert not hello.held


async def test_beats_come_at_the_servers_pace_and_name_what_is_held(link, server, attempts):
    await eventually(lambda: len(server.beats) >= 3)
    attempt = await begun(server, attempts)
    await eventually(lambda: [each.run_id for each in server.beats[-1].held] == ["run-1"])
    assert not server.beats[-1].draining
    attempt.ended.set()
    await eventually(lambda: not server.beats[-1].held)
    assert server.released == [("run-1", 1)]


@pytest.mark.parametrize(
    ("message", "reason"), [(cancel(), Stop.CANCEL), (Response(lease_lost=fence()), Stop.LEASE_LOST)]
)
async def test_stops_reach_the_attempt_that_they_name(link, server, attempts, message, reason):
    attempt = await begun(server, attempts)
    server.down.put_nowait(cancel(token=99))
    server.down.put_nowait(cancel("another run"))
    server.down.put_nowait(message)
    await eventually(lambda: server.released)
    assert attempt.stops == [reason]


async def test_runs_go_on_through_a_broken_connection_and_are_named_again(link, server, attempts):
    attempt = await begun(server, attempts)
    server.down.put_nowait(None)
    await eventually(lambda: len(server.hellos) == 2)
    assert [(each.run_id, each.token) for each in server.hellos[1].held] == [("run-1", 1)]
    assert not attempt.stops
    server.down.put_nowait(cancel())
    await eventually(lambda: attempt.stops == [Stop.CANCEL])


async def test_a_run_that_comes_back_with_a_new_token_ends_the_old_attempt_only(link, server, attempts):
    old = await begun(server, attempts, token=1)
    old.ends_when_stopped = False
    new = await begun(server, attempts, token=2)
    assert old.stops == [Stop.LEASE_LOST]
    old.ended.set()
    await eventually(lambda: server.released == [("run-1", 1)])
    await eventually(lambda: [each.token for each in server.beats[-1].held] == [2])
    server.down.put_nowait(cancel(token=2))
    await eventually(lambda: new.stops == [Stop.CANCEL])


async def test_an_assignment_that_makes_no_sense_ends_its_run_in_error(link, server, attempts):
    server.down.put_nowait(assignment("nonsense"))
    await eventually(lambda: server.outcomes and server.released)
    assert server.outcomes[0].result == executors_pb2.Outcome.RESULT_ERROR
    assert b"kwargs are no JSON" in server.outcomes[0].error_json
    assert server.released == [("nonsense", 1)]
    assert await begun(server, attempts), "the link goes on"


async def test_drain_waits_for_runs_that_end_in_time(link, server, attempts):
    attempt = await begun(server, attempts)
    draining = asyncio.create_task(link.drain(30))
    await eventually(lambda: server.beats[-1].draining)
    assert not draining.done()
    attempt.ended.set()
    await asyncio.wait_for(draining, 10)
    assert not attempt.stops


async def test_drain_hands_back_what_does_not_end_in_time(link, server, attempts):
    attempt = await begun(server, attempts)
    await asyncio.wait_for(link.drain(0.05), 10)
    assert attempt.stops == [Stop.RELEASE]
    await eventually(lambda: server.released == [("run-1", 1)])  # sent by now, but perhaps still on its way


async def test_drain_ends_though_an_attempt_never_does(link, server, attempts, monkeypatch):
    monkeypatch.setattr(module, "RELEASE_SECONDS", 0.1)
    attempt = await begun(server, attempts)
    attempt.ends_when_stopped = False
    await asyncio.wait_for(link.drain(0), 10)
    assert attempt.stops == [Stop.RELEASE]


async def test_what_was_assigned_while_it_drains_is_handed_back_at_once(link, server, attempts):
    first = await begun(server, attempts)
    draining = asyncio.create_task(link.drain(30))
    await eventually(lambda: server.beats[-1].draining)
    late = await begun(server, attempts, "run-2", 2)
    await eventually(lambda: ("run-2", 2) in server.released)
    assert late.stops == [Stop.RELEASE]
    first.ended.set()
    await asyncio.wait_for(draining, 10)
