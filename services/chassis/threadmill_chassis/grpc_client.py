"""Channels between services: keep-alive, size limits and retries of calls that never reached the peer."""

import json

import grpc

from threadmill_chassis.grpc_server import KEEPALIVE
from threadmill_chassis.settings import ProcessSettings

# Every write of our contracts is idempotent or fenced, so a call that the peer could not take may go again.
RETRY = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                # A peer that restarts is waited for, until the call's deadline.
                "waitForReady": True,
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.2s",
                    "maxBackoff": "3s",
                    "backoffMultiplier": 3,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)


def open_channel(settings: ProcessSettings, address: str) -> grpc.aio.Channel:
    """A channel to `address` (`host:port`, `dns:///name:port` or `unix:/path`); connects when first used."""
    limit = settings.grpc_max_message_bytes
    return grpc.aio.insecure_channel(
        address,
        options=[
            *KEEPALIVE,
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit),
            ("grpc.service_config", RETRY),
            ("grpc.enable_retries", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1_000),
        ],
    )
