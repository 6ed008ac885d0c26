"""One client's view of one thread's log."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from redis.exceptions import RedisError
from threadmill_chassis.errors import Unavailable
from threadmill_protos.runs.v1 import runs_pb2

from threadmill_runs.events.log import FIRST_PAGE_BATCHES, START, EventId, EventLog

# A client that reads slower than its run writes may lag so far before it has to re-read the log.
MAX_BUFFERED_BATCHES = 1000
MAX_BUFFERED_BYTES = 16 * 1024 * 1024
RETRY_SECONDS = 0.2
MAX_SEQ = 2**63 - 1

Positioned = list[tuple[EventId, runs_pb2.Event]]


class Subscription:
    """`next_events` gives each event after `position` once, in order.

    Batches come from Redis, once it has subscribed us (`request` asks it to), and, a little earlier or instead, from
    this replica itself, if it appended them. The latter count only where they continue what has come so far: ids of
    one attempt grow by one, so nothing can be in between. Where they do not, Redis tells the order, or the log does.
    """

    def __init__(self, event_log: EventLog, thread_id: str, request: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.thread_id = thread_id
        self.position: EventId | None = None
        self._log = event_log
        self._request = request
        self._page_batches = FIRST_PAGE_BATCHES
        self._live: deque[Positioned] = deque()
        self._live_bytes = 0
        # Id of the newest event that was taken or is waiting in `_live`.
        self._newest: EventId | None = None
        # The run of a client that has not asked Redis yet: only what this replica appends comes, from the beginning.
        self._local = False
        self._stale = False
        # The log has more than the page that was read last.
        self.behind = False
        self._ended = False
        self._confirmed = asyncio.Event()
        self._changed = asyncio.Event()

    def deliver(self, batch: Positioned, size_bytes: int) -> None:
        """Takes a live batch; when too much is waiting, forgets it in favour of the log."""
        if self._newest is not None and batch[-1][0] <= self._newest:
            return
        if self._live and (
            len(self._live) >= MAX_BUFFERED_BATCHES or self._live_bytes + size_bytes > MAX_BUFFERED_BYTES
        ):
            self._forget()
            self._stale = True
        self._live.append(batch)
        self._live_bytes += size_bytes
        self._newest = batch[-1][0]
        self._changed.set()

    def deliver_local(self, batch: Positioned, size_bytes: int, *, attached: bool) -> None:
        """Takes a batch that this replica has appended. `attached`: Redis is going to send it as well."""
        first = batch[0][0]
        if self._continues(first):
            if self._newest is None:  # where the log will be read from, should that become necessary
                self.position = EventId(first.epoch - 1, MAX_SEQ)
            self.deliver(batch, size_bytes)
        elif not attached:
            self._stale = True
            self._changed.set()

    def _continues(self, first: EventId) -> bool:
        if self._newest is None:
            return self._local and first.seq == 0
        return first.epoch == self._newest.epoch and first.seq <= self._newest.seq + 1

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
        self._local = False
        self._stale = True
        self._confirmed.set()
        self._changed.set()

    def start_local(self) -> None:
        """For a run that is yet to be created, and probably begins at this replica: `attach` has to follow soon."""
        self._local = True

    @property
    def is_local(self) -> bool:
        """Whether Redis has not been asked yet."""
        return self._local

    async def attach(self) -> None:
        """After `start_local`: asks Redis too; with its answer comes what was missed."""
        self._local = False
        await self._request()

    async def start_empty(self, patience_seconds: float) -> None:
        """Waits until live messages arrive; for a run that is yet to be created, of which the log knows nothing.

        If Redis is not there in time, they come later, after what the log holds by then.
        """
        await self._request()
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_seconds):
                await self._confirmed.wait()
                self._stale = False

    @property
    def is_current(self) -> bool:
        """Whether it has given all that the log held when it looked last."""
        return not (self._stale or self.behind)

    def look_back(self) -> None:
        """What is there already is in the log: it comes first."""
        self._stale = True
        self._changed.set()

    async def start(self, after: EventId | None) -> None:
        """Waits until live messages arrive; begins after the given event, or now."""
        await self._request()
        await self._confirmed.wait()
        self.position = after if after is not None else await self._log.newest(self.thread_id)
        self._newest = max(self._newest or self.position, self.position)

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
        try:
            page = await self._log.read(self.thread_id, self.position or START, self._page_batches)
        except (RedisError, OSError):
            self._stale = True
            await asyncio.sleep(RETRY_SECONDS)
            return []
        self.behind = page.more
        self._stale = self._stale or self.behind
        self._page_batches = page.next_batches
        if page.events and (last := EventId.parse(page.events[-1].id)) is not None:
            self.position = last
            self._newest = max(self._newest or last, last)
        return page.events

    def _take(self, batch: Positioned, into: list[runs_pb2.Event]) -> None:
        for event_id, event in batch:
            if self.position is None or event_id > self.position:
                self.position = event_id
                into.append(event)
