"""The gRPC clients of the services behind the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import grpc
from grpc_health.v1.health_pb2_grpc import HealthStub
from threadmill_chassis.grpc_client import open_channel
from threadmill_protos.runs.v1.assistants_pb2_grpc import AssistantsStub
from threadmill_protos.runs.v1.crons_pb2_grpc import CronsStub
from threadmill_protos.runs.v1.graphs_pb2_grpc import GraphsStub
from threadmill_protos.runs.v1.runs_pb2_grpc import RunsStub
from threadmill_protos.store.v1.store_pb2_grpc import StoreStub
from threadmill_protos.threads.v1.threads_pb2_grpc import ThreadsStub

from threadmill_gateway.hanging import Watch
from threadmill_gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from threadmill_protos.runs.v1.assistants_pb2_grpc import AssistantsAsyncStub
    from threadmill_protos.runs.v1.crons_pb2_grpc import CronsAsyncStub
    from threadmill_protos.runs.v1.graphs_pb2_grpc import GraphsAsyncStub
    from threadmill_protos.runs.v1.runs_pb2_grpc import RunsAsyncStub
    from threadmill_protos.store.v1.store_pb2_grpc import StoreAsyncStub
    from threadmill_protos.threads.v1.threads_pb2_grpc import ThreadsAsyncStub

Question = TypeVar("Question")
Answer = TypeVar("Answer")

# A stream of two answers.
WAIT_RUN = "/threadmill.runs.v1.Runs/WaitRun"
# Id of the HTTP request that is being served; travels with every call that it causes.
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")


@dataclass(frozen=True, slots=True)
class Clients:
    """Stubs of all services, and the two ways to call them."""

    threads: ThreadsAsyncStub
    assistants: AssistantsAsyncStub
    runs: RunsAsyncStub
    crons: CronsAsyncStub
    graphs: GraphsAsyncStub
    store: StoreAsyncStub
    timeout_seconds: float
    # The health service of the process that serves each method.
    health: Mapping[Any, Any]

    async def ask(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[Question, Answer],
        question: Question,
        *,
        timeout_seconds: float | None = None,
    ) -> Answer:
        """One answer within the deadline (None: the settings'). Raises AioRpcError, which `errors` maps to HTTP."""
        call = method(question, timeout=timeout_seconds or self.timeout_seconds, metadata=_metadata())
        with self.watch(method, call):
            return await call

    def watch(self, method: Any, call: Any) -> Watch:
        """Around waiting for an answer of `call`, which `method` made: 503 when the service hangs."""
        return Watch(call, self.health[method])

    def follow(
        self, method: grpc.aio.UnaryStreamMultiCallable[Question, Answer], question: Question, *, again: bool = False
    ) -> grpc.aio.UnaryStreamCall[Question, Answer]:
        """A stream without deadline; whoever holds the call cancels it.

        `again`: it has begun before, and its client waits for the service as long as that is away.
        """
        return method(question, metadata=_metadata(), wait_for_ready=True if again else None)


def _metadata() -> tuple[tuple[str, str], ...]:
    request_id = REQUEST_ID.get()
    return (("x-request-id", request_id),) if request_id else ()


@asynccontextmanager
async def open_clients(settings: GatewaySettings) -> AsyncIterator[Clients]:
    """Channels to all services for the block. They connect when first used, so that the order of starts is free."""
    async with AsyncExitStack() as stack:

        async def channel(address: str) -> grpc.aio.Channel:
            opened = open_channel(settings, address, patient=False, shared_streams=[WAIT_RUN])
            return await stack.enter_async_context(opened)

        health: dict[Any, Any] = {}

        def stub(kind: Callable[[grpc.aio.Channel], Any], opened: grpc.aio.Channel) -> Any:
            made, check = kind(opened), cast("Any", HealthStub(opened)).Check
            health.update(dict.fromkeys(vars(made).values(), check))
            return made

        runs = await channel(settings.runs_address)
        yield Clients(
            threads=stub(ThreadsStub, await channel(settings.threads_address)),
            assistants=stub(AssistantsStub, runs),
            runs=stub(RunsStub, runs),
            crons=stub(CronsStub, runs),
            graphs=stub(GraphsStub, await channel(settings.executor_address)),
            store=stub(StoreStub, await channel(settings.store_address)),
            timeout_seconds=settings.call_timeout_seconds,
            health=health,
        )
