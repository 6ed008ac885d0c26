"""Fan-out: one Redis connection per replica receives the batches of all threads that its clients watch.

Pub/sub delivers fast but forgets; the log remembers. A subscription therefore reads the log whenever it may have
missed something (at the start, after a reconnection, after falling behind), and takes live messages otherwise.
What this replica appends itself reaches its watchers without the way through Redis.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_runs.events.log import EventId, EventLog, LogKeys, decode
from threadmill_runs.events.subscription import Subscription

log = structlog.get_logger(__name__)

RECONNECT_SECONDS = 0.2
SILENCE_SECONDS = 15.0  # without any message; then Redis is asked whether it still lives


@dataclass(eq=False, slots=True)
class Channel:
    """What this replica knows of one thread's channel."""

    name: str
    watchers: set[Subscription] = field(default_factory=set)
    # Redis was asked to subscribe us; it has done so, and the connection has lasted since.
    requested: bool = False
    attached: bool = False


class Hub:
    """The subscriptions of a replica, and the one connection that feeds them."""

    def __init__(self, redis: Redis, event_log: EventLog) -> None:
        self._redis = redis
        self._log = event_log
        self._channels: dict[str, Channel] = {}
        self._connection: AbstractConnection | None = None
        self._stopped = False

    def stop(self) -> None:
        """Ends all subscriptions, and those that are still to come, once they have given what they hold."""
        self._stopped = True
        for channel in self._channels.values():
            for subscription in channel.watchers:
                subscription.end()

    @asynccontextmanager
    async def subscribe(self, thread_id: str) -> AsyncIterator[Subscription]:
        """A subscription for the block; call one of its `start` methods before reading."""
        name = LogKeys(thread_id).channel
        channel = self._channels.setdefault(name, Channel(name))
        subscription = Subscription(self._log, thread_id, partial(self._request, channel))
        channel.watchers.add(subscription)
        if self._stopped:
            subscription.end()
        try:
            yield subscription
        finally:
            channel.watchers.discard(subscription)
            if not channel.watchers and self._channels.get(name) is channel:
                del self._channels[name]
                if channel.requested:
                    await self._send("UNSUBSCRIBE", name)

    def appended(self, thread_id: str, first: EventId, events: Sequence[runs_pb2.Event]) -> None:
        """To be called for every batch that this replica appends. The events have their ids."""
        channel = self._channels.get(LogKeys(thread_id).channel)
        if channel is None:
            return
        batch = [(EventId(first.epoch, first.seq + offset), event) for offset, event in enumerate(events)]
        size_bytes = sum(len(event.data_json) for event in events)
        for subscription in channel.watchers:
            subscription.deliver_local(batch, size_bytes, attached=channel.attached)

    async def _request(self, channel: Channel) -> None:
        if not channel.watchers:  # they have gone meanwhile
            return
        # Redis confirms also a repeated subscribe, which marks all watchers of the channel as stale: harmless.
        channel.requested = True
        await self._send("SUBSCRIBE", channel.name)

    async def _send(self, command: str, channel: str) -> None:
        if self._connection is None:  # down at the moment: `listen` subscribes all channels when it is back
            return
        with suppress(RedisError, OSError):  # `listen` notices too
            await self._connection.send_command(command, channel, check_health=False)

    async def listen(self) -> None:
        """Receives for ever; after a lost connection subscribes again, which makes all subscriptions catch up."""
        while True:
            try:
                await self._listen_once()
            except (RedisError, OSError) as error:
                log.warning("event_hub_reconnecting", error=repr(error))
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen_once(self) -> None:
        # A bare connection: redis-py's PubSub would mend a broken one by itself, from the sender's side and from the
        # reader's at once.
        connection = self._redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py
        await connection.connect()
        self._connection = connection
        try:
            for channel in self._channels.values():
                channel.requested = True
            # A channel that nobody publishes on keeps the connection subscribed while no client watches.
            await connection.send_command("SUBSCRIBE", "threadmill:hub", *self._channels, check_health=False)
            while True:
                self._dispatch(await self._receive(connection))
        finally:
            self._connection = None
            for channel in self._channels.values():
                channel.attached = False
            await connection.disconnect(nowait=True)

    async def _receive(self, connection: AbstractConnection) -> list[Any]:
        message = await connection.read_response(timeout=SILENCE_SECONDS, push_request=True)
        if message is None:  # a peer that has vanished sends no word of it
            await connection.send_command("PING", check_health=False)
            message = await connection.read_response(timeout=SILENCE_SECONDS, push_request=True)
        if message is None:
            raise ConnectionError("Redis does not answer")
        return message if isinstance(message, list) else [message]

    def _dispatch(self, message: list[Any]) -> None:
        kind, name, *content = message if len(message) > 1 else (b"pong", b"")
        channel = self._channels.get(name.decode())
        if channel is None:
            return
        if kind == b"subscribe":
            channel.attached = True
            for subscription in channel.watchers:
                subscription.confirm()
        elif kind == b"message":
            batch = decode(content[0])
            for subscription in channel.watchers:
                subscription.deliver(batch, len(content[0]))
