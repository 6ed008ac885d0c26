"""Fan-out: one Redis connection per replica receives the batches of all threads that its clients watch.

Pub/sub delivers fast but forgets; the log remembers. A subscription therefore reads the log whenever it may have
missed something (at the start, after a reconnection, after falling behind), and takes live messages otherwise.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError
from threadmill_chassis.errors import Unavailable
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_runs.events.log import EventId, EventLog, LogKeys, decode

log = structlog.get_logger(__name__)

# A client that reads slower than its run writes may lag so far before it has to re-read the log.
MAX_BUFFERED_BATCHES = 1000
MAX_BUFFERED_BYTES = 16 * 1024 * 1024
RECONNECT_SECONDS = 0.2
SILENCE_SECONDS = 15.0  # without any message; then Redis is asked whether it still lives

Positioned = list[tuple[EventId, runs_pb2.Event]]


class Subscription:
    """One client's view of one thread's log; `next_events` gives each event after `position` once, in order."""

    def __init__(self, event_log: EventLog, thread_id: str) -> None:
        self.thread_id = thread_id
        self.position: EventId | None = None
        self._log = event_log
        self._live: deque[Positioned] = deque()
        self._live_bytes = 0
        self._stale = False
        # The log has more than the page that was read last.
        self.behind = False
        self._ended = False
        self._confirmed = asyncio.Event()
        self._changed = asyncio.Event()

    def deliver(self, batch: Positioned, size_bytes: int) -> None:
        """Takes a live batch; when too much is waiting, forgets it in favour of the log."""
        if self._live and (
            len(self._live) >= MAX_BUFFERED_BATCHES or self._live_bytes + size_bytes > MAX_BUFFERED_BYTES
        ):
            self._forget()
            self._stale = True
        self._live.append(batch)
        self._live_bytes += size_bytes
        self._changed.set()

    def _forget(self) -> None:
        self._live.clear()
        self._live_bytes = 0

    def end(self) -> None:
        """The replica stops: whoever reads is told to go on elsewhere."""
        self._ended = True
        self._confirmed.set()
        self._changed.set()

    def confirm(self) -> None:
        """Redis has (again) subscribed us: messages before this moment may have been missed."""
        self._stale = True
        self._confirmed.set()
        self._changed.set()

    async def start_empty(self) -> None:
        """Waits until live messages arrive; for a run that is yet to be created, of which the log knows nothing."""
        await self._confirmed.wait()
        self._stale = False

    async def start(self, after: EventId | None) -> None:
        """Waits until live messages arrive; begins after the given event, or now."""
        await self._confirmed.wait()
        self.position = after if after is not None else await self._log.newest(self.thread_id)

    async def next_events(self, timeout: float) -> list[runs_pb2.Event]:
        """Events that came since the last call; empty after `timeout` seconds without any.

        Raises Unavailable when this replica is about to stop.
        """
        if not (self._live or self._stale or self._ended):
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._changed.wait()
        self._changed.clear()
        if self._stale:
            return await self._catch_up()
        fresh: list[runs_pb2.Event] = []
        for batch in self._live:
            self._take(batch, fresh)
        self._forget()
        if self._ended and not fresh:
            raise Unavailable("this replica is about to stop")
        return fresh

    async def _catch_up(self) -> list[runs_pb2.Event]:
        self._stale = self.behind = False
        position = self.position or EventId(0, 0)
        try:
            events, self.behind = await self._log.read(self.thread_id, position)
        except (RedisError, OSError):
            self._stale = True
            await asyncio.sleep(RECONNECT_SECONDS)
            return []
        self._stale = self._stale or self.behind
        if events:
            self.position = EventId.parse(events[-1].id)
        return events

    def _take(self, batch: Positioned, into: list[runs_pb2.Event]) -> None:
        for event_id, event in batch:
            if self.position is None or event_id > self.position:
                self.position = event_id
                into.append(event)


class Hub:
    """The subscriptions of a replica, and the one connection that feeds them."""

    def __init__(self, redis: Redis, event_log: EventLog) -> None:
        self._redis = redis
        self._log = event_log
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._connection: AbstractConnection | None = None
        self._stopped = False

    def stop(self) -> None:
        """Ends all subscriptions, and those that are still to come, once they have given what they hold."""
        self._stopped = True
        for watchers in self._subscriptions.values():
            for subscription in watchers:
                subscription.end()

    @asynccontextmanager
    async def subscribe(self, thread_id: str) -> AsyncIterator[Subscription]:
        """A subscription for the block; call its `start` before reading."""
        subscription = Subscription(self._log, thread_id)
        channel = LogKeys(thread_id).channel
        watchers = self._subscriptions.setdefault(channel, set())
        watchers.add(subscription)
        if self._stopped:
            subscription.end()
        try:
            # Redis confirms also a repeated subscribe, which marks all watchers of the channel as stale: harmless.
            await self._send("SUBSCRIBE", channel)
            yield subscription
        finally:
            watchers.discard(subscription)
            if not watchers and self._subscriptions.get(channel) is watchers:
                del self._subscriptions[channel]
                await self._send("UNSUBSCRIBE", channel)

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
        connection = self._redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]  # has no types  # type: ignore[no-untyped-call]  # redis-py
        await connection.connect()
        self._connection = connection
        try:
            # A channel that nobody publishes on keeps the connection subscribed while no client watches.
            await connection.send_command("SUBSCRIBE", "threadmill:hub", *self._subscriptions, check_health=False)
            while True:
                self._dispatch(await self._receive(connection))
        finally:
            self._connection = None
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
        kind, channel, *content = message if len(message) > 1 else (b"pong", b"")
        watchers = self._subscriptions.get(channel.decode(), ())
        if kind == b"subscribe":
            for subscription in watchers:
                subscription.confirm()
        elif kind == b"message" and watchers:
            batch = decode(content[0])
            for subscription in watchers:
                subscription.deliver(batch, len(content[0]))
