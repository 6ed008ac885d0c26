"""Builds the executor from its settings and the user's application; everything opened is closed in reverse."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from threadmill_chassis.grpc_client import open_channel
from threadmill_chassis.grpc_server import Registration
from threadmill_protos.runs.v1 import assistants_pb2, executors_pb2, executors_pb2_grpc, graphs_pb2_grpc
from threadmill_protos.store.v1 import store_pb2_grpc
from threadmill_protos.threads.v1 import checkpoints_pb2_grpc

from threadmill_runs.executor.checkpoints.saver import GrpcSaver
from threadmill_runs.executor.checkpoints.update_saver import UpdateSaver
from threadmill_runs.executor.control.link import ControlLink
from threadmill_runs.executor.embedding import servicer as embedding
from threadmill_runs.executor.graphs.registry import GraphRegistry
from threadmill_runs.executor.graphs.state import PAGE_BYTES
from threadmill_runs.executor.graphs.views import GraphsServicer
from threadmill_runs.executor.loops import UserLoops
from threadmill_runs.executor.memory import GrpcStore
from threadmill_runs.executor.running.attempt import Attempt, Stop
from threadmill_runs.executor.running.execution import Execution
from threadmill_runs.executor.running.kwargs import RunKwargs
from threadmill_runs.executor.running.outbox import Outbox
from threadmill_runs.executor.running.reporter import Reporter
from threadmill_runs.executor.settings import ExecutorSettings

# What its peer has not acknowledged is bounded by the outbox, and its answers are acknowledgements.
REPORT = "/threadmill.runs.v1.Executors/Report"


@dataclass(frozen=True, slots=True)
class Executor:
    """What the process serves and what it does on the side."""

    registrations: list[Registration]
    link: ControlLink
    loops: UserLoops


def build(settings: ExecutorSettings, registry: GraphRegistry, stack: AsyncExitStack) -> Executor:
    """Opens the channels to threads, store and runs api, and wires the parts together. For the control loop."""
    control_loop = asyncio.get_running_loop()
    threads_channel = open_channel(settings, settings.threads_address)
    store_channel = open_channel(settings, settings.store_address)
    runs_channel = open_channel(settings, settings.runs_address, shared_streams=[REPORT])
    for channel in (threads_channel, store_channel, runs_channel):
        stack.push_async_callback(channel.close)
    checkpoints = checkpoints_pb2_grpc.CheckpointsStub(threads_channel)
    executors = executors_pb2_grpc.ExecutorsStub(runs_channel)
    store = GrpcStore(store_pb2_grpc.StoreStub(store_channel), control_loop)
    loops = UserLoops()
    stack.callback(loops.close)

    serde = JsonPlusSerializer(pickle_fallback=settings.checkpoint_pickle)

    def view_saver() -> GrpcSaver:
        return GrpcSaver(checkpoints, control_loop, serde=serde, list_bytes=PAGE_BYTES)

    def update_saver() -> UpdateSaver:
        return UpdateSaver(checkpoints, control_loop, serde=serde)

    def start(assignment: executors_pb2.AttachResponse.Assignment) -> Attempt:
        outbox = Outbox(control_loop)
        attempt: Attempt

        def lose() -> None:
            attempt.stop(Stop.LEASE_LOST)

        kwargs = RunKwargs.of(assignment, settings.api_url)
        saver = (
            None
            if assignment.stateless
            else GrpcSaver(
                checkpoints,
                control_loop,
                fence=assignment.fence,
                serde=serde,
                on_fenced=lose,
                before_write=outbox.delivered,
                thread_id=assignment.thread_id,
                thread_is_empty=assignment.thread_is_empty,
                waits=kwargs.durability == "sync",
            )
        )
        header = executors_pb2.ReportRequest.Header(
            fence=assignment.fence,
            thread_id=assignment.thread_id,
            attempt=assignment.attempt,
            graph_id=assignment.graph_id,
        )
        execution = Execution(assignment, kwargs, registry, saver, store, outbox)
        reporter = Reporter(executors, header, outbox)
        attempt = Attempt(execution, reporter, loops, saver, view_saver)
        return attempt

    graphs = [
        assistants_pb2.Graph(
            graph_id=info.graph_id, name=info.name, description=info.description or None, error=info.error
        )
        for info in registry.describe()
    ]
    servicer = GraphsServicer(registry, loops, view_saver, store, update_saver)
    return Executor(
        registrations=[
            Registration(
                "threadmill.runs.v1.Graphs",
                lambda server: graphs_pb2_grpc.add_GraphsServicer_to_server(servicer, server),
            ),
            embedding.registration(settings, loops),
        ],
        link=ControlLink(executors, settings.executor_id, settings.slots, graphs, start),
        loops=loops,
    )
