"""The gateway's ASGI app in front of scripted gRPC services, served for real over a unix socket."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp
from threadmill_chassis.grpc_server import Registration, serving
from threadmill_gateway.abandoned import AbandonedRuns
from threadmill_gateway.app import create_app
from threadmill_gateway.clients import open_clients
from threadmill_gateway.context import Gateway
from threadmill_gateway.metrics import HttpMetrics
from threadmill_gateway.server import make_server
from threadmill_gateway.settings import GatewaySettings
from threadmill_gateway.store_calls import StoreCalls
from threadmill_protos.runs.v1 import (
    assistants_pb2,
    assistants_pb2_grpc,
    crons_pb2_grpc,
    graphs_pb2_grpc,
    runs_pb2,
    runs_pb2_grpc,
)
from threadmill_protos.store.v1 import store_pb2, store_pb2_grpc
from threadmill_protos.threads.v1 import threads_pb2, threads_pb2_grpc

from .declared import is_declared

THREAD_ID = "01a20214-0000-7000-8000-000000000001"
RUN_ID = "01a20214-0000-7000-8000-000000000002"
ASSISTANT_ID = "01d10e59-d4b4-51ec-8e94-9b2716b34de8"
CHECKPOINT_ID = "1ef4f797-8335-6428-8001-8a1503f9b875"
STREAMS = frozenset({"StreamRun", "WaitRun", "StreamThread", "FollowThread", "GetHistory"})
# In a stream's script: the head of the answer leaves, after which gRPC itself does not repeat the call.
HEAD = object()
HOOKS = {"response": [is_declared]}
NOW = Timestamp(seconds=1_790_000_000, nanos=123_456_789)
NOW_TEXT = "2026-09-21T14:13:20.123456+00:00"


def thread_row(**changes: Any) -> threads_pb2.Thread:
    return threads_pb2.Thread(
        **{
            "thread_id": THREAD_ID,
            "create_time": NOW,
            "update_time": NOW,
            "state_update_time": NOW,
            "metadata_json": b'{"graph_id":"steps","assistant_id":"a"}',
            "config_json": b"{}",
            "state": threads_pb2.THREAD_STATE_IDLE,
            **changes,
        }
    )


def run_row(**changes: Any) -> runs_pb2.Run:
    return runs_pb2.Run(
        **{
            "run_id": RUN_ID,
            "thread_id": THREAD_ID,
            "assistant_id": ASSISTANT_ID,
            "state": runs_pb2.RUN_STATE_PENDING,
            "metadata_json": b"{}",
            "kwargs_json": b'{"resumable":false}',
            "create_time": NOW,
            "update_time": NOW,
            **changes,
        }
    )


def protocol_event(
    seq: int, method: str = "values", data: bytes = b'{"n":1}', **changes: Any
) -> runs_pb2.ProtocolEvent:
    """The event with this number; it stands in the log at `7-<number>`."""
    event_id = f"7-{seq}"
    told = {"id": event_id, "event_id": event_id, "seq": seq, "method": method, "data_json": data, "run_id": RUN_ID}
    return runs_pb2.ProtocolEvent(**{**told, "timestamp_ms": 1_790_000_000_123, **changes})


def followed(*events: runs_pb2.ProtocolEvent, position: str = "", live: bool = False) -> runs_pb2.FollowThreadResponse:
    """A message of a stream of a thread: its events, and how far it has come, by default to the last of them."""
    at = position or (events[-1].id if events else "")
    batch = runs_pb2.FollowThreadResponse.Batch(events=events)
    return runs_pb2.FollowThreadResponse(batch=batch, position=at, live=live)


def assistant_row(**changes: Any) -> assistants_pb2.Assistant:
    return assistants_pb2.Assistant(
        **{
            "assistant_id": ASSISTANT_ID,
            "graph_id": "steps",
            "config_json": b"{}",
            "context_json": b"{}",
            "metadata_json": b'{"created_by":"system"}',
            "name": "steps",
            "create_time": NOW,
            "update_time": NOW,
            "version": 1,
            **changes,
        }
    )


def item_row(**changes: Any) -> store_pb2.Item:
    return store_pb2.Item(
        **{
            "namespace": ["u1", "mem"],
            "key": "k1",
            "value_json": b'{"a":1}',
            "create_time": NOW,
            "update_time": NOW,
            **changes,
        }
    )


def stored(**result: Any) -> store_pb2.BatchResponse:
    return store_pb2.BatchResponse(results=[store_pb2.Result(**result)])


Behaviour = (
    Any  # a message, an exception, or a function of the request; for streams a list or an async generator function
)


@dataclass
class Script:
    """What the services answer by method, and what they were asked."""

    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    request_ids: list[str] = field(default_factory=list)

    def on(self, **behaviours: Behaviour) -> None:
        self.behaviours.update(behaviours)

    def last(self, method: str) -> Any:
        return [request for name, request in self.asked if name == method][-1]

    def names(self) -> list[str]:
        return [name for name, _ in self.asked]

    def _note(self, name: str, request: Any, context: Any) -> Behaviour:
        self.asked.append((name, request))
        self.request_ids += [value for key, value in context.invocation_metadata() if key == "x-request-id"]
        behaviour = self.behaviours.get(name, Empty())
        if isinstance(behaviour, Exception):
            raise behaviour
        return behaviour

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if not name[:1].isupper():
            raise AttributeError(name)
        return self._stream(name) if name in STREAMS else self._unary(name)

    def _unary(self, name: str) -> Callable[..., Any]:
        async def handler(request: Any, context: Any) -> Any:
            behaviour = self._note(name, request, context)
            return behaviour(request) if callable(behaviour) else behaviour

        return handler

    def _stream(self, name: str) -> Callable[..., Any]:
        async def handler(request: Any, context: Any) -> AsyncIterator[Any]:
            behaviour = self._note(name, request, context)
            if callable(behaviour):
                async for message in behaviour(request):
                    if message is HEAD:
                        await context.send_initial_metadata(())
                    else:
                        yield message
                return
            for message in behaviour:
                if isinstance(message, Exception):
                    raise message
                yield message

        return handler


class Hanging:
    """A stream that sends its first messages and then hangs until it is cancelled or released."""

    def __init__(self, *first: Any, then: tuple[Any, ...] = ()) -> None:
        self.first, self.then = first, then
        self.cancelled = asyncio.Event()
        self.released = asyncio.Event()

    async def __call__(self, _: Any) -> AsyncIterator[Any]:
        try:
            for message in self.first:
                yield message
            await self.released.wait()
            for message in self.then:
                yield message
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def settings(tmp_path: Path) -> GatewaySettings:
    address = f"unix:{tmp_path}/services.sock"
    return GatewaySettings(
        threads_address=address,
        store_address=address,
        runs_address=address,
        executor_address=address,
        call_timeout_seconds=5,
        shutdown_grace_seconds=0,
        http_drain_seconds=1,
    )


@asynccontextmanager
async def scripted_services(settings: GatewaySettings, script: Script) -> AsyncIterator[None]:
    """All services, as the script has them, for the block."""
    adders = {
        "threads": threads_pb2_grpc.add_ThreadsServicer_to_server,
        "runs": runs_pb2_grpc.add_RunsServicer_to_server,
        "assistants": assistants_pb2_grpc.add_AssistantsServicer_to_server,
        "crons": crons_pb2_grpc.add_CronsServicer_to_server,
        "graphs": graphs_pb2_grpc.add_GraphsServicer_to_server,
        "store": store_pb2_grpc.add_StoreServicer_to_server,
    }

    def add(server: grpc.aio.Server) -> None:
        for adder in adders.values():
            adder(script, server)  # type: ignore[operator]  # a script answers for every servicer

    async with serving(settings, settings.threads_address, [Registration("fake", add)]):
        yield


@pytest.fixture
async def services(settings: GatewaySettings, script: Script) -> AsyncIterator[Script]:
    async with scripted_services(settings, script):
        yield script


async def resolve_public(host: str, _: int) -> list[str]:
    """A resolver that knows four hosts, without DNS."""
    known = {"example.com": ["93.184.216.34"], "sneaky.example.com": ["127.0.0.1"], "[::1]": ["::1"]}
    if host in known:
        return known[host]
    if host.replace(".", "").isdigit() or ":" in host:
        return [host]
    raise OSError("unknown name")


@asynccontextmanager
async def open_gateway(settings: GatewaySettings) -> AsyncIterator[Gateway]:
    async with open_clients(settings) as clients:
        yield Gateway(
            settings=settings,
            clients=clients,
            store_calls=StoreCalls(clients),
            abandoned=AbandonedRuns(clients),
            metrics=HttpMetrics(),
            closing=asyncio.Event(),
            resolve=resolve_public,
        )


@pytest.fixture
async def gateway(settings: GatewaySettings, services: Script) -> AsyncIterator[Gateway]:
    async with open_gateway(settings) as opened:
        yield opened


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """Requests straight into the app: whole responses only."""
    transport = httpx.ASGITransport(create_app(gateway))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", event_hooks=HOOKS) as opened:
        yield opened


@asynccontextmanager
async def live_client(gateway: Gateway, folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Requests through a real HTTP server, for streams and disconnects. Leaving the block shuts the server down."""
    server = make_server(create_app(gateway), gateway.settings, gateway.closing)
    server.config.uds = str(folder / "http.sock")
    serve = asyncio.create_task(server.serve())
    while not server.started:
        assert not serve.done()
        await asyncio.sleep(0)
    transport = httpx.AsyncHTTPTransport(uds=server.config.uds)
    async with httpx.AsyncClient(
        transport=transport, base_url="http://gateway", timeout=10, event_hooks=HOOKS
    ) as opened:
        try:
            yield opened
        finally:
            server.should_exit = True
            await serve


@pytest.fixture
async def live(gateway: Gateway, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with live_client(gateway, tmp_path) as opened:
        yield opened
