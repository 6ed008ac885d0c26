"""Events on their way from a user loop to the control loop: batched, in order, and bounded."""

import asyncio
from collections import deque
from concurrent.futures import Future
from contextlib import suppress

from threadmill_protos.runs.v1 import executors_pb2

# Beyond this much that the runs api has not acknowledged, the graph waits with its next event.
MAX_PENDING_BYTES = 8 * 1024 * 1024
MAX_PENDING_EVENTS = 5_000
MAX_BATCH_EVENTS = 500
MAX_BATCH_BYTES = 4 * 1024 * 1024


class Outbox:
    """`put` and `room` are for the user loop; all else is for the control loop."""

    def __init__(self, control_loop: asyncio.AbstractEventLoop, *, after: int = 0) -> None:
        self._control = control_loop
        self._fresh: deque[executors_pb2.ReportedEvent] = deque()
        self._seq = after  # of the last event that was put
        self._signalled = False
        self._arrived = asyncio.Event()
        # Two threads count, each its own totals: `+=` on a shared attribute would lose updates between them.
        self._put_bytes = 0
        self._acked_bytes = 0
        self._acked_events = after
        self._room: Future[None] | None = None
        self._closed = False
        self._waiting: list[asyncio.Future[None]] = []
        self._gathering: asyncio.Future[None] | None = None
        self._gathered_long_enough = False
        self._taken_events = after

    @property
    def last_seq(self) -> int:
        """Number of the event that was put last."""
        return self._seq

    @property
    def closed(self) -> bool:
        """Whether the attempt has been told to stop: what its graph raises from now on is no news."""
        return self._closed

    def put(self, name: str, data_json: bytes, timestamp_ms: int = 0) -> None:
        """Sends an event. `timestamp_ms`: of an event of the thread-streaming protocol, when it arose."""
        self._seq += 1
        self._fresh.append(
            executors_pb2.ReportedEvent(seq=self._seq, name=name, data_json=data_json, timestamp_ms=timestamp_ms)
        )
        self._put_bytes += len(data_json)
        if not self._signalled:
            self._signalled = True
            self._control.call_soon_threadsafe(self._arrived.set)

    async def room(self) -> None:
        """Waits while too much is unacknowledged."""
        if self._full() and not self._closed:
            room: Future[None] = Future()
            self._room = room
            if not self._full():  # acknowledged in between
                return
            await asyncio.wrap_future(room)

    def pending(self) -> tuple[int, int]:
        """Events, and their bytes, that have been put but not acknowledged."""
        return self._seq - self._acked_events, self._put_bytes - self._acked_bytes

    def _full(self) -> bool:
        events, size = self.pending()
        return size > MAX_PENDING_BYTES or events > MAX_PENDING_EVENTS

    async def arrival(self) -> None:
        """Waits until there is something to take, or `hurry` says that nothing will come."""
        await self._arrived.wait()

    async def arrival_soon(self, seconds: float) -> None:
        """As `arrival`, but no longer than this."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.arrival()

    async def gather(self, seconds: float) -> None:
        """Waits at least so long for events to come together, and until what was taken before is acknowledged.

        So batches are small where they travel fast, and grow with the load. Returns at once if somebody waits for the
        events that are there.
        """
        if self._waiting:
            return
        gathering = self._gathering = self._control.create_future()
        self._gathered_long_enough = False
        end = self._control.call_later(seconds, self._gathered)
        try:
            await gathering
        finally:
            end.cancel()

    def _gathered(self) -> None:
        self._gathered_long_enough = True
        self._end_gathering()

    def _end_gathering(self) -> None:
        if self._gathering is not None and self._gathered_long_enough and self._taken_events <= self._acked_events:
            _resolve(self._gathering)

    def hurry(self) -> None:
        """Ends the waiting of `arrival` and `gather`."""
        self._arrived.set()
        if self._gathering is not None:
            _resolve(self._gathering)

    def take(self) -> list[executors_pb2.ReportedEvent]:
        """What has come since the last call, as one batch of bounded length."""
        self._signalled = False
        self._arrived.clear()
        batch: list[executors_pb2.ReportedEvent] = []
        size = 0
        while self._fresh and len(batch) < MAX_BATCH_EVENTS and size < MAX_BATCH_BYTES:
            batch.append(self._fresh.popleft())
            size += len(batch[-1].data_json)
        self._taken_events += len(batch)
        if self._fresh:
            self._arrived.set()
        return batch

    def acknowledge(self, batch: list[executors_pb2.ReportedEvent]) -> None:
        """The batch is durable: there is room for more."""
        self._acked_bytes += sum(len(event.data_json) for event in batch)
        self._acked_events += len(batch)
        if not self._full():
            self._release()
        self._end_gathering()
        self._tell_waiting()

    async def delivered(self) -> None:
        """Waits until everything that was put before this call is durable.

        A checkpoint is written after the events of its step. So when an executor dies, a step whose events are lost
        is executed, and seen, again; it is never skipped over.
        """
        put = self._seq
        while self._acked_events < put and not self._closed:
            waiter = self._control.create_future()
            self._waiting.append(waiter)
            if self._gathering is not None:
                _resolve(self._gathering)
            await waiter

    def _tell_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            _resolve(waiter)

    def close(self) -> None:
        """Nobody takes events any more; the graph must not wait for room."""
        self._closed = True
        self._release()
        self._tell_waiting()

    def _release(self) -> None:
        room, self._room = self._room, None
        if room is not None and not room.done():
            room.set_result(None)


def _resolve(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
