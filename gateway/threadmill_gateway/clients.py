"""The gRPC clients of the services behind the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import grpc
from threadmill_chassis.grpc_client import open_channel
from threadmill_protos.runs.v1.assistants_pb2_grpc import AssistantsStub
from threadmill_protos.runs.v1.crons_pb2_grpc import CronsStub
from threadmill_protos.runs.v1.graphs_pb2_grpc import GraphsStub
from threadmill_protos.runs.v1.runs_pb2_grpc import RunsStub
from threadmill_protos.store.v1.store_pb2_grpc import StoreStub
from threadmill_protos.threads.v1.threads_pb2_grpc import ThreadsStub

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

    async def ask(self, method: grpc.aio.UnaryUnaryMultiCallable[Question, Answer], question: Question) -> Answer:
        """One answer within the deadline. Raises grpc.aio.AioRpcError, which `errors` maps to HTTP."""
        return await method(question, timeout=self.timeout_seconds, metadata=_metadata())

    def follow(
        self, method: grpc.aio.UnaryStreamMultiCallable[Question, Answer], question: Question
    ) -> grpc.aio.UnaryStreamCall[Question, Answer]:
        """A stream without deadline; whoever holds the call cancels it."""
        return method(question, metadata=_metadata())


def _metadata() -> tuple[tuple[str, str], ...]:
    request_id = REQUEST_ID.get()
    return (("x-request-id", request_id),) if request_id else ()


@asynccontextmanager
async def open_clients(settings: GatewaySettings) -> AsyncIterator[Clients]:
    """Channels to all services for the block. They connect when first used, so that the order of starts is free."""
    async with AsyncExitStack() as stack:

        async def channel(address: str) -> grpc.aio.Channel:
            return await stack.enter_async_context(open_channel(settings, address))

        runs = await channel(settings.runs_address)
        yield Clients(
            threads=ThreadsStub(await channel(settings.threads_address)),
            assistants=AssistantsStub(runs),
            runs=RunsStub(runs),
            crons=CronsStub(runs),
            graphs=GraphsStub(await channel(settings.executor_address)),
            store=StoreStub(await channel(settings.store_address)),
            timeout_seconds=settings.call_timeout_seconds,
        )
