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
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_runs.events.log import EventId, EventLog, LogKeys, decode

log = structlog.get_logger(__name__)

# A client that reads slower than its run writes may lag so many batches before it has to re-read the log.
MAX_BUFFERED_BATCHES = 1000
RECONNECT_SECONDS = 0.2

Positioned = list[tuple[EventId, runs_pb2.Event]]


class Subscription:
    """One client's view of one thread's log; `next_events` gives each event after `position` once, in order."""

    def __init__(self, event_log: EventLog, thread_id: str) -> None:
        self.thread_id = thread_id
        self.position: EventId | None = None
        self._log = event_log
        self._live: deque[Positioned] = deque()
        self._stale = False
        self._confirmed = asyncio.Event()
        self._changed = asyncio.Event()

    def deliver(self, batch: Positioned) -> None:
        """Takes a live batch; when too many are waiting, forgets them in favour of the log."""
        if len(self._live) >= MAX_BUFFERED_BATCHES:
            self._live.clear()
            self._stale = True
        self._live.append(batch)
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
        """Events that came since the last call; empty after `timeout` seconds without any."""
        if not self._live and not self._stale:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._changed.wait()
        self._changed.clear()
        if self._stale:
            return await self._catch_up()
        fresh: list[runs_pb2.Event] = []
        while self._live:
            self._take(self._live.popleft(), fresh)
        return fresh

    async def _catch_up(self) -> list[runs_pb2.Event]:
        self._stale = False
        position = self.position or EventId(0, 0)
        try:
            events = await self._log.read(self.thread_id, position)
        except RedisError:
            self._stale = True
            await asyncio.sleep(RECONNECT_SECONDS)
            return []
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
        self._pubsub: PubSub | None = None
        self._ready = asyncio.Event()

    @asynccontextmanager
    async def subscribe(self, thread_id: str) -> AsyncIterator[Subscription]:
        """A subscription for the block; call its `start` before reading."""
        subscription = Subscription(self._log, thread_id)
        channel = LogKeys(thread_id).channel
        watchers = self._subscriptions.setdefault(channel, set())
        watchers.add(subscription)
        try:
            # Redis confirms also a repeated subscribe, which marks all watchers of the channel as stale: harmless.
            await self._send("subscribe", channel)
            yield subscription
        finally:
            watchers.discard(subscription)
            if not watchers and self._subscriptions.get(channel) is watchers:
                del self._subscriptions[channel]
                await self._send("unsubscribe", channel)

    async def _send(self, command: str, channel: str) -> None:
        pubsub = self._pubsub
        if pubsub is None:  # down at the moment: `listen` subscribes all channels when it is back
            return
        with suppress(RedisError, OSError):
            await getattr(pubsub, command)(channel)

    async def listen(self) -> None:
        """Receives for ever; after a lost connection subscribes again, which makes all subscriptions catch up."""
        while True:
            try:
                await self._listen_once()
            except (RedisError, OSError) as error:
                log.warning("event_hub_reconnecting", error=repr(error))
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen_once(self) -> None:
        async with self._redis.pubsub() as pubsub:
            # A channel that nobody publishes on keeps the connection subscribed while no client watches.
            await pubsub.subscribe("threadmill:hub", *self._subscriptions)
            self._pubsub = pubsub
            try:
                while True:
                    self._dispatch(await pubsub.get_message(timeout=None))
            finally:
                self._pubsub = None

    def _dispatch(self, message: dict[str, Any] | None) -> None:
        if message is None:
            return
        watchers = self._subscriptions.get(message["channel"].decode(), ())
        if message["type"] == "subscribe":
            for subscription in watchers:
                subscription.confirm()
        elif message["type"] == "message" and watchers:
            batch = decode(message["data"])
            for subscription in watchers:
                subscription.deliver(batch)
