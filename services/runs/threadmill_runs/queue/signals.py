"""Hints between replicas over Redis: work is there, a run is to be stopped.

Only hints: what they say is in Postgres already, and the dispatcher's slow poll and the heartbeats find it without
them. So a hint that cannot be sent is logged and forgotten.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError
from threadmill_chassis.ids import new_id

log = structlog.get_logger(__name__)

WAKE_CHANNEL = "threadmill:wake"
STOP_CHANNEL = "threadmill:stop"
RECONNECT_SECONDS = 0.5


class Signals:
    """Sends hints, and calls back for those that arrive (also for a replica's own)."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        # Wakes this replica's dispatcher for a graph (None: any); answers whether it can take a run of it at once.
        self.on_wake: Callable[[str | None], bool] = lambda graph_id: False
        self.on_stop: Callable[[str], object] = lambda run_id: None
        # Runs that were queued here so far. An end that does not see a run, because both are written at the same time,
        # sees that there was one.
        self.queued_count = 0
        # Stops are told apart by it: one's own comes back from Redis when the run may be over already.
        self._sender = new_id()

    async def queued(self, graph_id: str) -> None:
        """A run has been put into the queue here."""
        self.queued_count += 1
        await self.wake(graph_id)

    async def wake(self, graph_id: str | None = None) -> None:
        """A run has become runnable. Other replicas need to know only if this one has no executor for it."""
        if not self.on_wake(graph_id):
            await self._publish(WAKE_CHANNEL, "")

    async def stop(self, run_id: str) -> None:
        """A running run is to be cancelled, or is gone."""
        self.on_stop(run_id)
        await self._publish(STOP_CHANNEL, f"{self._sender} {run_id}")

    async def _publish(self, channel: str, text: str) -> None:
        try:
            await self._redis.publish(channel, text)
        except (RedisError, OSError) as error:
            log.warning("hint_not_sent", channel=channel, error=repr(error))

    async def listen(self) -> None:
        """Receives for ever, across lost connections."""
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(WAKE_CHANNEL, STOP_CHANNEL)
                    while True:
                        self._dispatch(await pubsub.get_message(timeout=None))
            except (RedisError, OSError) as error:
                log.warning("hints_reconnecting", error=repr(error))
                await asyncio.sleep(RECONNECT_SECONDS)

    def _dispatch(self, message: dict[str, Any] | None) -> None:
        if message is None or message["type"] != "message":
            return
        if message["channel"] == WAKE_CHANNEL.encode():
            self.on_wake(None)
            return
        sender, _, run_id = message["data"].decode().partition(" ")
        if sender != self._sender:
            self.on_stop(run_id)
