"""A gRPC server with health, reflection and error mapping, bound to TCP or a unix socket."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from threadmill_protos.common.v1 import calls_pb2_grpc

from threadmill_chassis.errors import DomainError
from threadmill_chassis.grpc_errors import ErrorInterceptor
from threadmill_chassis.settings import ProcessSettings
from threadmill_chassis.shared_calls.server import Recorder, SharedCalls

log = structlog.get_logger(__name__)

# What a handler gets beside its request; only `grpc.aio` servers exist here.
Context = Any

# Pings find dead peers within half a minute; the server must permit what its clients do.
KEEPALIVE = [("grpc.keepalive_time_ms", 20_000), ("grpc.keepalive_timeout_ms", 10_000)]
SERVER_OPTIONS = [
    *KEEPALIVE,
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.so_reuseport", 0),
]


class AddressInUse(DomainError):
    """Something else listens on the address that a server was told to use."""

    reason = "ADDRESS_IN_USE"


@dataclass(frozen=True, slots=True)
class Registration:
    """One service to serve: its full proto name and the function that adds its servicer to a server."""

    name: str
    add_to: Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Server:
    """A server that serves."""

    grpc: grpc.aio.Server
    calls: SharedCalls

    async def stop(self, grace_seconds: float) -> None:
        """Takes no more calls, and ends when those under way have, or after the grace period. May be repeated."""
        self.calls.go_away()
        await self.grpc.stop(grace_seconds)


@asynccontextmanager
async def serving(
    settings: ProcessSettings, address: str, registrations: Sequence[Registration]
) -> AsyncIterator[Server]:
    """Serves on `address` (`host:port` or `unix:/path`) until the block ends; then drains for the grace period.

    Raises AddressInUse.
    """
    limit = settings.grpc_max_message_bytes
    options = [*SERVER_OPTIONS, ("grpc.max_receive_message_length", limit), ("grpc.max_send_message_length", limit)]
    server = grpc.aio.server(interceptors=[ErrorInterceptor()], options=options)
    checker = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checker, server)
    recorder = Recorder(server)
    for registration in registrations:
        registration.add_to(recorder)
    calls = SharedCalls(recorder.handlers, limit)
    calls_pb2_grpc.add_CallsServicer_to_server(calls, server)
    names = [registration.name for registration in registrations]
    reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise AddressInUse(f"cannot listen on {address}: it is in use or not permitted") from error
    await server.start()
    for name in ["", *names]:
        await checker.set(name, health_pb2.HealthCheckResponse.SERVING)
    log.info("serving", address=address, services=names)
    serving_server = Server(server, calls)
    try:
        yield serving_server
    finally:
        await checker.enter_graceful_shutdown()
        await serving_server.stop(settings.shutdown_grace_seconds)
