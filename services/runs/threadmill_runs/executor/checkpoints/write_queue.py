"""The writes of one run on their way to the threads service: in order, several to a call."""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_exponential, wait_random
from threadmill_chassis.grpc_errors import reason_of
from threadmill_protos.common.v1 import common_pb2
from threadmill_protos.threads.v1 import checkpoints_pb2, checkpoints_pb2_grpc

from threadmill_runs.executor.checkpoints.errors import LeaseLost, SaverClosed
from threadmill_runs.executor.checkpoints.known_chunks import KnownChunks

Op = checkpoints_pb2.WriteCheckpointsRequest.Op

# A call also waits for a threads service that restarts; every write is idempotent, so the channel may repeat it.
CALL_TIMEOUT_SECONDS = 60.0
# So long a run waits for the service or its database to come back, as long as it keeps its lease.
OUTAGE_SECONDS = 300.0
_BATCH_BYTES = 32 * 1024 * 1024
T = TypeVar("T")


@dataclass(slots=True)
class _Write:
    thread_id: str
    op: Op
    chunks: Mapping[bytes, bytes]
    done: Future[None] = field(default_factory=Future)


class WriteQueue:
    """Sends what arrives while a call is in flight, or in the same tick, as one call, in order.

    Callers wait until their own operation is durable; an error goes to every caller of the call that failed. The
    queue holds at most what callers are waiting for. After FENCED, or `close`, every write fails locally.
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
        self._lock = threading.Lock()
        self._waiting: deque[_Write] = deque()
        self._last: Future[None] | None = None
        self._sending = False
        self._refusal: LeaseLost | SaverClosed | None = None
        self._sender: asyncio.Task[None] | None = None

    def submit(self, thread_id: str, op: Op, chunks: Mapping[bytes, bytes] | None = None) -> Future[None]:
        """Queues one operation and the chunks that it refers to, from any thread; the future is done when it is
        durable. LeaseLost, SaverClosed."""
        write = _Write(thread_id, op, chunks or {})
        with self._lock:
            if self._refusal is not None:
                raise _copy(self._refusal)
            self._waiting.append(write)
            self._last = write.done
            wake = not self._sending
            self._sending = True
        if wake:
            self._control_loop.call_soon_threadsafe(self._start)
        return write.done

    async def settled(self) -> None:
        """Returns when everything queued before this call has been answered. On the control loop."""
        last = self._last
        if last is None or last.done():
            return
        answered = asyncio.Event()
        last.add_done_callback(lambda _: self._control_loop.call_soon_threadsafe(answered.set))
        await answered.wait()

    def check_fence(self) -> None:
        """Raises LeaseLost once the fence is known to be lost. From any thread."""
        if isinstance(self._refusal, LeaseLost):
            raise _copy(self._refusal)

    def close(self) -> None:
        """Fails what still waits and every later write with SaverClosed; a call in flight goes on. From any thread."""
        self._refuse(SaverClosed("the run was abandoned; its checkpoints are no longer written"))

    def fenced(self) -> LeaseLost:
        """Notes that the fence is lost, tells the owner once, and gives the error to raise. On the control loop."""
        error = LeaseLost("another attempt has taken over the run; this one cannot write any more")
        if self._refuse(error) and self._on_fenced is not None:
            self._on_fenced()
        return error

    def _refuse(self, refusal: LeaseLost | SaverClosed) -> bool:
        with self._lock:
            if self._refusal is not None:
                return False
            self._refusal = refusal
            dropped = list(self._waiting)
            self._waiting.clear()
        for write in dropped:
            if write.done.set_running_or_notify_cancel():
                write.done.set_exception(_copy(refusal))
        return True

    def _start(self) -> None:
        self._sender = self._control_loop.create_task(self._send_all(), name="checkpoint-writes")

    async def _send_all(self) -> None:
        while batch := self._take():
            try:
                await self._send(batch)
            except asyncio.CancelledError:  # the process ends; callers must not wait for ever
                _answer(batch, SaverClosed("the executor is stopping"))
                self.close()
                raise

    def _take(self) -> list[_Write]:
        """The next writes that fit into one call: of one thread, and not too large together."""
        batch: list[_Write] = []
        size = 0
        with self._lock:
            while self._waiting and (not batch or self._waiting[0].thread_id == batch[0].thread_id):
                size += self._waiting[0].op.ByteSize() + sum(map(len, self._waiting[0].chunks.values()))
                if batch and size > _BATCH_BYTES:
                    break
                batch.append(self._waiting.popleft())
            self._sending = bool(batch)
        # A caller that was cancelled meanwhile no longer listens; its write is part of the history all the same.
        for write in batch:
            write.done.set_running_or_notify_cancel()
        return batch

    async def _send(self, batch: list[_Write]) -> None:
        request = checkpoints_pb2.WriteCheckpointsRequest(
            thread_id=batch[0].thread_id,
            fence=self._fence,
            ops=[write.op for write in batch],
        )
        try:
            if self._before_write is not None:
                await self._before_write()
            chunks = {key: data for write in batch for key, data in write.chunks.items()}
            await self._known_chunks.write(self._call, request, chunks)
        except grpc.aio.AioRpcError as error:
            fenced = reason_of(error) == LeaseLost.reason
            _answer(batch, self.fenced() if fenced else error)
        except Exception as error:  # noqa: BLE001 - top of the loop: whatever it is, the callers wait for it
            _answer(batch, error)
        else:
            _answer(batch, None)

    async def _call(self, request: checkpoints_pb2.WriteCheckpointsRequest) -> checkpoints_pb2.WriteCheckpointsResponse:
        return await through_outages(lambda: self._stub.WriteCheckpoints(request, timeout=CALL_TIMEOUT_SECONDS))


async def through_outages(call: Callable[[], Awaitable[T]]) -> T:
    """Makes a call, again and again while the service or its database is down; the run waits, and does not fail."""
    retrying = AsyncRetrying(
        retry=retry_if_exception(_is_outage),
        wait=wait_exponential(0.2, max=2) + wait_random(0, 0.2),
        stop=stop_after_delay(OUTAGE_SECONDS),
        reraise=True,
    )

    async def attempt() -> T:
        return await call()

    return await retrying(attempt)


def _is_outage(error: BaseException) -> bool:
    return isinstance(error, grpc.aio.AioRpcError) and error.code() is grpc.StatusCode.UNAVAILABLE


def _answer(batch: list[_Write], error: Exception | None) -> None:
    for write in batch:
        if write.done.cancelled():
            continue
        if error is None:
            write.done.set_result(None)
        else:
            write.done.set_exception(_copy(error) if isinstance(error, LeaseLost | SaverClosed) else error)


def _copy(error: LeaseLost | SaverClosed) -> LeaseLost | SaverClosed:
    """A fresh error for each caller: one instance raised in several threads would mix their tracebacks."""
    return type(error)(error.message)
