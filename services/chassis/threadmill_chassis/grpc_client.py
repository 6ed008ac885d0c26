"""Channels between services: keep-alive, size limits, and what a call does while its peer is away."""

import json
from collections.abc import Collection

import grpc

from threadmill_chassis.grpc_server import KEEPALIVE
from threadmill_chassis.settings import ProcessSettings
from threadmill_chassis.shared_calls.channel import SharedChannel

# Every write of our contracts is idempotent or fenced, so a call that the peer could not take may go again:
# after 0.2, 0.8, 2.6 and 5.6 seconds (each pause up to a fifth shorter or longer; gRPC allows five attempts).
RETRY_POLICY = {
    "maxAttempts": 5,
    "initialBackoff": "0.2s",
    "maxBackoff": "3s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def open_channel(
    settings: ProcessSettings, address: str, *, patient: bool = True, shared_streams: Collection[str] = ()
) -> grpc.aio.Channel:
    """A channel to `address` (`host:port`, `dns:///name:port` or `unix:/path`); connects when first used.

    A patient one waits for a peer that is away until the call's deadline. An impatient one bridges a restart, but fails
    with UNAVAILABLE after five to seven seconds; single calls may still ask to wait (`wait_for_ready=True`).
    Small calls share a stream, those of `shared_streams` (methods with few answers) too; see shared_calls.
    """
    limit = settings.grpc_max_message_bytes
    channel = grpc.aio.insecure_channel(
        address,
        options=[
            *KEEPALIVE,
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit),
            ("grpc.service_config", _service_config(patient)),
            ("grpc.enable_retries", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1_000),
        ],
    )
    if not settings.shared_calls:
        return channel
    return SharedChannel(channel, address, limit, shared_streams)


def _service_config(patient: bool) -> str:
    every_method = {"name": [{}], "waitForReady": patient, "retryPolicy": RETRY_POLICY}
    # An executor's streams are repeated by whoever writes them, from what was acknowledged. gRPC's own retry
    # of a stream can lose messages that are written while it waits: an outcome was seen to arrive without its events.
    executors = {"name": [{"service": "threadmill.runs.v1.Executors"}], "waitForReady": patient}
    # Nor does it repeat the stream that calls share; it is opened as soon as its server is there.
    calls = {"name": [{"service": "threadmill.common.v1.Calls"}], "waitForReady": True}
    return json.dumps({"methodConfig": [every_method, executors, calls]})
