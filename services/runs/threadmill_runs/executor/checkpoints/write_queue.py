"""The writes of one run on their way to the threads service: in order, several to a call.

    idle ── enqueue ──► lingering ── 10 ms, or somebody waits ──► sending ──► idle, or lingering again
      └───────────────── submit, end, or much to send ──────────────▲

Who submits waits until the write is durable (durability `sync`, and savers outside a run). Who enqueues goes on at
once (`async`, `exit`) and learns of a failure from the next write or from `check`; nothing is sent after a write that
failed, so what is stored has no holes.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from enum import Enum, auto

import grpc
import structlog
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.threads.v1 import checkpoints_pb2, checkpoints_pb2_grpc, threads_pb2

from threadmill_runs.executor.checkpoints.errors import (
    CheckpointDeleted,
    LeaseLost,
    SaverClosed,
    ThreadDeleted,
    is_checkpoint_deleted,
    is_thread_deleted,
)
from threadmill_runs.executor.checkpoints.known_chunks import KnownChunks, Values
from threadmill_runs.executor.checkpoints.outages import CALL_TIMEOUT_SECONDS, through_outages
from threadmill_runs.executor.checkpoints.queued import Chunks, Ending, Op, Write, answer, fresh

log = structlog.get_logger(__name__)

# So long enqueued writes wait for company. The checkpoints of a short run travel in one call.
LINGER_SECONDS = 0.01
# As much as this does not wait for more.
HURRY_BYTES = 1024 * 1024
# Beyond this much that is not durable yet, who enqueues waits.
ROOM_BYTES = 16 * 1024 * 1024
_BATCH_BYTES = 32 * 1024 * 1024
# What an operation weighs besides its payload.
_OP_BYTES = 512


class _State(Enum):
    IDLE = auto()
    LINGERING = auto()
    SENDING = auto()


class WriteQueue:
    """`submit`, `enqueue`, `close` and the checks are for any thread; all else is for the control loop.

    An error goes to every caller of the call that failed. After FENCED, CHECKPOINT_GONE, `close`, or the failure of an
    enqueued write, every write fails locally.
    """

    def __init__(
        self,
        stub: "checkpoints_pb2_grpc.CheckpointsAsyncStub",  # a type of the stub file only
        control_loop: asyncio.AbstractEventLoop,
        *,
        fence: common_pb2.Fence | None,
        on_fenced: Callable[[], None] | None,
        before_write: Callable[[], Awaitable[None]] | None = None,
        known_chunks: KnownChunks | None = None,
    ) -> None:
        self._stub = stub
        self._known_chunks = known_chunks or KnownChunks()
        self._control_loop = control_loop
        self._fence = fence
        self._on_fenced = on_fenced
        self._before_write = before_write
        # Guards all that follows, but for the last three, which belong to the control loop.
        self._lock = threading.Lock()
        self._state = _State.IDLE
        self._waiting: deque[Write] = deque()
        self._place = 0  # of the write that came last
        self._urgent = 0  # up to this place, writes do not linger
        self._in_flight: list[Write] = []
        self._bytes = 0  # waiting and in flight
        self._room: list[Future[None]] = []
        self._ending: Ending | None = None
        self._refusal: Exception | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._sender: asyncio.Task[None] | None = None

    def submit(self, thread_id: str, op: Op, chunks: Chunks | None = None, base: Values | None = None) -> Future[None]:
        """Queues one operation, the chunks that it refers to, and the values that it leaves out as they are stored.

        Done when it is durable. LeaseLost, SaverClosed.
        """
        done: Future[None] = Future()
        self._append(thread_id, op, chunks or {}, base or {}, done)
        return done

    def enqueue(
        self, thread_id: str, op: Op, chunks: Chunks | None = None, base: Values | None = None
    ) -> Future[None] | None:
        """The same, to be written soon; the future, if there is one, is done when there is room for more.

        Also raises what an earlier write failed with.
        """
        self._append(thread_id, op, chunks or {}, base or {}, None)
        with self._lock:
            if self._bytes <= ROOM_BYTES:
                return None
            room: Future[None] = Future()
            self._room.append(room)
            return room

    def _append(self, thread_id: str, op: Op, chunks: Chunks, base: Values, done: Future[None] | None) -> None:
        size = _OP_BYTES + op.ByteSize() + sum(map(len, chunks.values()))
        with self._lock:
            if self._refusal is not None:
                raise fresh(self._refusal)
            self._place += 1
            self._waiting.append(Write(self._place, thread_id, op, chunks, base, size, done))
            self._bytes += size
            hurries = done is not None or self._bytes > HURRY_BYTES
            if hurries:
                self._urgent = self._place
            was, self._state = self._state, self._next_state(hurries)
            changed = self._state is not was
        if changed:
            self._control_loop.call_soon_threadsafe(self._start if hurries else self._linger)

    def _next_state(self, hurries: bool) -> _State:
        if self._state is _State.SENDING or hurries:
            return _State.SENDING
        return _State.LINGERING

    async def settled(self) -> None:
        """Returns when everything queued before this call has been answered, be it by an error."""
        place = self._place
        self._hurry()
        while self._is_open(place):
            waiter: asyncio.Future[None] = self._control_loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def _is_open(self, place: int) -> bool:
        with self._lock:
            return any(writes and writes[0].place <= place for writes in (self._in_flight, self._waiting))

    async def end(self, thread_id: str, end: threads_pb2.RunEnd) -> bool:
        """Ends the fence's run together with the last of what is queued; False if only the writes were taken.

        LeaseLost, SaverClosed, or what a write failed with.
        """
        ending = Ending(thread_id, end, Future())
        with self._lock:
            if self._refusal is not None:
                raise fresh(self._refusal)
            self._ending = ending
            starts, self._state = self._state is not _State.SENDING, _State.SENDING
        if starts:
            self._start()
        return await asyncio.wrap_future(ending.done)

    @property
    def failed(self) -> bool:
        """Whether a write was not stored, so that what callers wrote is not what is there."""
        return self._refusal is not None

    def check(self) -> None:
        """Raises LeaseLost or SaverClosed once they are known, or what an enqueued write failed with."""
        if self._refusal is not None:
            raise fresh(self._refusal)

    def check_fence(self) -> None:
        """Raises LeaseLost once the fence is known to be lost."""
        if isinstance(self._refusal, LeaseLost):
            raise fresh(self._refusal)

    def close(self) -> None:
        """Fails what still waits and every later write with SaverClosed; a call in flight goes on. From any thread."""
        self._refuse(SaverClosed("the run was abandoned; its checkpoints are no longer written"))

    def fenced(self) -> LeaseLost:
        """Notes that the fence is lost, tells the owner once, and gives the error to raise. On the control loop."""
        error = LeaseLost("another attempt has taken over the run; this one cannot write any more")
        if self._refuse(error) and self._on_fenced is not None:
            self._on_fenced()
        return error

    def _refuse(self, refusal: Exception) -> bool:
        with self._lock:
            if self._refusal is not None:
                return False
            self._refusal = refusal
            dropped, ending = list(self._waiting), self._ending
            self._waiting.clear()
            self._ending = None
        answer(dropped, ending, refusal)
        self._control_loop.call_soon_threadsafe(self._forget, dropped)
        return True

    # Sending, on the control loop

    def _linger(self) -> None:
        if self._state is _State.LINGERING and self._timer is None:
            self._timer = self._control_loop.call_later(LINGER_SECONDS, self._hurry)

    def _hurry(self) -> None:
        with self._lock:
            self._urgent = self._place
            if self._state is not _State.LINGERING:
                return
            self._state = _State.SENDING
        self._start()

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._sender = self._control_loop.create_task(self._send_all(), name="checkpoint-writes")

    async def _send_all(self) -> None:
        while self._is_due():
            writes: list[Write] = []
            ending: Ending | None = None
            try:
                # Before they are taken, so that the checkpoint of a step catches up with the writes of its tasks.
                if self._before_write is not None:
                    await self._before_write()
                writes, ending = self._take()
                await self._send(writes, ending)
            except asyncio.CancelledError:  # the process ends; callers must not wait for ever
                answer(writes, ending, SaverClosed("the executor is stopping"))
                self.close()
                raise
            finally:
                self._in_flight = []
                self._forget(writes)

    def _is_due(self) -> bool:
        """Whether something has to be sent now; otherwise leaves the state of sending."""
        with self._lock:
            if self._ending is None and (not self._waiting or self._waiting[0].place > self._urgent):
                self._state = _State.LINGERING if self._waiting else _State.IDLE
                self._linger()
                return False
            return True

    def _take(self) -> tuple[list[Write], Ending | None]:
        """What goes into the next call."""
        with self._lock:
            self._in_flight, size = self._batch()
            ending = None
            if self._ending is not None and not self._waiting and self._fits(self._ending, size):
                ending, self._ending = self._ending, None
        # A caller that was cancelled meanwhile no longer listens; its write is part of the history all the same.
        for write in self._in_flight:
            if write.done is not None:
                write.done.set_running_or_notify_cancel()
        if ending is not None and not ending.done.set_running_or_notify_cancel():
            ending = None
        return self._in_flight, ending

    def _batch(self) -> tuple[list[Write], int]:
        """The next writes that fit into one call: of one thread, and not too large together."""
        batch: list[Write] = []
        size = 0
        while self._waiting and (not batch or self._waiting[0].thread_id == batch[0].thread_id):
            size += self._waiting[0].size
            if batch and size > _BATCH_BYTES:
                break
            batch.append(self._waiting.popleft())
        return batch, size

    def _fits(self, ending: Ending, size: int) -> bool:
        if not self._in_flight:
            return True
        return self._in_flight[0].thread_id == ending.thread_id and size + ending.end.ByteSize() <= _BATCH_BYTES

    def _forget(self, writes: list[Write]) -> None:
        """These are answered: there is room for more, and whoever waited may look again."""
        with self._lock:
            self._bytes -= sum(write.size for write in writes)
            released: list[Future[None]] = []
            if self._bytes <= ROOM_BYTES or self._refusal is not None:
                released, self._room = self._room, []
        for room in released:
            if room.set_running_or_notify_cancel():
                room.set_result(None)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def _send(self, writes: list[Write], ending: Ending | None) -> None:
        if not writes and ending is None:
            return
        request = checkpoints_pb2.WriteCheckpointsRequest(
            thread_id=writes[0].thread_id if writes else ending.thread_id if ending else "",
            fence=self._fence,
            ops=[write.op for write in writes],
            end=ending.end if ending else None,
        )
        try:
            if self._before_write is not None:
                await self._before_write()  # again, for the events of what was queued during the first wait
                self.check()  # closed meanwhile: the events before this write may never arrive
            chunks = {key: data for write in writes for key, data in write.chunks.items()}
            base = {place: value for write in writes for place, value in write.base.items()}
            await self._known_chunks.write(self._call, request, chunks, base)
        except Exception as error:  # noqa: BLE001 - top of the loop: whatever it is, the callers wait for it
            await self._failed(writes, ending, error)
        else:
            answer(writes, ending, None)

    async def _failed(self, writes: list[Write], ending: Ending | None, error: Exception) -> None:
        if isinstance(error, grpc.aio.AioRpcError) and reason_of(error) == LeaseLost.reason:
            error = self.fenced()
        elif self._fence is not None and is_thread_deleted(error):
            error = ThreadDeleted()
        elif self._fence is not None and is_checkpoint_deleted(error):
            error = CheckpointDeleted()
        elif ending is not None:
            # Perhaps the end alone was at fault; then the runs api shall try it, and tell what is wrong with it.
            log.warning("run_end_not_taken", run_id=self._fence and self._fence.run_id, error=repr(error))
            ending.done.set_result(False)
            await self._send(writes, None)
            return
        # What builds on a checkpoint that could not be stored cannot be either, and must not be taken for stored.
        if isinstance(error, CheckpointDeleted) or any(write.done is None for write in writes):
            self._refuse(error)
        answer(writes, ending, error)

    async def _call(self, request: checkpoints_pb2.WriteCheckpointsRequest) -> checkpoints_pb2.WriteCheckpointsResponse:
        return await through_outages(lambda: self._stub.WriteCheckpoints(request, timeout=CALL_TIMEOUT_SECONDS))
